"""Gateways: a second address, of IPv6, for sites with IPv6 alone.

Revision ID: 0027
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("gateways", sa.Column("address_6", sa.String(45), nullable=True))


def downgrade() -> None:
    op.drop_column("gateways", "address_6")
