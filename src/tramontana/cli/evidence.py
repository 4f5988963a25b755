"""`tramontana evidence`: what an auditor needs about one installation, in one folder, and no secret in it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy import column, inspect, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana import __version__
from tramontana.cli import sbom
from tramontana.cli.datadir import data_dir, data_option, database_option, database_password_option
from tramontana.cli.desk import DAY_S, DEFAULT_VALIDITY_DAYS
from tramontana.control.bootstrap import with_store
from tramontana.control.challenges import CHALLENGE_LIFETIME_S
from tramontana.control.media import CREDENTIAL_S
from tramontana.control.store import audit, certificates, sessions
from tramontana.control.store.database import DATABASE_NAME, PostgresqlAddress, Store
from tramontana.control.store.invitations import INVITATION_LIFETIME_S
from tramontana.errors import LocalError
from tramontana.internet.key_renewal import Timing
from tramontana.keys.mls.client import KEY_PACKAGE_LIFETIME_S
from tramontana.keys.mls.framing import SUITE
from tramontana.keys.organisation import verify_root
from tramontana.keys.profiles import PROFILES
from tramontana.keys.sealed_text import EPOCH_KEPT_S
from tramontana.phone.forwarder.ticket import TICKET_LIFETIME_S

PAGE = 500
_HEADS = table("log_heads", column("tree_size"), column("root_hash"), column("at"), column("signature"))
README = """# Evidence pack

What Tramontana {version} is made of and what it recorded, made {made} by `tramontana evidence`.
Nothing in here is secret: no key, token or password, and no content of any conversation, which the server does not have.

| file | holds | check it |
|---|---|---|
| `sbom-python.cdx.json` | every Python package of the server, CycloneDX 1.6 | the digests are those that the installation checks |
| `sbom-web.cdx.json` | every package in the phone and the console, CycloneDX 1.6 | likewise |
| `algorithms.json` | algorithms, profiles with what each lacks, lifetimes of keys and tokens | read out of the code that runs |
| `keys.json` | the organisation and its profile; how long each certificate holds, and what it gives | each has its place in the log |
| `audit.jsonl` | the audit trail, one row a line | each `hash` follows from the row and the hash before it: see `audit.json` |
| `audit.json` | the verdict on the chain, its head, and how to recompute it | keep the head: a later pack begins with this trail |
| `log.json` | the transparency log's last signed tree head | compare it with what phones and an auditor's command saw |
| `SHA256SUMS` | digests of these files | `sha256sum -c SHA256SUMS` |

