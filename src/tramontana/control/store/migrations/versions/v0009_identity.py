"""Identity: the organisation, certificates and who approved them, the transparency log, retention.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0006"
branch_labels = None
depends_on = None

LOG_TABLES = ("log_entries", "log_nodes", "log_heads")
SQLITE_APPEND_ONLY = "CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
POSTGRESQL_APPEND_ONLY = (
    "CREATE FUNCTION log_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the log is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$"
)

# Devices of before are pending until custodians have certified them; an invitation and its proof are no longer known.
ASK_FOR_EXISTING = """
INSERT INTO certificate_requests (request_id, kind, state, device_id, display_name, unit, roles, precedence_ceiling, created_at)
SELECT devices.device_id, 'enrolment', 'pending', devices.device_id, accounts.display_name, '', 'member', 'routine', devices.enrolled_at
FROM devices JOIN accounts ON accounts.account_id = devices.account_id
"""


def upgrade() -> None:
    op.create_table(
        "log_entries",
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("log_index", name=op.f("pk_log_entries")),
    )
    op.create_table(
        "log_heads",
        sa.Column("tree_size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.PrimaryKeyConstraint("tree_size", name=op.f("pk_log_heads")),
    )
    op.create_table(
        "log_nodes",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "place", name=op.f("pk_log_nodes")),
    )
    op.create_table(
        "organisation",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("log_key", sa.LargeBinary(), nullable=False),
        sa.Column("installed_at", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_organisation_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisation")),
    )
    op.create_table(
        "retention",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("undelivered_days", sa.Integer(), nullable=True),
        sa.Column("call_records_days", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_retention_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention")),
    )
    op.create_table(
        "federations",
        sa.Column("serial", sa.String(length=32), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["log_index"], ["log_entries.log_index"], name=op.f("fk_federations_log_index_log_entries")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_federations")),
        sa.UniqueConstraint("log_index", name=op.f("uq_federations_log_index")),
    )
    op.create_table(
        "certificate_requests",
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("display_name", sa.String(length=64), nullable=False),
        sa.Column("unit", sa.String(length=64), nullable=False),
        sa.Column("roles", sa.String(length=64), nullable=False),
        sa.Column("precedence_ceiling", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("invitation_sha256", sa.LargeBinary(length=32), nullable=True),
        sa.Column("proof", sa.LargeBinary(length=64), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_certificate_requests_device_id_devices")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_certificate_requests")),
    )
    op.create_index(op.f("ix_certificate_requests_device_id"), "certificate_requests", ["device_id"], unique=False)
    op.create_index("ix_certificate_requests_state_created_at", "certificate_requests", ["state", "created_at"], unique=False)
    op.create_table(
        "certificates",
        sa.Column("serial", sa.String(length=32), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("display_name", sa.String(length=64), nullable=False),
        sa.Column("unit", sa.String(length=64), nullable=False),
        sa.Column("roles", sa.String(length=64), nullable=False),
        sa.Column("precedence_ceiling", sa.String(length=16), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("revocation_index", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_certificates_account_id_accounts")),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_certificates_device_id_devices")),
        sa.ForeignKeyConstraint(["log_index"], ["log_entries.log_index"], name=op.f("fk_certificates_log_index_log_entries")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificates")),
        sa.UniqueConstraint("log_index", name=op.f("uq_certificates_log_index")),
    )
    op.create_index(op.f("ix_certificates_account_id"), "certificates", ["account_id"], unique=False)
    op.create_index(op.f("ix_certificates_device_id"), "certificates", ["device_id"], unique=False)
    op.create_table(
        "approvals",
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_approvals_device_id_devices")),
        sa.ForeignKeyConstraint(
            ["request_id"], ["certificate_requests.request_id"], name=op.f("fk_approvals_request_id_certificate_requests")
        ),
        sa.PrimaryKeyConstraint("request_id", "device_id", name=op.f("pk_approvals")),
    )
    op.add_column("devices", sa.Column("serial", sa.String(length=32), nullable=True))
    op.add_column("devices", sa.Column("certified_until", sa.Double(), nullable=True))
    op.add_column("devices", sa.Column("revoked_at", sa.Double(), nullable=True))
    op.add_column("devices", sa.Column("rejected_at", sa.Double(), nullable=True))
    op.add_column("invitations", sa.Column("account_id", sa.String(length=32), nullable=True))
    op.add_column("invitations", sa.Column("unit", sa.String(length=64), server_default="", nullable=False))
    op.add_column("invitations", sa.Column("roles", sa.String(length=64), server_default="member", nullable=False))
    op.add_column("invitations", sa.Column("precedence_ceiling", sa.String(length=16), server_default="routine", nullable=False))
    op.execute(ASK_FOR_EXISTING)
    if op.get_bind().dialect.name == "sqlite":
        for table in LOG_TABLES:
            for verb in ("UPDATE", "DELETE"):
                op.execute(SQLITE_APPEND_ONLY.format(table=table, verb=verb))
    else:
        op.execute(POSTGRESQL_APPEND_ONLY)
        for table in LOG_TABLES:
            trigger = f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}"
            op.execute(f"{trigger} FOR EACH ROW EXECUTE FUNCTION log_append_only()")


def downgrade() -> None:
    """Organisation, certificates and log are lost; every device counts as it did before there were any."""
    op.execute("DELETE FROM sessions WHERE role = 'auditor'")
    op.drop_column("invitations", "precedence_ceiling")
    op.drop_column("invitations", "roles")
    op.drop_column("invitations", "unit")
    op.drop_column("invitations", "account_id")
    op.drop_column("devices", "rejected_at")
    op.drop_column("devices", "revoked_at")
    op.drop_column("devices", "certified_until")
    op.drop_column("devices", "serial")
    op.drop_table("approvals")
    op.drop_index(op.f("ix_certificates_device_id"), table_name="certificates")
    op.drop_index(op.f("ix_certificates_account_id"), table_name="certificates")
    op.drop_table("certificates")
    op.drop_index("ix_certificate_requests_state_created_at", table_name="certificate_requests")
    op.drop_index(op.f("ix_certificate_requests_device_id"), table_name="certificate_requests")
    op.drop_table("certificate_requests")
    op.drop_table("federations")
    op.drop_table("retention")
    op.drop_table("organisation")
    op.drop_table("log_nodes")
    op.drop_table("log_heads")
    op.drop_table("log_entries")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION log_append_only()")
