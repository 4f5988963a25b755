"""Warnings, what persons signed about them, and what is known of them in each cell.

Revision ID: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "warnings",
        sa.Column("warning_id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("author_account_id", sa.String(32), nullable=False),
        sa.Column("submitted_at", sa.Double(), nullable=False),
        sa.Column("message_code", sa.Integer(), nullable=True),
        sa.Column("update_number", sa.Integer(), nullable=True),
        sa.Column("approved_at", sa.Double(), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["author_account_id"], ["accounts.account_id"], name=op.f("fk_warnings_author_account_id_accounts")),
        sa.PrimaryKeyConstraint("warning_id", name=op.f("pk_warnings")),
    )
    op.create_index(op.f("ix_warnings_state"), "warnings", ["state"])
    op.create_index(op.f("ix_warnings_submitted_at"), "warnings", ["submitted_at"])
    op.create_table(
        "warning_decisions",
        sa.Column("warning_id", sa.String(32), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("device_id", sa.String(32), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_warning_decisions_account_id_accounts")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_warning_decisions_device_id_devices")),
        sa.ForeignKeyConstraint(["warning_id"], ["warnings.warning_id"], name=op.f("fk_warning_decisions_warning_id_warnings")),
        sa.PrimaryKeyConstraint("warning_id", "decision", name=op.f("pk_warning_decisions")),
    )
    op.create_table(
        "warning_cells",
        sa.Column("warning_id", sa.String(32), nullable=False),
        sa.Column("controller", sa.String(64), nullable=False),
        sa.Column("message_identifier", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cell", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(120), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("on_air_at", sa.Double(), nullable=True),
        sa.Column("off_air_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["warning_id"], ["warnings.warning_id"], name=op.f("fk_warning_cells_warning_id_warnings")),
        sa.PrimaryKeyConstraint("warning_id", "controller", "message_identifier", "cell", name=op.f("pk_warning_cells")),
    )


def downgrade() -> None:
    op.drop_table("warning_cells")
    op.drop_table("warning_decisions")
    op.drop_index(op.f("ix_warnings_submitted_at"), "warnings")
    op.drop_index(op.f("ix_warnings_state"), "warnings")
    op.drop_table("warnings")
