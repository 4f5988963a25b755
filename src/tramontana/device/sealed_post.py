"""Sealed texts of a device (keys/sealed_text.py): its keys with each device of the other persons, what came, and what still has to leave.

Nothing leaves and nothing is shown before the device's file says so: counter and datagram are written together, and so are the window
and the text. A crash in between sends the same octets again, or shows the text once more; it never uses a counter twice.

Everybody in a direct conversation can make these keys: both persons' devices, and an archive that custodians certified. So a sealed
text proves that it comes from this conversation, and names the device that it says it comes from.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tramontana.device.membership import names_of
from tramontana.device.requests import b64, unb64
from tramontana.device.store import Change, Store
from tramontana.errors import LocalError, RemoteError
from tramontana.keys.mls.outcomes import EpochKeys
from tramontana.keys.sealed_text import (
    EXPORT_BYTES,
    HEADER_BYTES,
    KEY_ID_BYTES,
    LABEL,
    CannotSeal,
    EpochRecord,
    Gone,
    NotYet,
    Refused,
    SealedTexts,
    Seen,
    export_context,
)

TABLE = "sealed texts"
HELD_TABLE = "sealed texts held"
INBOX_TABLE = "sealed texts received"
OUTBOX_TABLE = "sealed texts to send"
NUMBERS_TABLE = "sealed texts numbers"
MOST_HELD = 32
"""Datagrams whose key is not here: the oldest makes room, as anybody may send octets to a number."""
HELD_S = 72 * 3600.0


class WhichDevice(LocalError):
    """The person has several devices, or none, in the conversation; the message names them. Say which one with --device."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A sealed text that was opened and stored. `plaintext` as keys/sealed_text.py has it; content is cell/small_text.py's."""

    id: str
    conversation_id: str
    account_id: str
    device_id: str
    plaintext: bytes = field(repr=False)
    epoch: int
    received_at: float


@dataclass(frozen=True, slots=True)
class Departing:
    """A datagram that is to leave, with the number that it is for ("" where the way needs none), and its conversation."""

    id: str
    conversation_id: str
    device_id: str
    number: str
    datagram: bytes
    sealed_at: float


@dataclass(slots=True)
class _Pair:
    """This device and one of another person's."""

    texts: SealedTexts
    exported: dict[int, tuple[bytes, bytes]] = field(default_factory=dict, repr=False)
    """What the exporter gave, by epoch: for sending and for receiving."""


@dataclass(slots=True)
class _Conversation:
    id: str
    peer: str
    epoch: int = -1
    members: frozenset[str] = frozenset()
    pairs: dict[str, _Pair] = field(default_factory=dict)


