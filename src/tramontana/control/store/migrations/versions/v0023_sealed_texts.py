"""Sealed texts pass through: numbers of devices, and datagrams that wait for them. Texts and cases are kept for a time.

Revision ID: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sealed_numbers",
        sa.Column("number", sa.String(24), nullable=False),
        sa.Column("device_id", sa.String(32), nullable=False),
        sa.Column("given_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_sealed_numbers_device_id_devices")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_sealed_numbers")),
        sa.UniqueConstraint("device_id", name=op.f("uq_sealed_numbers_device_id")),
    )
    op.create_table(
        "sealed_texts",
        sa.Column("text_id", sa.String(32), nullable=False),
        sa.Column("device_id", sa.String(32), nullable=False),
        sa.Column("source", sa.String(24), nullable=False),
        sa.Column("datagram", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_sealed_texts_device_id_devices")),
        sa.PrimaryKeyConstraint("text_id", name=op.f("pk_sealed_texts")),
    )
    op.create_index(op.f("ix_sealed_texts_device_id"), "sealed_texts", ["device_id"])
    op.create_index(op.f("ix_sealed_texts_received_at"), "sealed_texts", ["received_at"])
    op.add_column("retention", sa.Column("texts_days", sa.Integer(), nullable=False, server_default="90"))
    op.add_column("retention", sa.Column("sos_days", sa.Integer(), nullable=False, server_default="365"))


def downgrade() -> None:
    op.drop_column("retention", "sos_days")
    op.drop_column("retention", "texts_days")
    op.drop_table("sealed_texts")
    op.drop_table("sealed_numbers")
