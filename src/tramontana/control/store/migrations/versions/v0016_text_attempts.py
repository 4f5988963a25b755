"""Texts that come in know how often their handling failed and whether they were refused; what is looked for often has an index.

Revision ID: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("incoming_texts", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("incoming_texts", sa.Column("not_before", sa.Double(), nullable=False, server_default="0"))
    op.add_column("incoming_texts", sa.Column("refused_at", sa.Double(), nullable=True))
    op.create_index(op.f("ix_outgoing_texts_expires_at"), "outgoing_texts", ["expires_at"])
    op.create_index(op.f("ix_outgoing_texts_request_id"), "outgoing_texts", ["request_id"])
    op.create_index(op.f("ix_outgoing_messages_state"), "outgoing_messages", ["state"])


def downgrade() -> None:
    op.drop_index(op.f("ix_outgoing_messages_state"), "outgoing_messages")
    op.drop_index(op.f("ix_outgoing_texts_request_id"), "outgoing_texts")
    op.drop_index(op.f("ix_outgoing_texts_expires_at"), "outgoing_texts")
    for name in ("refused_at", "not_before", "attempts"):
        op.drop_column("incoming_texts", name)
