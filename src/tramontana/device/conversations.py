"""The conversations of a device, each an MLS group: made, joined, changed, kept in step with the server.

The order is the browser's (web/src/phone/engine/groups.ts): the ratchet is stored before anything is sent, an own commit counts once the
server has accepted it, and what is delivered is stored, with the fact that it was processed, before it is acknowledged. The caller runs
the procedures of one conversation one after the other.

Groups and talk groups are joined and followed: who is in them is for the phones of people, which found them and change them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tramontana.device.key_packages import KeyPackages
from tramontana.device.membership import Membership, names_of
from tramontana.device.requests import Procedure, Refusal, Request, b64, unb64
from tramontana.device.store import Change, Store
from tramontana.errors import LocalError, RemoteError
from tramontana.keys.identity import direct_conversation_id
from tramontana.keys.mls.client import Client, parse_key_package
from tramontana.keys.mls.errors import MessageRefused
from tramontana.keys.mls.group import Group, Step
from tramontana.keys.mls.messages import Add, Remove
from tramontana.keys.mls.outcomes import Application, Committed, EpochKeys, Proposed
from tramontana.keys.mls.state import Member, Status

TABLE = "conversations"
DEVICE_TABLE = "device"
MAILBOX_ROW = "mailbox"
MAX_TITLE_CHARACTERS = 64

Kind = Literal["direct", "group", "talk"]


class NotReady(RemoteError):
    """The other side cannot be reached yet. `is_soon`: a welcome is on its way; else its phone has to be opened, or certified, first."""

    def __init__(self, sentence: str, *, is_soon: bool) -> None:
        self.is_soon = is_soon
        super().__init__(sentence)


class Broken(LocalError):
    """This device and the others no longer share a state. Trying again does not help: revoke this device and enrol another."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the mailbox as the server delivered it."""

    seq: int
    conversation_id: str
    kind: Literal["welcome", "commit", "application"]
    sender_device_id: str
    payload: bytes = field(repr=False)
    accepted_at: float


@dataclass(frozen=True, slots=True)
class Received:
    """Application data of a verified sender, sealed in `epoch`. `keys` are those of that epoch, None if it is over."""

    conversation_id: str
    account_id: str
    device_id: str
    plaintext: bytes = field(repr=False)
    accepted_at: float
    keys: EpochKeys | None
    epoch: int


@dataclass
class _Conversation:
    """One conversation and what the server says of it."""

    id: str
    peer: str | None
    """The other account of a direct conversation."""
    kind: Kind = "direct"
    title: str = ""
    """What its members call a group; the server never learns it."""
    archives: tuple[str, ...] = ()
    group: Group | None = None
    removing: tuple[str, ...] = ()
    """Devices that the outstanding commit takes out."""


