"""Links made beside a running server, or before it: those that `tramontana up` prints and those of the command line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tramontana.control import admission
from tramontana.control.store import audit
from tramontana.control.store.database import PostgresqlAddress, Store
from tramontana.errors import LocalError
from tramontana.keys.secret import Token

T = TypeVar("T")
ADDRESS_NAME = "address"


class AddressUnknown(LocalError):
    """Nobody knows the server's address yet; say it with --origin."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """One-time tokens for the terminal. The store holds their digests only."""

    administrator_token: Token
    invitation_tokens: tuple[Token, ...]


def with_store(directory: Path, work: Callable[[Store], Awaitable[T]], database: PostgresqlAddress | None = None) -> T:
    """Open the store, do one thing and close it, from code without an event loop. Raises `StoreError`."""

    async def run() -> T:
        store = await Store.open(directory, database)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def prepare(directory: Path) -> Bootstrap:
    """Make an administrator link and two invitations beside the server that has just started; unused ones of earlier starts are withdrawn.

    Raises `StoreError`.
    """

    async def work(store: Store) -> Bootstrap:
        now = time.time()
        token, _ = await admission.administrator_link(store, actor=audit.SERVER, now=now)
        made = await admission.boot_invitations(store, now=now)
        return Bootstrap(token, tuple(invitation.token for invitation in made))

    return with_store(directory, work)


def make_invitation(directory: Path, note: str, database: PostgresqlAddress | None = None) -> admission.NewInvitation:
    """An invitation made at the command line, beside a running server or without one."""

    def work(store: Store) -> Awaitable[admission.NewInvitation]:
        return admission.invite(store, origin="command", actor=audit.COMMAND, note=note, now=time.time())

    return with_store(directory, work, database)


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
