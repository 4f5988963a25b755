"""Sites and gateways: numbers, networks, addresses, and what they last reported.

Revision ID: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sites",
        sa.Column("device_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("networks", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_sites_device_id_devices")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_sites")),
        sa.UniqueConstraint("number", name=op.f("uq_sites_number")),
    )
    op.create_table(
        "gateways",
        sa.Column("device_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_gateways_device_id_devices")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_gateways")),
        sa.UniqueConstraint("number", name=op.f("uq_gateways_number")),
    )
    op.create_table(
        "router_reports",
        sa.Column("device_id", sa.String(32), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("gateway_id", sa.String(32), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_router_reports_device_id_devices")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_router_reports")),
    )
    op.create_index(op.f("ix_router_reports_received_at"), "router_reports", ["received_at"])


def downgrade() -> None:
    op.drop_table("router_reports")
    op.drop_table("gateways")
    op.drop_table("sites")
