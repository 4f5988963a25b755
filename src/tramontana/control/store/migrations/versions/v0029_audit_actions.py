"""The newest rows of one action of the audit trail are found without reading the whole trail.

Revision ID: 0029
"""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_audit_action_seq"), "audit", ["action", "seq"])


def downgrade() -> None:
    op.drop_index(op.f("ix_audit_action_seq"), table_name="audit")
