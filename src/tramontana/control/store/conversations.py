"""Conversations: members, the devices in the MLS group, the epoch, and one accepted commit per epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.accounts import new_id
from tramontana.control.store.schema import commits, conversation_devices, conversation_members, conversations, devices


@dataclass(frozen=True, slots=True)
class Conversation:
    """`epoch` and `creator_device_id` are None until a first commit was accepted."""

    conversation_id: str
    kind: str
    members: tuple[str, ...]
    epoch: int | None
    creator_device_id: str | None


@dataclass(frozen=True, slots=True)
class Commit:
    """The accepted commit of one epoch. `digest` is SHA-256 over it and its welcome: it tells a repeat from a rival."""

    device_id: str
    digest: bytes
    accepted_at: float


async def _members(connection: AsyncConnection, ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    query = select(conversation_members).where(conversation_members.c.conversation_id.in_(ids)).order_by(conversation_members.c.account_id)
    found: dict[str, tuple[str, ...]] = {}
    for row in await connection.execute(query):
        found[row.conversation_id] = (*found.get(row.conversation_id, ()), row.account_id)
    return found


async def _read(connection: AsyncConnection, rows: Iterable[RowMapping]) -> list[Conversation]:
    listed = list(rows)
    members = await _members(connection, [row["conversation_id"] for row in listed])
    return [Conversation(members=members[row["conversation_id"]], **row) for row in listed]


_CONVERSATION = select(conversations.c.conversation_id, conversations.c.kind, conversations.c.epoch, conversations.c.creator_device_id)


async def direct(connection: AsyncConnection, account_id: str, peer_id: str, now: float) -> Conversation:
    """The one conversation of a pair, made on first use."""
    pair = ":".join(sorted((account_id, peer_id)))
    found = await _read(connection, (await connection.execute(_CONVERSATION.where(conversations.c.pair == pair))).mappings())
    if found:
        return found[0]
    conversation_id = new_id()
    await connection.execute(insert(conversations).values(conversation_id=conversation_id, kind="direct", pair=pair, created_at=now))
    members = tuple(sorted((account_id, peer_id)))
    rows = [{"conversation_id": conversation_id, "account_id": member} for member in members]
    await connection.execute(insert(conversation_members), rows)
    return Conversation(conversation_id, "direct", members, None, None)


async def of_account(connection: AsyncConnection, account_id: str) -> Sequence[Conversation]:
    query = _CONVERSATION.join(conversation_members).where(conversation_members.c.account_id == account_id)
    return await _read(connection, (await connection.execute(query.order_by(conversations.c.created_at))).mappings())


async def find(connection: AsyncConnection, conversation_id: str) -> Conversation | None:
    query = _CONVERSATION.where(conversations.c.conversation_id == conversation_id)
    found = await _read(connection, (await connection.execute(query)).mappings())
    return found[0] if found else None


async def member_devices(connection: AsyncConnection, conversation_id: str) -> frozenset[str]:
    """The devices of all member accounts, in the group or not."""
    query = select(devices.c.device_id).join(conversation_members, conversation_members.c.account_id == devices.c.account_id)
    return frozenset((await connection.execute(query.where(conversation_members.c.conversation_id == conversation_id))).scalars())


async def joined_devices(connection: AsyncConnection, conversation_id: str) -> Mapping[str, int]:
    """The devices that created the group or were welcomed into it, with the epoch at which each came in."""
    query = select(conversation_devices).where(conversation_devices.c.conversation_id == conversation_id)
    return {row.device_id: row.joined_epoch for row in await connection.execute(query)}


async def join(connection: AsyncConnection, conversation_id: str, joining: Iterable[str], epoch: int) -> None:
    """Devices come into the group, or into it again, at an epoch."""
    for device_id in sorted(joining):
        mine = (conversation_devices.c.conversation_id == conversation_id, conversation_devices.c.device_id == device_id)
        known = await connection.execute(update(conversation_devices).where(*mine).values(joined_epoch=epoch))
        if known.rowcount == 0:
            row = {"conversation_id": conversation_id, "device_id": device_id, "joined_epoch": epoch}
            await connection.execute(insert(conversation_devices).values(row))


async def commit_of(connection: AsyncConnection, conversation_id: str, epoch: int) -> Commit | None:
    query = select(commits.c.device_id, commits.c.digest, commits.c.accepted_at)
    row = (await connection.execute(query.where(commits.c.conversation_id == conversation_id, commits.c.epoch == epoch))).mappings().first()
    return Commit(**row) if row else None


async def accept_commit(connection: AsyncConnection, conversation_id: str, epoch: int, commit: Commit) -> None:
    """Record the commit made in `epoch` and move the conversation to the next one. The primary key refuses a second one."""
    row = {"device_id": commit.device_id, "digest": commit.digest, "accepted_at": commit.accepted_at}
    await connection.execute(insert(commits).values(conversation_id=conversation_id, epoch=epoch, **row))
    values: dict[str, object] = {"epoch": epoch + 1}
    if epoch == 0:
        values["creator_device_id"] = commit.device_id
    await connection.execute(update(conversations).where(conversations.c.conversation_id == conversation_id).values(values))
