"""Calls: the forwarder that carries them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("forwarder", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("calls", "forwarder")
