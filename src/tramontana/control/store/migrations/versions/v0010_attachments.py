"""Attachments: the epoch of the message that tells of one, and how long they are kept.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attachments", sa.Column("epoch", sa.BigInteger(), nullable=True))
    op.add_column("retention", sa.Column("attachments_days", sa.Integer(), server_default="30", nullable=False))


def downgrade() -> None:
    op.drop_column("retention", "attachments_days")
    op.drop_column("attachments", "epoch")
