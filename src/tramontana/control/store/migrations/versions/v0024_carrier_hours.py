"""What carriers were worth to sites, hour by hour.

Revision ID: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "carrier_hours",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("carrier", sa.String(length=64), nullable=False),
        sa.Column("measured", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_carrier_hours_device_id_devices")),
        sa.PrimaryKeyConstraint("device_id", "hour", "carrier", name=op.f("pk_carrier_hours")),
    )
    op.create_index(op.f("ix_carrier_hours_hour"), "carrier_hours", ["hour"])


def downgrade() -> None:
    op.drop_index(op.f("ix_carrier_hours_hour"), "carrier_hours")
    op.drop_table("carrier_hours")