Tests and benchmarks are commands of the source tree: `make check` (types, floors, style), `make test` (everything, with real browsers),
`make bench` (side by side with peers). What is protected and what is not: `docs/security.md`.
"""
AUDIT_RULE = (
    "hash = SHA-256 over these fields, each preceded by its length in 4 bytes big-endian: the context 'tramontana audit 1', the hash of "
    "the row before (32 zero bytes before the first), seq, at (as Python's repr of a float), actor, action, subject, details (JSON text)"
)


class EvidenceRefused(LocalError):
    """The pack cannot be written there; the message says why. Choose a folder that does not exist yet."""


class TrailBroken(LocalError):
    """The audit trail does not fit together; the pack shows from which row on. Secure the data directory and its backups."""


def algorithms() -> dict[str, Any]:
    """Algorithms and lifetimes, as the code of this release has them."""
    return {
        "version": __version__,
        "conversations": {
            "protocol": "MLS 1.0 (RFC 9420)",
            "suite": f"0x{SUITE:04X} (private number; draft-ietf-mls-pq-ciphersuites has none yet)",
            "key_agreement": "X-Wing (ML-KEM-768 + X25519): holds while either holds",
            "key_derivation": "HKDF-SHA384",
            "encryption": "AES-256-GCM",
            "hash": "SHA-384",
            "signature": "Ed25519 (classical)",
        },
        "media": {"protocol": "SFrame (RFC 9605)", "suite": "0x0005 AES_256_GCM_SHA512_128", "keys": "MLS exporter, bound to one call"},
        "attachments": "AES-256-GCM in chunks under a key of each attachment, which travels in the conversation",
        "organisation": {
            "statements": "Ed25519 and ML-DSA together; both signatures must verify",
            "log": "RFC 9162 tree over SHA-256, tree heads signed with Ed25519",
            "profiles": {
                profile.name: {"summary": profile.summary, "ml_dsa": profile.ml_dsa, "lacks": list(profile.lacks)}
                for profile in PROFILES.values()
            },
        },
        "tunnels": {
            "protocol": "WireGuard: Curve25519, ChaCha20-Poly1305, BLAKE2s, in a session of WireGuard's own",
            "preshared_key": "32 octets from the exporter of the MLS conversation of site and gateway, the suite above; no key, no peer",
        },
        "sealed_texts": "AES-256-GCM under keys of the MLS exporter, one for each pair of devices and epoch",
        "transport": "TLS of the server's certificate, or a proxy's; DTLS-SRTP for media, inside which SFrame stays sealed",
        "at_rest": {
            "server": "ciphertext of conversations; tokens as SHA-256 only",
            "phone": "AES-256-GCM under a key that scripts cannot extract, with a passphrase where one is set",
            "device_without_browser": "AES-256-GCM, Argon2id",
            "organisation": "AES-256-GCM, Argon2id, on a machine that is not the server",
        },
        "lifetimes_s": {
            "invitation": INVITATION_LIFETIME_S,
            "login_challenge": CHALLENGE_LIFETIME_S,
            "session_of_a_device": sessions.DEVICE_SESSION_S,
            "session_of_an_administrator": sessions.ADMINISTRATOR_SESSION_S,
            "administrator_link": sessions.ADMINISTRATOR_LINK_S,
            "relay_credential": CREDENTIAL_S,
            "forwarder_ticket": TICKET_LIFETIME_S,
            "certificate_unless_said_otherwise": DEFAULT_VALIDITY_DAYS * DAY_S,
            "key_package": KEY_PACKAGE_LIFETIME_S,
            "session_of_a_tunnel_at_most": Timing().dead_s,
            "keys_of_sealed_texts_after_their_epoch": EPOCH_KEPT_S,
        },
        "lifetimes": {
            "media_keys": "one call",
            "message_keys": "one message; epoch secrets until the next commit, which follows every call",
            "preshared_key_of_a_tunnel": "until the next one is proven: one is agreed at a handshake, about every 120 s",
            "keys_of_a_site_and_gateway_conversation": "one connection; nothing of the group is stored",
            "organisation_key": "as long as the organisation: its fingerprint is pinned",
            "device_key": "until the device is revoked or the certificate ends",
        },
    }


async def _audit_trail(connection: AsyncConnection, write: Any) -> dict[str, Any]:
    report = await audit.verify(connection)
    after, head = 0, audit.GENESIS
    while rows := await audit.entries(connection, after, PAGE):
        for row in rows:
            line = {"seq": row.seq, "at": row.at, "actor": row.actor, "action": row.action, "subject": row.subject}
            write(json.dumps({**line, "details": row.details, "hash": row.hash.hex()}, ensure_ascii=False) + "\n")
        after, head = rows[-1].seq, rows[-1].hash
    return {"rows": after, "intact": report.intact, "first_broken": report.first_broken, "head": head.hex(), "rule": AUDIT_RULE}


async def _keys(connection: AsyncConnection) -> dict[str, Any]:
    """The organisation, and the life of each certificate."""
    installed = await certificates.installed(connection)
    if installed is None:
        return {"organisation": None, "reason": "no organisation has been installed", "certificates": []}
    root = verify_root(installed.root)
    named = {"name": root.name, "fingerprint": root.fingerprint_text, "profile": root.profile.name, "created_at": root.created_at}
    issued = [
        {
            "serial": row.serial,
            "log_index": row.log_index,
            "device_id": row.device_id,
            "roles": row.roles.split(","),
            "ceiling": row.precedence_ceiling,
            "not_before": row.not_before,
            "not_after": row.not_after,
            "revoked_at": row.revoked_at,
        }
        for row in await certificates.all_in_order(connection)
    ]
    return {"organisation": named, "certificates": issued}


async def _tree_head(connection: AsyncConnection) -> dict[str, Any]:
    """The transparency log's last tree head, as it was signed."""
    if not await connection.run_sync(lambda synchronous: inspect(synchronous).has_table(_HEADS.name)):
        return {"tree_head": None, "reason": "this database has no transparency log"}
    row = (await connection.execute(select(_HEADS).order_by(_HEADS.c.tree_size.desc()).limit(1))).mappings().first()
    if row is None:
        return {"tree_head": None, "reason": "no organisation has been installed, so nothing is logged yet"}
    head = {"tree_size": row["tree_size"], "root_hash": row["root_hash"].hex(), "at": row["at"], "signature": row["signature"].hex()}
    return {
        "tree_head": head,
        "statement": "context 'tramontana tree head 1' over log id, tree_size, root_hash, at; Ed25519 by the log's key",
    }