class SealedPost:
    """All of them. `own_device_id`: 32 hex characters, as everywhere. For a device that `is_revoked` nothing is sealed or opened."""

    def __init__(self, store: Store, own_device_id: str, is_revoked: Callable[[str], bool]) -> None:
        self._store, self._own, self._is_revoked = store, own_device_id, is_revoked
        self._conversations = {each.id: each for each in map(_parse, store.read(TABLE).values())}

    # Keys

    def reached(self, conversation_id: str, peer: str, keys: EpochKeys, now: float) -> None:
        """The conversation is in this epoch; what it exports is stored, as nobody can make it once the epoch is over."""
        conversation = self._conversations.setdefault(conversation_id, _Conversation(conversation_id, peer))
        if keys.epoch <= conversation.epoch:
            return
        named = [name for name in (names_of(member.credential) for member in keys.members) if name is not None]
        members = frozenset(device for _, device in named)
        theirs = [device for account, device in named if account == peer]
        somebody_left = bool(conversation.members - members)
        conversation.pairs = {device: pair for device, pair in conversation.pairs.items() if device in theirs}
        for device in theirs:
            pair = conversation.pairs.setdefault(device, _Pair(SealedTexts()))
            here, there = bytes.fromhex(self._own), bytes.fromhex(device)
            out, back = (keys.export(LABEL, export_context(*way), EXPORT_BYTES) for way in ((here, there), (there, here)))
            exported = out, back
            pair.exported[keys.epoch] = exported
            pair.texts.add_epoch(keys.epoch, *exported, now)
            if somebody_left:
                pair.texts.forget_before(keys.epoch)
        conversation.epoch, conversation.members = keys.epoch, members
        self._store.write([_row(conversation)])

    def heard(self, conversation_id: str, device_id: str, epoch: int) -> None:
        """This device was heard in this epoch over the conversation: it has its keys."""
        conversation = self._conversations.get(conversation_id)
        if conversation is not None and device_id in conversation.pairs:
            conversation.pairs[device_id].texts.confirm(epoch)

    def devices(self, conversation_id: str) -> list[str]:
        """The other person's devices for which there are keys."""
        conversation = self._conversations.get(conversation_id)
        return [] if conversation is None else [device for device in conversation.pairs if not self._is_revoked(device)]

    # Numbers, told over the conversation itself: no server says which number is whose

    def numbers(self) -> dict[str, str]:
        """device_id → the number at which it takes sealed texts; the own one is among them."""
        return {device: number.decode() for device, number in self._store.read(NUMBERS_TABLE).items()}

    def learn_number(self, device_id: str, number: str) -> None:
        """An empty one: it has none any more."""
        self._store.write([Change(NUMBERS_TABLE, device_id, number.encode() or None)])

    def device_for(self, conversation_id: str, wanted: str | None = None) -> str:
        """Which device of the other person is meant: `wanted`, the only one, or the only one with a number.

        Raises `WhichDevice`, `CannotSeal`.
        """
        there = self.devices(conversation_id)
        if not there:
            raise CannotSeal("there is no key yet: write to this person once while there is a network")
        numbers = self.numbers()
        chosen = [device for device in there if device == wanted] if wanted else there
        if len(chosen) > 1:
            chosen = [device for device in chosen if device in numbers]
        if len(chosen) != 1:
            listed = ", ".join(f"{device}{f' ({numbers[device]})' if device in numbers else ''}" for device in there)
            raise WhichDevice(f"this person's devices are {listed}: say which one with --device")
        return chosen[0]

    # Sealing

    def seal(self, conversation_id: str, device_id: str, plaintext: bytes, number: str, now: float) -> Departing:
        """Seal for one device; datagram and counter are stored when this returns. Raises `CannotSeal`."""
        conversation = self._conversations[conversation_id]
        pair = conversation.pairs[device_id]
        datagram = pair.texts.seal(plaintext, now)
        leaving = Departing(secrets.token_hex(16), conversation_id, device_id, number, datagram, now)
        row = {"to": [conversation_id, device_id], "number": number, "datagram": b64(datagram), "at": now}
        self._store.write([_row(conversation), Change(OUTBOX_TABLE, leaving.id, json.dumps(row).encode())])
        return leaving

    def departing(self) -> list[Departing]:
        """What was sealed and is not known to have left, the oldest first. The same octets may leave more than once."""
        rows = ((key, json.loads(value)) for key, value in self._store.read(OUTBOX_TABLE).items())
        found = [Departing(key, row["to"][0], row["to"][1], row["number"], unb64(row["datagram"]), row["at"]) for key, row in rows]
        return sorted(found, key=lambda each: (each.sealed_at, each.datagram[:HEADER_BYTES]))

    def departed(self, leaving_id: str) -> None:
        self._store.write([Change(OUTBOX_TABLE, leaving_id, None)])

    # Opening

    def open(self, datagram: bytes, now: float) -> Arrived:
        """Open what came, from whomever; text and window are stored when this returns.

        Raises `Refused` (`Seen`), `Gone`, `NotYet`. What may still open once the conversations have gone on is held.
        """
        found = self._open(datagram, now)
        if isinstance(found, Arrived):
            return found
        seen = [problem for problem in found if isinstance(problem, Seen)]
        if not seen and (not found or any(isinstance(problem, NotYet) for problem in found)):
            self._hold(datagram, now)
        # Key ids are short: a text for one conversation may look as if it were an old or a damaged one of another.
        for kind in (Seen, Gone, Refused, NotYet):
            for problem in found:
                if isinstance(problem, kind):
                    raise problem
        raise NotYet("a sealed text, and this device has no conversation yet; it is held")

    def open_held(self, now: float) -> list[Arrived]:
        """Try again what waits for its key, as the conversations may have gone on; destroy keys whose time is over."""
        arrived = []
        for key, value in self._store.read(HELD_TABLE).items():
            datagram, at = value[8:], int.from_bytes(value[:8], "big") / 1000
            found = self._open(datagram, now)
            if isinstance(found, Arrived):
                arrived.append(found)
            elif any(isinstance(problem, NotYet) for problem in found) and now - at <= HELD_S:
                continue
            self._store.write([Change(HELD_TABLE, key, None)])
        for conversation in self._conversations.values():
            before = [pair.texts.epochs for pair in conversation.pairs.values()]
            for pair in conversation.pairs.values():
                pair.texts.forget(now)
            if before != [pair.texts.epochs for pair in conversation.pairs.values()]:
                self._store.write([_row(conversation)])
        return arrived

    def _open(self, datagram: bytes, now: float) -> Arrived | list[RemoteError]:
        problems: list[RemoteError] = []
        for conversation in self._conversations.values():
            for device_id, pair in conversation.pairs.items():
                if self._is_revoked(device_id):
                    continue
                try:
                    opened = pair.texts.open(datagram, now)
                except (Refused, NotYet, Gone) as problem:
                    problems.append(problem)
                    continue
                source = (conversation.id, conversation.peer, device_id)
                arrived = Arrived(secrets.token_hex(16), *source, opened.plaintext, opened.epoch, now)
                row = {"from": source, "plaintext": b64(opened.plaintext), "epoch": opened.epoch, "at": now}
                self._store.write([_row(conversation), Change(INBOX_TABLE, arrived.id, json.dumps(row).encode())])
                return arrived
        return problems

    def _hold(self, datagram: bytes, now: float) -> None:
        held = self._store.read(HELD_TABLE)
        if any(value[8:] == datagram for value in held.values()):
            return
        oldest = sorted(held, key=lambda key: held[key][:8])[: max(0, len(held) + 1 - MOST_HELD)]
        at = round(now * 1000).to_bytes(8, "big")
        self._store.write([Change(HELD_TABLE, secrets.token_hex(16), at + datagram), *(Change(HELD_TABLE, key, None) for key in oldest)])

    def arrived(self) -> list[Arrived]:
        """What was opened and is not known to have been shown, the oldest first."""
        rows = ((key, json.loads(value)) for key, value in self._store.read(INBOX_TABLE).items())
        found = [
            Arrived(key, row["from"][0], row["from"][1], row["from"][2], unb64(row["plaintext"]), row["epoch"], row["at"])
            for key, row in rows
        ]
        return sorted(found, key=lambda each: each.received_at)

    def shown(self, arrived_id: str) -> None:
        self._store.write([Change(INBOX_TABLE, arrived_id, None)])


