"""Groups: roles of members, archive rules, ratchet trees beside their welcomes, sealed attachments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None

HOLD_CONVERSATIONS = ("messages", "sent_messages", "calls", "commits", "conversation_devices", "conversation_members", "conversations")
"""Tables with a conversation in each row, those that others refer to last."""


def upgrade() -> None:
    with op.batch_alter_table("conversation_members") as table:
        table.add_column(sa.Column("role", sa.String(length=16), nullable=False, server_default="member"))
        table.add_column(sa.Column("added_at", sa.Double(), nullable=False, server_default="0"))
    op.create_table(
        "archive_rules",
        sa.Column("rule_id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("conversation_id", sa.String(length=32), nullable=True),
        sa.Column("unit", sa.String(length=64), nullable=True),
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
    op.create_table(
        "ratchet_trees",
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("tree", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_ratchet_trees_conversation_id_conversations")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_ratchet_trees_device_id_devices")),
        sa.PrimaryKeyConstraint("conversation_id", "epoch", "device_id", name=op.f("pk_ratchet_trees")),
    )
    op.create_index(op.f("ix_ratchet_trees_created_at"), "ratchet_trees", ["created_at"])
    op.create_table(
        "attachments",
        sa.Column("attachment_id", sa.String(length=32), nullable=False),
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("octets", sa.BigInteger(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_attachments_conversation_id_conversations")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_attachments_account_id_accounts")),
        sa.PrimaryKeyConstraint("attachment_id", name=op.f("pk_attachments")),
    )
    op.create_index(op.f("ix_attachments_account_id"), "attachments", ["account_id"])
    op.create_index(op.f("ix_attachments_expires_at"), "attachments", ["expires_at"])
    op.create_table(
        "attachment_chunks",
        sa.Column("attachment_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attachment_id"], ["attachments.attachment_id"], name=op.f("fk_attachment_chunks_attachment_id_attachments")
        ),
        sa.PrimaryKeyConstraint("attachment_id", "number", name=op.f("pk_attachment_chunks")),
    )


def downgrade() -> None:
    """Groups and talk groups are lost with what they hold; direct conversations stay."""
    op.drop_table("attachment_chunks")
    op.drop_index(op.f("ix_attachments_expires_at"), table_name="attachments")
    op.drop_index(op.f("ix_attachments_account_id"), table_name="attachments")
    op.drop_table("attachments")
    op.drop_index(op.f("ix_ratchet_trees_created_at"), table_name="ratchet_trees")
    op.drop_table("ratchet_trees")
    op.drop_table("archive_rules")
    of_conversation = {name: sa.table(name, sa.column("conversation_id")) for name in HOLD_CONVERSATIONS}
    conversations = sa.table("conversations", sa.column("conversation_id"), sa.column("kind"))
    gone = sa.select(conversations.c.conversation_id).where(conversations.c.kind != "direct")
    messages = sa.table("messages", sa.column("message_key"), sa.column("conversation_id"))
    calls = sa.table("calls", sa.column("call_id"), sa.column("conversation_id"))
    mailbox, participants = sa.table("mailbox", sa.column("message_key")), sa.table("call_participants", sa.column("call_id"))
    lost_messages = sa.select(messages.c.message_key).where(messages.c.conversation_id.in_(gone))
    op.execute(sa.delete(mailbox).where(mailbox.c.message_key.in_(lost_messages)))
    lost_calls = sa.select(calls.c.call_id).where(calls.c.conversation_id.in_(gone))
    op.execute(sa.delete(participants).where(participants.c.call_id.in_(lost_calls)))
    for name in HOLD_CONVERSATIONS:
        op.execute(sa.delete(of_conversation[name]).where(of_conversation[name].c.conversation_id.in_(gone)))
    members = sa.table("conversation_members", sa.column("role"))
    op.execute(sa.delete(members).where(members.c.role == "archive"))
    with op.batch_alter_table("conversation_members") as table:
        table.drop_column("added_at")
        table.drop_column("role")
