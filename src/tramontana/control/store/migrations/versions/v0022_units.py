"""Positions of field units, the last one of each, until they go stale.

Revision ID: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unit_positions",
        sa.Column("link", sa.String(32), nullable=False),
        sa.Column("uid", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("callsign", sa.String(64), nullable=False),
        sa.Column("latitude_deg", sa.Double(), nullable=False),
        sa.Column("longitude_deg", sa.Double(), nullable=False),
        sa.Column("height_m", sa.Double(), nullable=True),
        sa.Column("radius_m", sa.Double(), nullable=True),
        sa.Column("course_deg", sa.Double(), nullable=True),
        sa.Column("speed_m_s", sa.Double(), nullable=True),
        sa.Column("emergency", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("stale_at", sa.Double(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("link", "uid", name=op.f("pk_unit_positions")),
    )
    op.create_index(op.f("ix_unit_positions_stale_at"), "unit_positions", ["stale_at"])


def downgrade() -> None:
    op.drop_table("unit_positions")