def _pack(folder: Path, directory: Path, database: PostgresqlAddress | None, now: float) -> dict[str, Any]:
    """Write everything into an empty folder. Returns the verdict on the audit trail."""

    def write(name: str, document: Any) -> None:
        text = document if isinstance(document, str) else json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, "utf-8")

    write("sbom-python.cdx.json", sbom.bill("tramontana", sbom.python_components(sbom.lock_text("requirements.lock")), now))
    write("sbom-web.cdx.json", sbom.bill("tramontana-web", sbom.npm_components(sbom.lock_text("package-lock.json")), now))
    write("algorithms.json", algorithms())

    async def read(store: Store) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        with (folder / "audit.jsonl").open("w", encoding="utf-8") as trail:
            async with store.read() as connection:  # one snapshot: trail and head belong together
                return await _audit_trail(connection, trail.write), await _tree_head(connection), await _keys(connection)

    verdict, log, keys = with_store(directory, read, database)
    write("keys.json", keys)
    write("audit.json", verdict)
    write("log.json", log)
    made = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    write("README.md", README.format(version=f"{__version__} (Python {platform.python_version()})", made=made))
    names = sorted(path.name for path in folder.iterdir())
    sums = "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    write("SHA256SUMS", sums)
    return verdict


@click.command()
@data_option
@database_option
@database_password_option
@click.argument("folder", type=click.Path(path_type=Path))
def evidence(data: Path | None, database: str | None, database_password_file: Path | None, folder: Path) -> None:
    """Write an evidence pack into FOLDER: bills of materials, algorithms, audit trail with its verdict, the log's head.

    It may run beside the server. Nothing in the pack is secret.
    """
    if folder.exists():
        raise EvidenceRefused(f"{folder} exists already: choose a folder that does not, so that packs are never mixed")
    directory = data_dir(data)
    if database is None and not (directory / DATABASE_NAME).exists():
        raise EvidenceRefused(f"there is no database in {directory}: say with --data or --database where the server keeps its data")
    address = PostgresqlAddress.parse(database, database_password_file) if database else None
    try:
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=f".{folder.name}-") as working:
            made = Path(working) / "pack"
            made.mkdir(mode=0o755)
            verdict = _pack(made, directory, address, time.time())
            os.replace(made, folder)
    except OSError as error:
        raise EvidenceRefused(f"the pack cannot be written to {folder} ({error.strerror}); choose another folder") from error
    state = "every row follows from the one before it" if verdict["intact"] else "BROKEN"
    click.echo(f"{folder}: {verdict['rows']} rows in the audit trail, {state}")
    if not verdict["intact"]:
        raise TrailBroken(
            f"the audit trail does not fit together from row {verdict['first_broken']} on; the pack in {folder} shows it. "
            "Secure the data directory and its backups, and have them examined"
        )
