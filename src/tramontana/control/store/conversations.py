"""Conversations: members with their roles, the devices in the MLS group, the epoch, and one accepted commit per epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import RowMapping, and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.among import among
from tramontana.control.store.schema import accounts, commits, conversation_devices, conversation_members, conversations, devices
from tramontana.keys.identity import direct_conversation_id

Kind = Literal["direct", "group", "talk"]
Role = Literal["member", "owner", "archive"]

MOST_MEMBERS: Mapping[str, int] = {"direct": 2, "group": 200, "talk": 1000}
"""Members of a conversation of each kind, archive members not counted."""
MAX_LISTED = 500
"""Talk groups that an administrator is shown."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """`epoch` and `creator_device_id` are None until a first commit was accepted. Owners and archives are members too."""

    conversation_id: str
    kind: Kind
    members: tuple[str, ...]
    owners: tuple[str, ...]
    archives: tuple[str, ...]
    epoch: int | None
    creator_device_id: str | None


@dataclass(frozen=True, slots=True)
class Commit:
    """The accepted commit of one epoch. `digest` is SHA-256 over it and its welcome: it tells a repeat from a rival."""

    device_id: str
    digest: bytes
    accepted_at: float


async def _roster(connection: AsyncConnection, ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """{conversation_id: {account_id: role}}, accounts in order."""
    query = select(conversation_members.c.conversation_id, conversation_members.c.account_id, conversation_members.c.role)
    query = query.where(conversation_members.c.conversation_id.in_(ids)).order_by(conversation_members.c.account_id)
    found: dict[str, dict[str, str]] = {}
    for row in await connection.execute(query):
        found.setdefault(row.conversation_id, {})[row.account_id] = row.role
    return found


async def _read(connection: AsyncConnection, rows: Iterable[RowMapping]) -> list[Conversation]:
    listed = list(rows)
    rosters = await _roster(connection, [row["conversation_id"] for row in listed])
    read = []
    for row in listed:
        roster = rosters.get(row["conversation_id"], {})
        by_role = {role: tuple(account for account, its in roster.items() if its == role) for role in ("owner", "archive")}
        read.append(Conversation(members=tuple(roster), owners=by_role["owner"], archives=by_role["archive"], **row))
    return read


_CONVERSATION = select(conversations.c.conversation_id, conversations.c.kind, conversations.c.epoch, conversations.c.creator_device_id)


async def direct_among(connection: AsyncConnection, conversation_ids: Collection[str]) -> list[Conversation]:
    """Those of these conversations that are between two people."""
    query = _CONVERSATION.where(conversations.c.conversation_id.in_(conversation_ids), conversations.c.kind == "direct")
    return await _read(connection, (await connection.execute(query)).mappings())


async def direct(connection: AsyncConnection, account_id: str, peer_id: str, now: float) -> Conversation:
    """The one conversation of a pair, made on first use."""
    pair = ":".join(sorted((account_id, peer_id)))
    found = await _read(connection, (await connection.execute(_CONVERSATION.where(conversations.c.pair == pair))).mappings())
    if found:
        return found[0]
    conversation_id = direct_conversation_id(account_id, peer_id)
    await connection.execute(insert(conversations).values(conversation_id=conversation_id, kind="direct", pair=pair, created_at=now))
    await add_members(connection, conversation_id, {account_id, peer_id}, "member", now)
    made = await find(connection, conversation_id)
    assert made is not None
    return made


async def create(
    connection: AsyncConnection, conversation_id: str, kind: Kind, owner_id: str, members: Collection[str], now: float
) -> Conversation:
    """A group or talk group with its owner and other members."""
    await connection.execute(insert(conversations).values(conversation_id=conversation_id, kind=kind, created_at=now))
    await add_members(connection, conversation_id, {owner_id}, "owner", now)
    await add_members(connection, conversation_id, set(members) - {owner_id}, "member", now)
    made = await find(connection, conversation_id)
    assert made is not None
    return made


async def add_members(connection: AsyncConnection, conversation_id: str, account_ids: Collection[str], role: Role, now: float) -> None:
    """Accounts that are not members yet."""
    if account_ids:
        rows = [{"conversation_id": conversation_id, "account_id": each, "role": role, "added_at": now} for each in sorted(account_ids)]
        await connection.execute(insert(conversation_members), rows)


async def remove_member(connection: AsyncConnection, conversation_id: str, account_id: str) -> None:
    """Take an account off the list. When the last owner goes, the member who has been there longest becomes the owner."""
    mine = conversation_members.c.conversation_id == conversation_id
    await connection.execute(delete(conversation_members).where(mine, conversation_members.c.account_id == account_id))
    owner = select(conversation_members.c.account_id).where(mine, conversation_members.c.role == "owner").limit(1)
    if (await connection.execute(owner)).first() is not None:
        return
    heir = select(conversation_members.c.account_id).where(mine, conversation_members.c.role == "member")
    heir = heir.order_by(conversation_members.c.added_at, conversation_members.c.account_id).limit(1)
    if (found := (await connection.execute(heir)).scalar_one_or_none()) is not None:
        named = (mine, conversation_members.c.account_id == found)
        await connection.execute(update(conversation_members).where(*named).values(role="owner"))


async def set_rights(connection: AsyncConnection, conversation_id: str, account_id: str, role: Role, floor: str | None) -> None:
    """What a member is and may ask of the floor."""
    named = (conversation_members.c.conversation_id == conversation_id, conversation_members.c.account_id == account_id)
    await connection.execute(update(conversation_members).where(*named).values(role=role, floor=floor))


async def floor_of(connection: AsyncConnection, conversation_id: str, account_id: str) -> str | None:
    """The least level at which a member asks for the floor, "none" for one who only listens; None where nothing was set."""
    named = (conversation_members.c.conversation_id == conversation_id, conversation_members.c.account_id == account_id)
    return (await connection.execute(select(conversation_members.c.floor).where(*named))).scalar_one_or_none()


@dataclass(frozen=True, slots=True)
class TalkMember:
    """One member of a talk group, as an administrator sees him."""

    account_id: str
    display_name: str
    role: Role
    floor: str | None


@dataclass(frozen=True, slots=True)
class TalkGroup:
    """A talk group, as an administrator sees it. `founded`: there is an MLS group."""

    conversation_id: str
    created_at: float
    founded: bool
    members: tuple[TalkMember, ...]


async def talk_groups(connection: AsyncConnection) -> Sequence[TalkGroup]:
    """The newest first, their members by name."""
    query = select(conversations.c.conversation_id, conversations.c.created_at, conversations.c.epoch).where(conversations.c.kind == "talk")
    rows = list(await connection.execute(query.order_by(conversations.c.created_at.desc()).limit(MAX_LISTED)))
    shown = select(
        conversation_members.c.conversation_id,
        conversation_members.c.account_id,
        accounts.c.display_name,
        conversation_members.c.role,
        conversation_members.c.floor,
    ).join_from(conversation_members, accounts)
    shown = shown.where(conversation_members.c.conversation_id.in_([row.conversation_id for row in rows]))
    members: dict[str, list[TalkMember]] = {}
    for row in await connection.execute(shown.order_by(accounts.c.display_name, conversation_members.c.account_id)):
        members.setdefault(row.conversation_id, []).append(TalkMember(row.account_id, row.display_name, row.role, row.floor))
    return [
        TalkGroup(row.conversation_id, row.created_at, row.epoch is not None, tuple(members.get(row.conversation_id, ()))) for row in rows
    ]


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
    """The devices that created the group or were welcomed into it and not removed since, with the epoch at which each came in."""
    query = select(conversation_devices).where(conversation_devices.c.conversation_id == conversation_id)
    return {row.device_id: row.joined_epoch for row in await connection.execute(query)}


async def has_member(connection: AsyncConnection, conversation_id: str, account_id: str) -> bool:
    named = (conversation_members.c.conversation_id == conversation_id, conversation_members.c.account_id == account_id)
    return (await connection.execute(select(conversation_members.c.role).where(*named))).first() is not None


@dataclass(frozen=True, slots=True)
class Joined:
    """A device in a group: the epoch at which it came in, and whether its account is still on the list of members."""

    epoch: int
    is_member: bool


@dataclass(frozen=True, slots=True)
class MlsGroup:
    """A conversation in which there is a group: its epoch, and the devices in it as `joined_devices` has them."""

    epoch: int
    joined: Mapping[str, Joined]


async def groups(connection: AsyncConnection, conversation_ids: Collection[str]) -> Mapping[str, MlsGroup]:
    """Those of these conversations that have somebody in them."""
    listed = and_(
        conversation_members.c.conversation_id == conversation_devices.c.conversation_id,
        conversation_members.c.account_id == devices.c.account_id,
    )
    query = (
        select(conversations.c.epoch, conversation_devices, conversation_members.c.account_id)
        .join_from(conversation_devices, conversations)
        .join(devices, devices.c.device_id == conversation_devices.c.device_id)
        .join(conversation_members, listed, isouter=True)
        .where(among(connection, conversation_devices.c.conversation_id, conversation_ids))
    )
    epochs: dict[str, int] = {}
    joined: dict[str, dict[str, Joined]] = {}
    for row in await connection.execute(query):
        epochs[row.conversation_id] = row.epoch or 0
        joined.setdefault(row.conversation_id, {})[row.device_id] = Joined(row.joined_epoch, row.account_id is not None)
    return {conversation_id: MlsGroup(epoch, joined[conversation_id]) for conversation_id, epoch in epochs.items()}


async def join(connection: AsyncConnection, conversation_id: str, joining: Iterable[str], epoch: int) -> None:
    """Devices come into the group, or into it again, at an epoch."""
    rows = [{"conversation_id": conversation_id, "device_id": device_id, "joined_epoch": epoch} for device_id in sorted(joining)]
    if rows:
        await part(connection, conversation_id, [row["device_id"] for row in rows])
        await connection.execute(insert(conversation_devices), rows)


async def part(connection: AsyncConnection, conversation_id: str, device_ids: Collection[object]) -> None:
    """Devices are no longer in the group."""
    mine = conversation_devices.c.conversation_id == conversation_id
    await connection.execute(delete(conversation_devices).where(mine, conversation_devices.c.device_id.in_(device_ids)))


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
