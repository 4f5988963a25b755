"""Texts that go out and come in over message centres, and the cases of people in need.

Revision ID: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outgoing_texts",
        sa.Column("text_id", sa.String(32), nullable=False),
        sa.Column("origin", sa.String(64), nullable=False),
        sa.Column("link", sa.String(32), nullable=False),
        sa.Column("source", sa.String(24), nullable=False),
        sa.Column("destination", sa.String(24), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("beam", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("if_unknown", sa.String(8), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("text_id", name=op.f("pk_outgoing_texts")),
        sa.UniqueConstraint("origin", "request_id", name=op.f("uq_outgoing_texts_origin_request_id")),
    )
    op.create_index(op.f("ix_outgoing_texts_created_at"), "outgoing_texts", ["created_at"], unique=False)
    op.create_table(
        "outgoing_messages",
        sa.Column("message_key", sa.String(32), nullable=False),
        sa.Column("text_id", sa.String(32), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("link", sa.String(32), nullable=False),
        sa.Column("pdu", sa.LargeBinary(), nullable=False),
        sa.Column("reference", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_at", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("operator_id", sa.String(64), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(8), nullable=True),
        sa.ForeignKeyConstraint(["text_id"], ["outgoing_texts.text_id"], name=op.f("fk_outgoing_messages_text_id_outgoing_texts")),
        sa.PrimaryKeyConstraint("message_key", name=op.f("pk_outgoing_messages")),
    )
    op.create_index(op.f("ix_outgoing_messages_link_operator_id"), "outgoing_messages", ["link", "operator_id"], unique=False)
    op.create_index(op.f("ix_outgoing_messages_link_state"), "outgoing_messages", ["link", "state"], unique=False)
    op.create_index(op.f("ix_outgoing_messages_text_id"), "outgoing_messages", ["text_id"], unique=False)
    op.create_table(
        "incoming_messages",
        sa.Column("message_id", sa.String(32), nullable=False),
        sa.Column("link", sa.String(32), nullable=False),
        sa.Column("session", sa.String(16), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("source", sa.String(24), nullable=False),
        sa.Column("destination", sa.String(24), nullable=False),
        sa.Column("pdu", sa.LargeBinary(), nullable=False),
        sa.Column("reference", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("text_id", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_incoming_messages")),
    )
    op.create_index(op.f("ix_incoming_messages_digest_received_at"), "incoming_messages", ["digest", "received_at"], unique=False)
    op.create_index(op.f("ix_incoming_messages_text_id"), "incoming_messages", ["text_id"], unique=False)
    op.create_table(
        "incoming_texts",
        sa.Column("text_id", sa.String(32), nullable=False),
        sa.Column("link", sa.String(32), nullable=False),
        sa.Column("source", sa.String(24), nullable=False),
        sa.Column("destination", sa.String(24), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("handled_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("text_id", name=op.f("pk_incoming_texts")),
    )
    op.create_index(op.f("ix_incoming_texts_handled_at"), "incoming_texts", ["handled_at"], unique=False)
    op.create_index(op.f("ix_incoming_texts_received_at"), "incoming_texts", ["received_at"], unique=False)
    op.create_table(
        "sos_cases",
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("phone", sa.String(24), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_sos_cases")),
        sa.UniqueConstraint("number", name=op.f("uq_sos_cases_number")),
    )
    op.create_index(op.f("ix_sos_cases_phone"), "sos_cases", ["phone"], unique=False)
    op.create_index(op.f("ix_sos_cases_state"), "sos_cases", ["state"], unique=False)
    op.create_table(
        "sos_entries",
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("author", sa.String(64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("text_id", sa.String(32), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["sos_cases.case_id"], name=op.f("fk_sos_entries_case_id_sos_cases")),
        sa.PrimaryKeyConstraint("case_id", "seq", name=op.f("pk_sos_entries")),
    )


def downgrade() -> None:
    for name in ("sos_entries", "sos_cases", "incoming_texts", "incoming_messages", "outgoing_messages", "outgoing_texts"):
        op.drop_table(name)
