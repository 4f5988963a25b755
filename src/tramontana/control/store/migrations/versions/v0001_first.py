"""The first schema: accounts, invitations, sessions, conversations, mailboxes, calls, audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = (
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END",
)
"""SQLite's own guard of the trail, besides the chain of hashes. PostgreSQL gets its own when it is supported."""


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("display_name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "administrator_links",
        sa.Column("token_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_administrator_links")),
    )
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
        sa.UniqueConstraint("hash", name=op.f("uq_audit_hash")),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "service",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_service_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service")),
    )
    op.create_table(
        "devices",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("signature_public_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("enrolled_at", sa.Double(), nullable=False),
        sa.Column("mailbox_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("acked_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("place_id", sa.String(length=64), nullable=True),
        sa.Column("carrier_id", sa.String(length=64), nullable=True),
        sa.Column("path_seed", sa.BigInteger(), nullable=False),
        sa.Column("front_port", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_devices_account_id_accounts")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_devices")),
        sa.UniqueConstraint("signature_public_key", name=op.f("uq_devices_signature_public_key")),
    )
    op.create_index(op.f("ix_devices_account_id"), "devices", ["account_id"], unique=False)
    op.create_table(
        "conversations",
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("pair", sa.String(length=65), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("creator_device_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["creator_device_id"], ["devices.device_id"], name=op.f("fk_conversations_creator_device_id_devices")),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_conversations")),
        sa.UniqueConstraint("pair", name=op.f("uq_conversations_pair")),
    )
    op.create_table(
        "invitations",
        sa.Column("invitation_id", sa.String(length=32), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("note", sa.String(length=120), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.Column("withdrawn_at", sa.Double(), nullable=True),
        sa.Column("device_id", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_invitations_device_id_devices")),
        sa.PrimaryKeyConstraint("invitation_id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_invitations_token_sha256")),
    )
    op.create_table(
        "key_packages",
        sa.Column("reference", sa.LargeBinary(length=48), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("last_resort", sa.Boolean(), nullable=False),
        sa.Column("package", sa.LargeBinary(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("claimed_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_key_packages_device_id_devices")),
        sa.PrimaryKeyConstraint("reference", name=op.f("pk_key_packages")),
    )
    op.create_index(op.f("ix_key_packages_device_id"), "key_packages", ["device_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.CheckConstraint("(role = 'device') = (device_id IS NOT NULL)", name=op.f("ck_sessions_role")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_sessions_device_id_devices")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_device_id"), "sessions", ["device_id"], unique=False)
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"], unique=False)
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(length=32), nullable=False),
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("precedence", sa.String(length=16), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("joined_by_two", sa.Boolean(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_calls_conversation_id_conversations")
        ),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_calls")),
    )
    op.create_index("ix_calls_ended_at", "calls", ["ended_at"], unique=False)
    op.create_table(
        "commits",
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_commits_conversation_id_conversations")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_commits_device_id_devices")),
        sa.PrimaryKeyConstraint("conversation_id", "epoch", name=op.f("pk_commits")),
    )
    op.create_table(
        "conversation_devices",
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("joined_epoch", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_conversation_devices_conversation_id_conversations")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_conversation_devices_device_id_devices")),
        sa.PrimaryKeyConstraint("conversation_id", "device_id", name=op.f("pk_conversation_devices")),
    )
    op.create_table(
        "conversation_members",
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_conversation_members_account_id_accounts")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_conversation_members_conversation_id_conversations")
        ),
        sa.PrimaryKeyConstraint("conversation_id", "account_id", name=op.f("pk_conversation_members")),
    )
    op.create_index(op.f("ix_conversation_members_account_id"), "conversation_members", ["account_id"], unique=False)
    op.create_table(
        "messages",
        sa.Column("message_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sender_device_id", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_messages_conversation_id_conversations")
        ),
        sa.ForeignKeyConstraint(["sender_device_id"], ["devices.device_id"], name=op.f("fk_messages_sender_device_id_devices")),
        sa.PrimaryKeyConstraint("message_key", name=op.f("pk_messages")),
    )
    op.create_table(
        "sent_messages",
        sa.Column("sender_device_id", sa.String(length=32), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.conversation_id"], name=op.f("fk_sent_messages_conversation_id_conversations")
        ),
        sa.ForeignKeyConstraint(["sender_device_id"], ["devices.device_id"], name=op.f("fk_sent_messages_sender_device_id_devices")),
        sa.PrimaryKeyConstraint("sender_device_id", "message_id", name=op.f("pk_sent_messages")),
    )
    op.create_index(op.f("ix_sent_messages_accepted_at"), "sent_messages", ["accepted_at"], unique=False)
    op.create_table(
        "call_participants",
        sa.Column("call_id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("joined_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("left_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name=op.f("fk_call_participants_call_id_calls")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_call_participants_device_id_devices")),
        sa.PrimaryKeyConstraint("call_id", "device_id", name=op.f("pk_call_participants")),
    )
    op.create_index(op.f("ix_call_participants_device_id"), "call_participants", ["device_id"], unique=False)
    op.create_table(
        "mailbox",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_key", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_mailbox_device_id_devices")),
        sa.ForeignKeyConstraint(["message_key"], ["messages.message_key"], name=op.f("fk_mailbox_message_key_messages")),
        sa.PrimaryKeyConstraint("device_id", "seq", name=op.f("pk_mailbox")),
    )
    op.create_index(op.f("ix_mailbox_message_key"), "mailbox", ["message_key"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        for statement in APPEND_ONLY:
            op.execute(statement)


def downgrade() -> None:
    op.drop_index(op.f("ix_mailbox_message_key"), table_name="mailbox")
    op.drop_table("mailbox")
    op.drop_index(op.f("ix_call_participants_device_id"), table_name="call_participants")
    op.drop_table("call_participants")
    op.drop_index(op.f("ix_sent_messages_accepted_at"), table_name="sent_messages")
    op.drop_table("sent_messages")
    op.drop_table("messages")
    op.drop_index(op.f("ix_conversation_members_account_id"), table_name="conversation_members")
    op.drop_table("conversation_members")
    op.drop_table("conversation_devices")
    op.drop_table("commits")
    op.drop_index("ix_calls_ended_at", table_name="calls")
    op.drop_table("calls")
    op.drop_index(op.f("ix_sessions_expires_at"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_device_id"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_key_packages_device_id"), table_name="key_packages")
    op.drop_table("key_packages")
    op.drop_table("invitations")
    op.drop_table("conversations")
    op.drop_index(op.f("ix_devices_account_id"), table_name="devices")
    op.drop_table("devices")
    op.drop_table("service")
    op.drop_table("audit_head")
    op.drop_table("audit")
    op.drop_table("administrator_links")
    op.drop_table("accounts")
