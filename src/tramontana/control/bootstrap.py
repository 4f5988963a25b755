"""Links made beside a running server, or before it: those that `tramontana up` prints and those of the command line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tramontana.control import admission, organisation
from tramontana.control.problem import Problem
from tramontana.control.store import accounts, audit, certificates, sessions
from tramontana.control.store.database import PostgresqlAddress, Store, prepare_directory
from tramontana.control.store.invitations import Origin
from tramontana.control.store.requests import MEMBER, Proposal
from tramontana.errors import LocalError
from tramontana.keys.certificate import UnverifiedLogKey
from tramontana.keys.log import LogKey
from tramontana.keys.organisation import Root, verify_root
from tramontana.keys.secret import Token
from tramontana.private_file import PrivateFileError, read_or_make_private

T = TypeVar("T")
ADDRESS_NAME = "address"
LOG_KEY_NAME = "log.key"


class AddressUnknown(LocalError):
    """Nobody knows the server's address yet; say it with --origin."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """One-time tokens for the terminal. The store holds their digests only."""

    root: Root | None
    administrator_token: Token
    invitation_tokens: tuple[Token, ...]
    desk_tokens: tuple[Token, ...]


def with_store(directory: Path, work: Callable[[Store], Awaitable[T]], database: PostgresqlAddress | None = None) -> T:
    """Open the store, do one thing and close it, from code without an event loop. Raises `StoreError`."""

    async def run() -> T:
        store = await Store.open(directory, database)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def load_log_key(path: Path) -> LogKey:
    """The key that signs the heads of the log, in a file of its own: a copy of the database has no private key. Made where there is none.

    Raises `PrivateFileError`.
    """
    secret = read_or_make_private(path, lambda: LogKey.generate().reveal())
    try:
        return LogKey.from_bytes(secret)
    except ValueError as error:
        raise PrivateFileError(f"{path} holds no log key; restore it from its backup") from error


def _log_key_in(directory: Path) -> LogKey:
    prepare_directory(directory)
    return load_log_key(directory / LOG_KEY_NAME)


async def log_key_of(store: Store, path: Path) -> LogKey:
    """The log key of a server process: the one that the organisation has signed, or before that any.

    Several processes of one database sign the same log, so they need the same key. Raises `OrganisationError`, `PrivateFileError`.
    """
    async with store.read() as connection:
        found = await certificates.installed(connection)
    if found is None:
        return load_log_key(path)
    root = verify_root(found.root)
    what_to_do = (
        "Every server process of a database needs the log key of the first: copy log.key from the data directory in which "
        "`tramontana organisation request` was run (mode 600), or say where it is with --log-key"
    )
    if not await asyncio.to_thread(path.exists):  # a new one would be of no use, and in the way
        raise organisation.OrganisationError(
            f"there is no log key in {path}, and {root.name!r} has signed one for this service. {what_to_do}"
        )
    key = load_log_key(path)
    if key.public_bytes != UnverifiedLogKey(found.log_key).verify(root).public_key:
        raise organisation.OrganisationError(
            f"the log key in {path} is not the one that {root.name!r} has signed for this service. {what_to_do}"
        )
    return key


def log_key_request(directory: Path, database: PostgresqlAddress | None = None) -> tuple[str, bytes]:
    """What the organisation signs so that a server may keep its log: (service_id, public key of the log)."""
    key = _log_key_in(directory)

    async def work(store: Store) -> str:
        async with store.write() as connection:
            return await accounts.service_id(connection, time.time())

    return with_store(directory, work, database), key.public_bytes


def install_organisation(directory: Path, root: bytes, log_key_statement: bytes, database: PostgresqlAddress | None = None) -> Root:
    """Give the server of this directory its organisation. Raises `OrganisationError`, `Refused`."""
    key = _log_key_in(directory)
    installed = with_store(directory, lambda store: organisation.install(store, key, root, log_key_statement, now=time.time()), database)
    return installed.root


def organisation_of(directory: Path, sign: Callable[[str, bytes], tuple[bytes, bytes]], database: PostgresqlAddress | None = None) -> Root:
    """The organisation of the server of this directory; one that has none gets what `sign` makes of a log key request.

    sign: (service_id, public key of the log) → (root, log key statement). Raises `OrganisationError`, `Refused`.
    """
    key = _log_key_in(directory)

    async def work(store: Store) -> Root:
        now = time.time()
        async with store.write() as connection:
            known, service_id = await certificates.installed(connection), await accounts.service_id(connection, now)
        if known is not None:
            return verify_root(known.root)
        return (await organisation.install(store, key, *sign(service_id, key.public_bytes), now=now)).root

    return with_store(directory, work, database)