def _names(names: list[str]) -> tuple[str, str, str]:
    conversation_id, account_id, device_id = names
    return conversation_id, account_id, device_id


def _row(conversation: _Conversation) -> Change:
    row = {
        "id": conversation.id,
        "peer": conversation.peer,
        "epoch": conversation.epoch,
        "members": sorted(conversation.members),
        "pairs": {device: _pair_row(pair) for device, pair in conversation.pairs.items()},
    }
    return Change(TABLE, conversation.id, json.dumps(row).encode())


def _pair_row(pair: _Pair) -> dict[str, Any]:
    kept = pair.texts.records()
    pair.exported = {record.epoch: pair.exported[record.epoch] for record in kept}
    return {
        "sending": pair.texts.sending_epoch,
        "gone": [[key_id.hex(), epoch] for key_id, epoch in pair.texts.gone.items()],
        "epochs": [
            {
                "epoch": record.epoch,
                "began_at": record.began_at,
                "next": record.next_counter,
                "highest": record.highest,
                "seen": f"{record.seen:x}",
                "keys": [b64(exported) for exported in pair.exported[record.epoch]],
            }
            for record in kept
        ],
    }


def _parse(stored: bytes) -> _Conversation:
    row = json.loads(stored)
    pairs = {device: _parse_pair(pair) for device, pair in row["pairs"].items()}
    return _Conversation(row["id"], row["peer"], row["epoch"], frozenset(row["members"]), pairs)


def _parse_pair(row: dict[str, Any]) -> _Pair:
    pair = _Pair(SealedTexts({bytes.fromhex(key_id): epoch for key_id, epoch in row["gone"]}))
    assert all(len(key_id) == KEY_ID_BYTES for key_id in pair.texts.gone)
    for each in row["epochs"]:
        record = EpochRecord(each["epoch"], each["began_at"], each["next"], each["highest"], int(each["seen"], 16))
        pair.exported[record.epoch] = unb64(each["keys"][0]), unb64(each["keys"][1])
        pair.texts.add_epoch(record.epoch, *pair.exported[record.epoch], record.began_at, record)
    if row["sending"] is not None:
        pair.texts.confirm(row["sending"])
    return pair
