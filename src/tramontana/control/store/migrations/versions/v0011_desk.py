"""Archives by kind of conversation, for the unit of their certificate; what members of a talk group may ask of the floor.

Nobody could put a row into `archive_rules`, so none is taken over.

Revision ID: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("archive_rules")
    op.create_table(
        "archive_kinds",
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_archive_kinds_account_id_accounts")),
        sa.PrimaryKeyConstraint("account_id", "kind", name=op.f("pk_archive_kinds")),
    )
    op.add_column("conversation_members", sa.Column("floor", sa.String(16), nullable=True))


def downgrade() -> None:
    op.drop_column("conversation_members", "floor")
    op.drop_table("archive_kinds")
    op.create_table(
        "archive_rules",
        sa.Column("rule_id", sa.String(32), nullable=False),
        sa.Column("account_id", sa.String(32), nullable=False),
        sa.Column("conversation_id", sa.String(32), nullable=True),
        sa.Column("unit", sa.String(64), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint("(conversation_id IS NULL) <> (unit IS NULL)", name=op.f("ck_archive_rules_scope")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_archive_rules_account_id_accounts")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_archive_rules_conversation_id_conversations")
        ),
        sa.PrimaryKeyConstraint("rule_id", name=op.f("pk_archive_rules")),
        sa.UniqueConstraint("conversation_id", name=op.f("uq_archive_rules_conversation_id")),
        sa.UniqueConstraint("unit", name=op.f("uq_archive_rules_unit")),
    )