def installed_root(directory: Path, database: PostgresqlAddress | None = None) -> Root | None:
    """The organisation of the server of this directory."""

    async def work(store: Store) -> certificates.Installed | None:
        async with store.read() as connection:
            return await certificates.installed(connection)

    found = with_store(directory, work, database)
    return verify_root(found.root) if found else None


def fingerprint_of(directory: Path, database: PostgresqlAddress | None = None) -> str:
    """As it stands in links. Raises `OrganisationError` before one is installed."""
    root = installed_root(directory, database)
    if root is None:
        raise organisation.OrganisationError(
            "this server has no organisation yet, and nobody could check who is invited to what: "
            "make one with `tramontana init`, then `tramontana organisation install`"
        )
    return root.fingerprint_text


def prepare(
    directory: Path, proposals: Sequence[Proposal] = (MEMBER, MEMBER), desks: Sequence[str] = (), database: PostgresqlAddress | None = None
) -> Bootstrap:
    """Make an administrator link and invitations beside the server that has just started; unused ones of earlier starts are withdrawn.

    desks: notes of further invitations, for custodians. Raises `StoreError`.
    """

    async def work(store: Store) -> Bootstrap:
        now = time.time()
        token, _ = await admission.administrator_link(store, actor=audit.SERVER, now=now)
        made = await admission.boot_invitations(store, now=now, proposals=proposals)
        invited = [await admission.invite(store, origin="start", actor=audit.SERVER, note=note, now=now) for note in desks]
        async with store.read() as connection:
            found = await certificates.installed(connection)
        tokens = [tuple(invitation.token for invitation in invitations) for invitations in (made, invited)]
        return Bootstrap(verify_root(found.root) if found else None, token, *tokens)

    return with_store(directory, work, database)


def make_invitation(
    directory: Path,
    note: str,
    proposal: Proposal = MEMBER,
    of_account: str | None = None,
    origin: Origin = "command",
    database: PostgresqlAddress | None = None,
) -> admission.NewInvitation:
    """An invitation made at the command line, beside a running server or without one."""

    async def work(store: Store) -> admission.NewInvitation:
        return await admission.invite(
            store, origin=origin, actor=audit.COMMAND, note=note, now=time.time(), proposal=proposal, of_account=of_account
        )

    try:
        return with_store(directory, work, database)
    except Problem as problem:
        raise LocalError("there is no account of this id; the console lists them under People") from problem


def make_auditor_access(directory: Path, note: str, database: PostgresqlAddress | None = None) -> tuple[Token, float]:
    """A token that reads the log, made at the command line, and when it expires."""
    return with_store(directory, lambda store: admission.auditor_access(store, actor=audit.COMMAND, note=note, now=time.time()), database)


def auditor_links(directory: Path, database: PostgresqlAddress | None = None) -> list[tuple[sessions.AuditorLink, str]]:
    """Auditors' links that read the log now, each with its note."""
    return with_store(directory, lambda store: admission.auditor_links(store, now=time.time()), database)


def withdraw_auditor_link(directory: Path, auditor_id: str, database: PostgresqlAddress | None = None) -> None:
    """At the command line; a running server obeys at once. Raises `LocalError` where there is no such link."""

    async def work(store: Store) -> None:
        await admission.withdraw_auditor(store, auditor_id, actor=audit.COMMAND, now=time.time())

    try:
        with_store(directory, work, database)
    except Problem as problem:
        raise LocalError("no link of this id reads the log; `tramontana auditor-link --list` says which do") from problem


def make_administrator_link(directory: Path, database: PostgresqlAddress | None = None) -> tuple[Token, float]:
    """A one-time administrator token made at the command line, and when it expires."""
    return with_store(directory, lambda store: admission.administrator_link(store, actor=audit.COMMAND, now=time.time()), database)


def remember_address(directory: Path, url: str) -> None:
    """Note where the server listens, for links that are made beside it."""
    (directory / ADDRESS_NAME).write_text(url + "\n", "utf-8")


def last_address(directory: Path) -> str:
    """Where a server of this directory listened last. Raises `AddressUnknown`."""
    try:
        return (directory / ADDRESS_NAME).read_text("utf-8").strip()
    except OSError as error:
        raise AddressUnknown("no server has run on this data directory yet; say its address with --origin") from error
