"""The tables. Migrations create them (`migrations/versions`); a test compares the two.

All in one place however many: they refer to each other, and the test needs every one.

Every random token is kept as its SHA-256 only. Payloads are MLS messages: ciphertext that this server cannot read.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = String(32)
Digest = LargeBinary(32)

service = Table(
    "service",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    CheckConstraint("id = 1", name="one_row"),
    Column("service_id", Id, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("secret", LargeBinary(32)),  # what the server processes share: login challenges and the sealing of their events hang on it
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("display_name", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("precedence_ceiling", String(16), nullable=False, server_default="routine"),
)

devices = Table(
    "devices",
    metadata,
    Column("device_id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.account_id"), nullable=False, index=True),
    Column("signature_public_key", LargeBinary(32), nullable=False, unique=True),
    Column("enrolled_at", Double, nullable=False),
    Column("mailbox_seq", BigInteger, nullable=False, server_default="0"),  # the last item ever put in
    Column("acked_seq", BigInteger, nullable=False, server_default="0"),  # the last item acknowledged
    Column("place_id", String(64)),
    Column("carrier_id", String(64)),
    Column("path_seed", BigInteger, nullable=False),
    Column("front_port", Integer),  # the UDP port of this phone's front on the path player, kept over restarts
    Column("serial", Id),  # its last certificate, null while pending
    Column("certified_until", Double),  # the end of that certificate
    Column("revoked_at", Double, index=True),
    Column("rejected_at", Double),
)

invitations = Table(
    "invitations",
    metadata,
    Column("invitation_id", Id, primary_key=True),
    Column("token_sha256", Digest, nullable=False, unique=True),
    Column("origin", String(16), nullable=False),
    Column("note", String(120), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
    Column("withdrawn_at", Double),
    Column("device_id", Id, ForeignKey("devices.device_id")),
    Column("account_id", Id),  # for a further device of this account
    Column("unit", String(64), nullable=False, server_default=""),
    Column("roles", String(64), nullable=False, server_default="member"),
    Column("precedence_ceiling", String(16), nullable=False, server_default="routine"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", Digest, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("device_id", Id, ForeignKey("devices.device_id"), index=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    CheckConstraint("(role = 'device') = (device_id IS NOT NULL)", name="role"),
)

used_challenges = Table(
    "used_challenges",
    metadata,
    Column("challenge_sha256", Digest, primary_key=True),
    Column("expires_at", Double, nullable=False, index=True),
)

server_processes = Table(
    "server_processes",
    metadata,
    Column("process_id", Id, primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("beat", BigInteger, nullable=False),  # goes up while the process lives; others need no common clock to see that it stopped
)

connections = Table(
    "connections",
    metadata,
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True),
    Column("process_id", Id, index=True),  # null while the device is away
    Column("serial", BigInteger, nullable=False),  # goes up with every connection: the highest one stays
)

administrator_links = Table(
    "administrator_links",
    metadata,
    Column("token_sha256", Digest, primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
)

key_packages = Table(
    "key_packages",
    metadata,
    Column("reference", LargeBinary(48), primary_key=True),
    Column("device_id", Id, ForeignKey("devices.device_id"), nullable=False, index=True),
    Column("last_resort", Boolean, nullable=False),
    Column("package", LargeBinary),  # null once it can no longer be handed out; the row still tells whom a Welcome admits
    Column("position", Integer, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("claimed_at", Double),
)

conversations = Table(
    "conversations",
    metadata,
    Column("conversation_id", Id, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("pair", String(65), unique=True),  # the two account ids in order, for direct conversations
    Column("epoch", BigInteger),
    Column("creator_device_id", Id, ForeignKey("devices.device_id")),
    Column("created_at", Double, nullable=False),
)

conversation_members = Table(
    "conversation_members",
    metadata,
    Column("conversation_id", Id, ForeignKey("conversations.conversation_id"), primary_key=True),
    Column("account_id", Id, ForeignKey("accounts.account_id"), primary_key=True, index=True),
    Column("role", String(16), nullable=False, server_default="member"),  # member, owner, archive
    Column("added_at", Double, nullable=False, server_default="0"),
    Column("floor", String(16)),  # in a talk group: a level of precedence, or "none" for who only listens; null: as he asks
)

archive_kinds = Table(
    "archive_kinds",
    metadata,
    Column("account_id", Id, ForeignKey("accounts.account_id"), primary_key=True),
    Column("kind", String(16), primary_key=True),  # new conversations of this kind get the archive; for which unit, its certificate says
    Column("created_at", Double, nullable=False),
)

ratchet_trees = Table(
    "ratchet_trees",
    metadata,
    Column("conversation_id", Id, ForeignKey("conversations.conversation_id"), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True),  # who offers it; only the committer's is ever served
    Column("tree", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False, index=True),
)

attachments = Table(
    "attachments",
    metadata,
    Column("attachment_id", Id, primary_key=True),
    Column("conversation_id", Id, ForeignKey("conversations.conversation_id"), nullable=False),
    Column("account_id", Id, ForeignKey("accounts.account_id"), nullable=False, index=True),
    Column("octets", BigInteger, nullable=False),  # of all chunks together
    Column("chunks", Integer, nullable=False),
    Column("epoch", BigInteger),  # of the message that tells of it; null until that was accepted
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

attachment_chunks = Table(
    "attachment_chunks",
    metadata,
    Column("attachment_id", Id, ForeignKey("attachments.attachment_id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("ciphertext", LargeBinary, nullable=False),
)

conversation_devices = Table(
    "conversation_devices",
    metadata,
    Column("conversation_id", Id, ForeignKey("conversations.conversation_id"), primary_key=True),
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True),
    Column("joined_epoch", BigInteger, nullable=False),
)

commits = Table(
    "commits",
    metadata,
    Column("conversation_id", Id, ForeignKey("conversations.conversation_id"), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),  # the primary key is the rule: one accepted commit per epoch
    Column("device_id", Id, ForeignKey("devices.device_id"), nullable=False),
    Column("digest", Digest, nullable=False),
    Column("accepted_at", Double, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("message_key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("conversation_id", Id, ForeignKey("conversations.conversation_id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("sender_device_id", Id, ForeignKey("devices.device_id"), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("accepted_at", Double, nullable=False),
)

mailbox = Table(
    "mailbox",
    metadata,
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("message_key", BigInteger, ForeignKey("messages.message_key"), nullable=False, index=True),
)

sent_messages = Table(
    "sent_messages",
    metadata,
    Column("sender_device_id", Id, ForeignKey("devices.device_id"), primary_key=True),
    Column("message_id", Id, primary_key=True),
    Column("conversation_id", Id, ForeignKey("conversations.conversation_id"), nullable=False),
    Column("digest", Digest, nullable=False),
    Column("accepted_at", Double, nullable=False, index=True),
)

calls = Table(
    "calls",
    metadata,
    Column("call_id", Id, primary_key=True),
    Column("conversation_id", Id, ForeignKey("conversations.conversation_id"), nullable=False),
    Column("precedence", String(16), nullable=False),
    Column("began_at", Double, nullable=False),
    Column("joined_by_two", Boolean, nullable=False),
    Column("ended_at", Double),
    Column("preempted", Boolean, nullable=False, server_default=false()),
    Column("forwarder", String(64)),  # where the forwarder listens that carries the call: "address:port"
    Index("ix_calls_ended_at", "ended_at"),
)

call_rules = Table(
    "call_rules",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    CheckConstraint("id = 1", name="one_row"),
    Column("call_bps", BigInteger, nullable=False),
    Column("flash_share", Double, nullable=False),
    Column("relay_bps", BigInteger, nullable=False),
    Column("carrier_bps", Text, nullable=False),  # JSON: carrier id -> bit/s
)

call_participants = Table(
    "call_participants",
    metadata,
    Column("call_id", Id, ForeignKey("calls.call_id"), primary_key=True),
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True, index=True),
    Column("joined_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("left_at", Double),
)

duress_alarms = Table(
    "duress_alarms",
    metadata,
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True),
    Column("secret_sha256", Digest, nullable=False, unique=True),
    Column("raised_at", Double),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(80), nullable=False),
    Column("details", Text, nullable=False),
    Column("hash", Digest, nullable=False),
    UniqueConstraint("hash"),
    Index(None, "action", "seq"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    CheckConstraint("id = 1", name="one_row"),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Digest, nullable=False),
)

organisation = Table(
    "organisation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    CheckConstraint("id = 1", name="one_row"),
    Column("root", LargeBinary, nullable=False),  # public: the signed statement
    Column("log_key", LargeBinary, nullable=False),  # public: the signed statement; the private half is in a file beside the database
    Column("installed_at", Double, nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    Column("serial", Id, primary_key=True),
    Column("log_index", BigInteger, ForeignKey("log_entries.log_index"), nullable=False, unique=True),
    Column("device_id", Id, ForeignKey("devices.device_id"), nullable=False, index=True),
    Column("account_id", Id, ForeignKey("accounts.account_id"), nullable=False, index=True),
    Column("display_name", String(64), nullable=False),
    Column("unit", String(64), nullable=False),
    Column("roles", String(64), nullable=False),
    Column("precedence_ceiling", String(16), nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("revoked_at", Double),
    Column("revocation_index", BigInteger),
    Column("federation", Id, index=True),  # serial of the cross-certification under which a guest stands
)

federations = Table(
    "federations",
    metadata,
    Column("serial", Id, primary_key=True),
    Column("log_index", BigInteger, ForeignKey("log_entries.log_index"), nullable=False, unique=True),
    Column("root", LargeBinary, nullable=False),
    Column("revoked_at", Double),
)

certificate_requests = Table(
    "certificate_requests",
    metadata,
    Column("request_id", Id, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False, server_default="pending"),
    Column("device_id", Id, ForeignKey("devices.device_id"), nullable=False, index=True),
    Column("display_name", String(64), nullable=False),
    Column("unit", String(64), nullable=False),
    Column("roles", String(64), nullable=False),
    Column("precedence_ceiling", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("invitation_sha256", Digest),
    Column("proof", LargeBinary(64)),
    Index("ix_certificate_requests_state_created_at", "state", "created_at"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("request_id", Id, ForeignKey("certificate_requests.request_id"), primary_key=True),
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True),  # the custodian's: he decides once
    Column("decision", String(16), nullable=False),
    Column("statement", LargeBinary, nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
    Column("at", Double, nullable=False),
)

log_entries = Table(
    "log_entries",
    metadata,
    Column("log_index", BigInteger, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
    Column("added_at", Double, nullable=False),
)

log_nodes = Table(
    "log_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", Digest, nullable=False),
)

log_heads = Table(
    "log_heads",
    metadata,
    Column("tree_size", BigInteger, primary_key=True, autoincrement=False),
    Column("root_hash", Digest, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
)

retention = Table(
    "retention",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    CheckConstraint("id = 1", name="one_row"),
    Column("undelivered_days", Integer),  # null: until they are delivered
    Column("call_records_days", Integer, nullable=False),
    Column("attachments_days", Integer, nullable=False, server_default="30"),
    Column("texts_days", Integer, nullable=False, server_default="90"),
    Column("sos_days", Integer, nullable=False, server_default="365"),
)

sites = Table(
    "sites",
    metadata,
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),  # of its ends of tunnels
    Column("networks", Text, nullable=False),  # JSON: its local networks, as gateways route them
    Column("changed_at", Double, nullable=False),
)

gateways = Table(
    "gateways",
    metadata,
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("address", String(45), nullable=False),  # at which sites reach it
    Column("address_6", String(45)),  # at which those with IPv6 alone do, where `address` is of IPv4
    Column("changed_at", Double, nullable=False),
)

router_reports = Table(
    "router_reports",
    metadata,
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True),  # the last one of each site and gateway, no more
    Column("at", Double, nullable=False),  # by the router's clock
    Column("received_at", Double, nullable=False, index=True),
    Column("gateway_id", Id, nullable=False),  # whose hands it came by
    Column("report", Text, nullable=False),
)

carrier_hours = Table(
    "carrier_hours",
    metadata,
    Column("device_id", Id, ForeignKey("devices.device_id"), primary_key=True),  # the site that measured it
    Column("hour", Integer, primary_key=True, index=True),  # POSIX seconds / 3600
    Column("carrier", String(64), primary_key=True),
    Column("measured", Text, nullable=False),  # JSON, as the site signed it
)

outgoing_texts = Table(
    "outgoing_texts",
    metadata,
    Column("text_id", Id, primary_key=True),
    Column("origin", String(64), nullable=False),  # "sos CASE", "peer SYSTEM", "administrator", …
    Column("link", String(32), nullable=False),
    Column("source", String(24), nullable=False),
    Column("destination", String(24), nullable=False),
    Column("body", Text, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("beam", String(64), nullable=False),
    Column("created_at", Double, nullable=False, index=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("if_unknown", String(8), nullable=False),  # "hold", or "again": twice is better than never
    Column("request_id", String(64), index=True),  # the sender's own id: the same request twice is one text
    UniqueConstraint("origin", "request_id"),
)

outgoing_messages = Table(
    "outgoing_messages",
    metadata,
    Column("message_key", Id, primary_key=True),
    Column("text_id", Id, ForeignKey("outgoing_texts.text_id"), nullable=False, index=True),
    Column("part", Integer, nullable=False),
    Column("link", String(32), nullable=False),
    Column("pdu", LargeBinary, nullable=False),  # as it goes on the wire, with sequence number 0
    Column("reference", Integer, nullable=False),  # user_message_reference
    Column("state", String(16), nullable=False),
    Column("state_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("operator_id", String(64)),  # the centre's message id, as its receipts write it
    Column("status", Integer),  # the last command status
    Column("error", String(8)),  # of the receipt
    Index(None, "link", "state"),
    Index(None, "state"),
    Index(None, "link", "operator_id"),
)

incoming_messages = Table(
    "incoming_messages",
    metadata,
    Column("message_id", Id, primary_key=True),
    Column("link", String(32), nullable=False),
    Column("session", String(16), nullable=False),
    Column("digest", Digest, nullable=False),
    Column("source", String(24), nullable=False),
    Column("destination", String(24), nullable=False),
    Column("pdu", LargeBinary, nullable=False),
    Column("reference", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("text_id", Id, index=True),  # null until the parts are joined
    Index(None, "digest", "received_at"),
)

incoming_texts = Table(
    "incoming_texts",
    metadata,
    Column("text_id", Id, primary_key=True),
    Column("link", String(32), nullable=False),
    Column("source", String(24), nullable=False),
    Column("destination", String(24), nullable=False),
    Column("body", Text, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("received_at", Double, nullable=False, index=True),
    Column("handled_at", Double, index=True),  # null until an SOS case or a route has it
    Column("attempts", Integer, nullable=False, server_default="0"),  # how often its handling failed
    Column("not_before", Double, nullable=False, server_default="0"),  # and when it is tried again
    Column("refused_at", Double),  # it was taken from a peer, and could not go on
)

sealed_numbers = Table(
    "sealed_numbers",
    metadata,
    Column("number", String(24), primary_key=True),
    Column("device_id", Id, ForeignKey("devices.device_id"), nullable=False, unique=True),
    Column("given_at", Double, nullable=False),
)

sealed_texts = Table(
    "sealed_texts",
    metadata,
    Column("text_id", Id, primary_key=True),
    Column("device_id", Id, ForeignKey("devices.device_id"), nullable=False, index=True),
    Column("source", String(24), nullable=False),
    Column("datagram", LargeBinary, nullable=False),  # keys/sealed_text.py: this server cannot open it
    Column("received_at", Double, nullable=False, index=True),
)

sos_cases = Table(
    "sos_cases",
    metadata,
    Column("case_id", Id, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("phone", String(24), nullable=False, index=True),
    Column("state", String(16), nullable=False, index=True),
    Column("opened_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("version", Integer, nullable=False),  # goes up with every change; whoever changes says which he saw
    Column("record", Text, nullable=False),  # the case as JSON (cell/sos_case.py)
)

sos_entries = Table(
    "sos_entries",
    metadata,
    Column("case_id", Id, ForeignKey("sos_cases.case_id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("author", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("text_id", Id),  # of the outgoing or incoming text
)

warnings = Table(
    "warnings",
    metadata,
    Column("warning_id", Id, primary_key=True),
    Column("state", String(16), nullable=False, index=True),
    Column("content", LargeBinary, nullable=False),  # the octets that were signed
    Column("author_account_id", Id, ForeignKey("accounts.account_id"), nullable=False),
    Column("submitted_at", Double, nullable=False, index=True),
    Column("message_code", Integer),
    Column("update_number", Integer),
    Column("approved_at", Double),
    Column("expires_at", Double),
    Column("ended_at", Double),
)

warning_decisions = Table(
    "warning_decisions",
    metadata,
    Column("warning_id", Id, ForeignKey("warnings.warning_id"), primary_key=True),
    Column("decision", String(16), primary_key=True),  # submit, approve, reject, withdraw: each at most once
    Column("account_id", Id, ForeignKey("accounts.account_id"), nullable=False),
    Column("device_id", Id, ForeignKey("devices.device_id"), nullable=False),
    Column("statement", LargeBinary, nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
    Column("at", Double, nullable=False),
)

warning_cells = Table(
    "warning_cells",
    metadata,
    Column("warning_id", Id, ForeignKey("warnings.warning_id"), primary_key=True),
    Column("controller", String(64), primary_key=True),
    Column("message_identifier", Integer, primary_key=True, autoincrement=False),
    Column("cell", String(16), primary_key=True),  # LAC-CI
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", String(120), nullable=False),
    Column("at", Double, nullable=False),
    Column("on_air_at", Double),  # when it was confirmed the first time
    Column("off_air_at", Double),
)

unit_positions = Table(
    "unit_positions",
    metadata,
    Column("link", String(32), primary_key=True),  # the TAK server that told it
    Column("uid", String(128), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("callsign", String(64), nullable=False),
    Column("latitude_deg", Double, nullable=False),
    Column("longitude_deg", Double, nullable=False),
    Column("height_m", Double),
    Column("radius_m", Double),
    Column("course_deg", Double),
    Column("speed_m_s", Double),
    Column("emergency", Boolean, nullable=False),
    Column("at", Double, nullable=False),
    Column("stale_at", Double, nullable=False, index=True),  # the last position of each and no more, deleted some time after this
    Column("received_at", Double, nullable=False),
)