class Conversations:
    """All of them. `own` is (account_id, device_id)."""

    def __init__(
        self,
        client: Client,
        own: tuple[str, str],
        membership: Membership,
        store: Store,
        key_packages: KeyPackages,
        on_epoch: Callable[[str, str, EpochKeys, float], None] = lambda conversation_id, peer, keys, now: None,
    ) -> None:
        """on_epoch: is told conversation, peer and keys before and after whatever may end an epoch, some of them more than once."""
        self._client = client
        self._on_epoch = on_epoch
        self._account_id, self._device_id = own
        self._membership = membership
        self._store = store
        self._key_packages = key_packages
        self._all: dict[str, _Conversation] = {}
        self.processed = int(store.read(DEVICE_TABLE).get(MAILBOX_ROW, b"0"))
        """The last item of the mailbox whose results are stored."""
        for conversation_id, stored in store.read(TABLE).items():
            row = json.loads(stored)
            group = None if row["state"] is None else client.restore(unb64(row["state"]))
            self._all[conversation_id] = _Conversation(
                conversation_id, row["peer"], row.get("kind", "direct"), row.get("title", ""), tuple(row["archives"]), group,
                tuple(row["removing"]),
            )  # fmt: skip

    def with_peer(self, account_id: str) -> str:
        """The id of the direct conversation with an account; nobody is asked for that."""
        conversation_id = direct_conversation_id(self._account_id, account_id)
        self._all.setdefault(conversation_id, _Conversation(conversation_id, account_id))
        return conversation_id

    def peer_of(self, conversation_id: str) -> str | None:
        """The other account of a direct conversation, None for a group."""
        return self._all[conversation_id].peer

    def talk_groups(self) -> dict[str, str]:
        """Title by id of each talk group that this device is in."""
        return {each: self._all[each].title for each in self.ids() if self._all[each].kind == "talk"}

    def retitle(self, conversation_id: str, title: str) -> None:
        """A member said what a group is called; of a direct conversation it means nothing."""
        conversation = self._all[conversation_id]
        if conversation.peer is None and conversation.group is not None:
            conversation.title = title
            self._store.write([_row(conversation, conversation.group.serialise())])

    def epoch(self, conversation_id: str) -> int | None:
        """The present one; None while this device is not in the conversation."""
        conversation = self._all.get(conversation_id)
        group = None if conversation is None else conversation.group
        return group.epoch if group is not None and group.status is Status.ACTIVE else None

    def keys(self, conversation_id: str) -> EpochKeys | None:
        """Of the present epoch; None while this device is not in the conversation."""
        conversation = self._all.get(conversation_id)
        group = None if conversation is None else conversation.group
        return group.keys() if group is not None and group.status is Status.ACTIVE else None

    def ids(self) -> list[str]:
        """Conversations that this device is in."""
        return [each.id for each in self._all.values() if each.group is not None and each.group.status is Status.ACTIVE]

    def note_epoch(self, conversation_id: str, now: float) -> None:
        """Tell `on_epoch` where the conversation stands."""
        if (conversation := self._all.get(conversation_id)) is not None:
            self._reached(conversation, now)

    def members(self, conversation_id: str) -> list[tuple[str, str]]:
        """(account_id, device_id) of each device in the MLS group."""
        group = self._all[conversation_id].group
        return [] if group is None else _names(group.members)

    # Sending

    def seal(self, conversation_id: str, plaintext: bytes, now: float) -> Procedure[tuple[bytes, EpochKeys]]:
        """Seal for all others, founding the conversation first where there is none: an MLSMessage, and the keys of its epoch.

        Raises `NotReady`, `Broken`, `Refusal`, `Unreachable`.
        """
        group = yield from self.ready(conversation_id, now)
        message = self._take(self._all[conversation_id], group, now, group.seal(plaintext))
        return message, group.keys()

    def ready(self, conversation_id: str, now: float) -> Procedure[Group]:
        """The group, after what it needs before anything may be sealed in it. Raises as `seal` does."""
        conversation = self._all[conversation_id]
        yield from self._settle(conversation, now)
        if conversation.group is None and conversation.peer is not None:
            yield from self._found(conversation, conversation.peer, now)
        group = conversation.group
        if group is None or group.status is not Status.ACTIVE:
            raise NotReady("this device is not in the conversation; another device of its person has to let it in", is_soon=False)
        if any(self._membership.is_revoked(device) for _, device in _names(group.members)):
            yield from self._change(conversation, now, remove_only=True)
            if any(self._membership.is_revoked(device) for _, device in _names(group.members)):
                raise NotReady("a revoked device is still in the conversation", is_soon=True)
        if conversation.peer is not None and all(account != conversation.peer for account, _ in _names(group.members)):
            yield from self._change(conversation, now)
            if all(account != conversation.peer for account, _ in _names(group.members)):
                raise NotReady("no device of this person is certified and can be reached", is_soon=False)
        return group

    def tidy(self, conversation_id: str, devices: Collection[tuple[str, str]], now: float) -> Procedure[None]:
        """Let in further devices of both persons, take out revoked ones. `devices` are (account_id, device_id) that have key packages."""
        conversation = self._all[conversation_id]
        if conversation.peer is None:
            return
        yield from self._settle(conversation, now)
        if conversation.group is not None and conversation.group.status is Status.ACTIVE and self._is_stale(conversation, devices, now):
            yield from self._change(conversation, now)

    def _is_stale(self, conversation: _Conversation, devices: Collection[tuple[str, str]], now: float) -> bool:
        assert conversation.group is not None
        present = set(_names(conversation.group.members))
        missing = [name for name in devices if name[0] in self._accounts(conversation) and name not in present]
        return any(self._membership.is_revoked(device) for _, device in present) or any(
            self._membership.admits(device, now) for _, device in missing
        )

    def _accounts(self, conversation: _Conversation) -> list[str]:
        """Who may be in a direct conversation."""
        people = [self._account_id] if conversation.peer is None else [self._account_id, conversation.peer]
        return [*people, *conversation.archives]

    def _found(self, conversation: _Conversation, peer: str, now: float) -> Procedure[None]:
        listed = yield Request("POST", "/conversations", {"kind": "direct", "members": [peer]})
        if listed["conversation_id"] != conversation.id:
            raise Broken("the server names another conversation than the one of these two accounts")
        conversation.archives = self._believed(listed["archives"], peer)
        if listed["epoch"] is not None:
            if listed["creator_device_id"] == self._device_id:
                raise Broken("this device made the conversation and has lost its state; revoke it and enrol another")
            raise NotReady("the welcome is on its way", is_soon=True)
        additions = yield from self._claim(conversation, now)
        if all(account != peer for account, _ in additions):
            raise NotReady("no device of this person is certified and can be reached", is_soon=False)
        conversation.group = self._client.create(bytes.fromhex(conversation.id), now)
        if not (yield from self._commit(conversation, list(additions.values()), (), now)):
            raise NotReady("another device made the conversation first; its welcome is on its way", is_soon=True)

    def _claim(self, conversation: _Conversation, now: float) -> Procedure[dict[tuple[str, str], Add]]:
        """Key packages of the members' devices that are not in the group, as far as the organisation certified them."""
        accounts = self._accounts(conversation)
        claimed = yield Request("POST", f"/conversations/{conversation.id}/key-packages/claim", {"accounts": accounts})
        additions = {}
        for each in claimed:
            name = (str(each["account_id"]), str(each["device_id"]))
            try:
                package = parse_key_package(unb64(each["key_package"]))
            except (MessageRefused, ValueError):
                continue
            leaf = package.leaf_node
            bears_its_name = names_of(leaf.credential) == name and name[0] in accounts
            if (
                bears_its_name
                and self._membership.admits(name[1], now)
                and self._membership.accepts(leaf.credential, leaf.signature_key, None)
            ):
                additions[name] = Add(package)
        return additions

    def _change(self, conversation: _Conversation, now: float, *, remove_only: bool = False) -> Procedure[None]:
        """One step towards what the conversation should be; somebody else may have made it first."""
        group = conversation.group
        assert group is not None
        revoked = [member for member in group.members if self._membership.is_revoked(_name(member)[1])]
        additions = {} if remove_only else (yield from self._claim(conversation, now))
        if revoked or additions:
            yield from self._commit(conversation, list(additions.values()), revoked, now)

    def renew(self, conversation_id: str, now: float) -> Procedure[None]:
        """New secrets, so that what a thief learnt of the old ones is worth nothing."""
        conversation = self._all[conversation_id]
        yield from self._settle(conversation, now)
        if conversation.group is not None and conversation.group.status is Status.ACTIVE:
            yield from self._commit(conversation, (), (), now)

    def _commit(self, conversation: _Conversation, additions: Sequence[Add], removed: Sequence[Member], now: float) -> Procedure[bool]:
        """Store a commit, send it, enter its epoch. False if another one was accepted first; then nothing of it remains."""
        assert conversation.group is not None
        removals = [Remove(member.leaf_index) for member in removed]
        step = conversation.group.commit(*removals, *additions, now=now)
        conversation.removing = tuple(_name(member)[1] for member in removed)
        self._take(conversation, conversation.group, now, step)
        return (yield from self._settle(conversation, now))

    def _settle(self, conversation: _Conversation, now: float) -> Procedure[bool]:
        """Bring an outstanding commit to its end: the server takes the same bytes twice without harm."""
        group = conversation.group
        if group is None or (sent := group.outstanding) is None:
            return True
        welcome = None if sent.welcome is None else b64(sent.welcome)
        body = {"epoch": sent.epoch, "commit": b64(sent.commit), "welcome": welcome, "removed": list(conversation.removing)}
        try:
            yield Request("POST", f"/conversations/{conversation.id}/commits", body)
        except Refusal as refused:
            if refused.is_passing:
                raise
            conversation.removing = ()
            if sent.epoch == 0:
                conversation.group = None
                self._store.write([_row(conversation, None)])
            else:
                self._take(conversation, group, now, group.discard())
            if refused.code in ("epoch_taken", "not_joined"):
                return False
            raise
        conversation.removing = ()
        self._take(conversation, group, now, group.merge())
        return True

    def _take(self, conversation: _Conversation, group: Group, now: float, step: Step[Any], *changes: Change) -> Any:
        """Store a step, then make it."""
        self._reached(conversation, now)  # before the epoch ends: a crash may have come between an epoch and its keys
        self._store.write([_row(conversation, step.state), *changes])
        result = group.adopt(step)
        self._reached(conversation, now)
        return result

    def _reached(self, conversation: _Conversation, now: float) -> None:
        group = conversation.group
        if conversation.peer is not None and group is not None and group.status is Status.ACTIVE:
            self._on_epoch(conversation.id, conversation.peer, group.keys(), now)

    # Receiving

    def process(self, item: Item) -> Procedure[Received | None]:
        """Open an item; when this returns, or raises `MessageRefused`, it is stored as processed and may be acknowledged."""
        done = Change(DEVICE_TABLE, MAILBOX_ROW, str(item.seq).encode())
        try:
            received = yield from self._process(item, done)
        except MessageRefused:
            self._store.write([done])
            self.processed = item.seq
            raise
        self.processed = item.seq
        return received

    def _process(self, item: Item, done: Change) -> Procedure[Received | None]:
        now = item.accepted_at
        conversation = self._all.get(item.conversation_id)
        if conversation is None or conversation.group is None:
            conversation = yield from self._discover(item.conversation_id)
        if item.kind == "welcome":
            yield from self._settle(conversation, now)
            yield from self._join(conversation, item, done, now)
            return None
        yield from self._settle(conversation, now)
        group = conversation.group
        if group is None or group.status is not Status.ACTIVE:
            raise MessageRefused("this device is not in the conversation that a message came from")
        step = group.receive(item.payload, now=now)
        outcome = step.outcome
        if isinstance(outcome, Proposed):
            raise MessageRefused("a proposal that is not part of a commit has no place here")
        if isinstance(outcome, Committed):
            if conversation.peer is not None and any(account not in self._accounts(conversation) for account, _ in _names(outcome.added)):
                yield from self._discover(conversation.id)  # an archive member that this device has not heard of yet?
            self._check_members(conversation, outcome.added)
            self._take(conversation, group, now, step, done)
            return None
        assert isinstance(outcome, Application)
        self._take(conversation, group, now, step, done)
        keys = group.keys() if outcome.epoch == group.epoch else None
        return Received(conversation.id, *_name(outcome.sender), outcome.plaintext, now, keys, outcome.epoch)

    def _discover(self, conversation_id: str) -> Procedure[_Conversation]:
        """What the server says of a conversation. Raises `MessageRefused` for one that this account is not in, or of an unknown kind."""
        try:
            listed = yield Request("GET", f"/conversations/{conversation_id}")
        except Refusal as refused:
            if refused.code != "not_found":
                raise
            raise MessageRefused("a conversation that this account is not in") from refused
        if listed["kind"] in ("group", "talk"):
            return self._all.setdefault(conversation_id, _Conversation(conversation_id, None, listed["kind"]))
        archives = tuple(listed["archives"])
        peers = [member for member in listed["members"] if member not in (self._account_id, *archives)]
        if listed["kind"] != "direct" or len(peers) != 1 or direct_conversation_id(self._account_id, peers[0]) != conversation_id:
            raise MessageRefused("a conversation of a kind that this device does not know, or not of the two persons whom its id names")
        conversation = self._all.setdefault(conversation_id, _Conversation(conversation_id, peers[0]))
        conversation.archives = self._believed(archives, peers[0])
        return conversation

    def _believed(self, archives: Collection[str], peer: str) -> tuple[str, ...]:
        """Of the archives that the server lists, those that custodians certified for one of the two."""
        return tuple(archive for archive in archives if self._membership.may_keep(archive, (self._account_id, peer)))

    def _join(self, conversation: _Conversation, item: Item, done: Change, now: float) -> Procedure[None]:
        if conversation.group is not None and conversation.group.status is Status.ACTIVE:
            raise MessageRefused("a welcome into a conversation that is joined already")
        apart = self._client.tree_apart(item.payload, self._key_packages.held)
        tree = None if apart is None else (yield from _tree(conversation.id, apart))
        group, used = self._client.join(item.payload, self._key_packages.held, tree=tree)
        if group.group_id.hex() != conversation.id or group.extensions:
            raise MessageRefused("a welcome for another conversation, or for one that demands extensions")
        self._check_members(conversation, group.members)
        spent = self._key_packages.spend(used)
        self._store.write([_row(conversation, group.serialise()), *spent, done])
        self._key_packages.forget(spent)
        conversation.group = group
        self._reached(conversation, now)

    def _check_members(self, conversation: _Conversation, members: Sequence[Member]) -> None:
        names = _names(members)
        if conversation.peer is not None and any(account not in self._accounts(conversation) for account, _ in names):
            raise MessageRefused("an account outside the conversation was admitted")
        if len(set(names)) != len(names):
            raise MessageRefused("a device is in the group twice")


def _tree(conversation_id: str, epoch: int) -> Procedure[bytes]:
    """A ratchet tree that was too large for its welcome; what it has to be stands in the welcome."""
    try:
        return bytes((yield Request("GET", f"/conversations/{conversation_id}/trees/{epoch}")))
    except Refusal as refused:
        if refused.code != "not_found":
            raise
        raise MessageRefused("the tree that a welcome leads to is not at the server any more") from refused


def _name(member: Member) -> tuple[str, str]:
    names = names_of(member.credential)
    assert names is not None  # the authority accepts no other credential
    return names


def _names(members: Sequence[Member]) -> list[tuple[str, str]]:
    return [_name(member) for member in members]


def _row(conversation: _Conversation, state: bytes | None) -> Change:
    row = {
        "peer": conversation.peer,
        "kind": conversation.kind,
        "title": conversation.title,
        "archives": conversation.archives,
        "removing": conversation.removing,
        "state": None if state is None else b64(state),
    }
    return Change(TABLE, conversation.id, json.dumps(row).encode())
