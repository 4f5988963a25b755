"""Precedence: each person's ceiling, calls that were pre-empted, the organisation's rules of admission."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("precedence_ceiling", sa.String(length=16), server_default="routine", nullable=False))
    op.add_column("calls", sa.Column("preempted", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "call_rules",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("call_bps", sa.BigInteger(), nullable=False),
        sa.Column("flash_share", sa.Double(), nullable=False),
        sa.Column("relay_bps", sa.BigInteger(), nullable=False),
        sa.Column("carrier_bps", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_call_rules_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_rules")),
    )


def downgrade() -> None:
    op.drop_table("call_rules")
    op.drop_column("calls", "preempted")
    op.drop_column("accounts", "precedence_ceiling")
