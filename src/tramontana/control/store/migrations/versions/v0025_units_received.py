"""When the position of a unit was received is not kept: nothing read it.

Revision ID: 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("unit_positions", "received_at")


def downgrade() -> None:
    op.add_column("unit_positions", sa.Column("received_at", sa.Double(), nullable=False, server_default=sa.text("0")))
