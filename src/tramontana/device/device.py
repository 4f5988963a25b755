"""One enrolled device: who it is, whom it believes, and its conversations, as one core. `driver.py` connects it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from tramontana.device import messages
from tramontana.device.conversations import DEVICE_TABLE, MAX_TITLE_CHARACTERS, Conversations, Item, NotReady, Received
from tramontana.device.enrolment import Enrolment, login
from tramontana.device.key_packages import KeyPackages
from tramontana.device.membership import KeepEntries, Membership, Standing, credential_of
from tramontana.device.requests import Procedure, Refusal, Request, Unreachable, b64, unb64
from tramontana.device.sealed_post import Arrived, Departing, SealedPost
from tramontana.device.store import Change, Store
from tramontana.errors import LocalError, RemoteError
from tramontana.keys.certificate import UnverifiedRevocation
from tramontana.keys.follow import Alarm, NotOfNow
from tramontana.keys.identity import ZEROISED_CONTEXT, encode_statement
from tramontana.keys.mls.client import Client
from tramontana.keys.mls.outcomes import EpochKeys
from tramontana.keys.organisation import device_code, parse_fingerprint
from tramontana.keys.sealed_text import Gone, NotYet
from tramontana.keys.sealed_text import Refused as SealedRefused

LOG_TABLE = "log"
EVIDENCE_ROW = "evidence"
FOLLOWED_ROW = "followed at"
HEAD_TOLD_EVERY_S = 3_600.0
"""A conversation hears of this device's head at most this often (docs/protocols.md)."""
TELLERS = 32
"""About so many devices of a larger conversation tell it their head: all of them would send n² messages (docs/protocols.md)."""


class NotEnrolled(LocalError):
    """There is no device here yet; enrol one with its invitation first."""


class Condemned(LocalError):
    """The server was caught showing another log than before; nothing is done with it any more. The evidence is in the device's store."""


class Device:
    """Made from its store. Procedures are run one at a time for each conversation."""

    def __init__(self, store: Store, keep: KeepEntries | None = None, before_destroyed: Callable[[], object] = lambda: None) -> None:
        """keep: for a router, which holds no conversations and keeps the log as a whole: is given its new entries (`Membership.follow`).
        before_destroyed: called when the organisation has ordered this device to destroy itself; where it raises, nothing is destroyed yet.

        Raises `NotEnrolled`, `Condemned`, `StateDamaged`, `Refused`."""
        found = Enrolment.read(store)
        if found is None:
            raise NotEnrolled("there is no device here yet; enrol one with its invitation first")
        if EVIDENCE_ROW in store.read(LOG_TABLE):
            sentence = json.loads(store.read(LOG_TABLE)[EVIDENCE_ROW])["sentence"]
            raise Condemned(f"this device has evidence against its server: {sentence}. Show it to the custodians")
        self.enrolment, self._key = found
        self._store, self._keep, self._before_destroyed = store, keep, before_destroyed
        self.membership = Membership.load(store, parse_fingerprint(self.enrolment.fingerprint))
        account_id, device_id = self.enrolment.account_id, self.enrolment.device_id
        client = Client(self._key, credential_of(account_id, device_id), self.membership)
        self._key_packages = KeyPackages(client, store)
        self.sealed = SealedPost(store, device_id, self.membership.is_revoked)
        self.conversations = Conversations(
            client, (account_id, device_id), self.membership, store, self._key_packages, on_epoch=self.sealed.reached
        )
        self._directory: dict[str, Any] = {}
        self._told: dict[str, float] = {}

    @property
    def code(self) -> str:
        """What is read out to the custodian."""
        return device_code(self.membership.root.fingerprint, self._key.public_bytes)

    def standing(self, now: float) -> Standing:
        """Where this device stands, by the log."""
        return self.membership.standing(self.enrolment.device_id, now)

    def login(self) -> Procedure[str]:
        """The token of a session."""
        return login(self.enrolment, self._key)

    def follow(self, now: float) -> Procedure[None]:
        """Read the log on, and the directory. Raises `Alarm`, after its evidence was stored; of `NotOfNow`, which is none, nothing is."""
        try:
            if (yield from self.membership.follow(self._store, now, self._keep)):
                self._told.clear()
        except NotOfNow:
            raise
        except Alarm as alarm:
            self._condemn(alarm)
            raise
        if self._keep is not None:
            return
        self._store.write([Change(DEVICE_TABLE, FOLLOWED_ROW, str(now).encode())])
        answer = yield Request("GET", f"/accounts?certificates_from={self.membership.size}")
        self._directory = {account["account_id"]: account for account in answer}

    @property
    def followed_at(self) -> float | None:
        """When this device last heard from its server."""
        found = self._store.read(DEVICE_TABLE).get(FOLLOWED_ROW)
        return None if found is None else float(found)

    def obey_revocation(self) -> Procedure[bool]:
        """After the server put this device out: whether the organisation itself ordered it to destroy itself; it then has."""
        device_id = self.enrolment.device_id
        given = yield Request("GET", f"/devices/{device_id}/revocation", needs_session=False)
        revocation = UnverifiedRevocation(unb64(given["revocation"])).verify(self.membership.root)
        if revocation.device_id != device_id or not revocation.orders_zeroise:
            return False
        statement = encode_statement(ZEROISED_CONTEXT, (self.enrolment.service_id.encode(), device_id.encode()))
        last_word = Request("POST", f"/devices/{device_id}/zeroised", {"signature": b64(self._key.sign(statement))}, needs_session=False)
        self._before_destroyed()
        self._store.destroy()
        with suppress(Refusal, Unreachable):
            yield last_word
        return True

    def replenish(self, now: float) -> Procedure[None]:
        """Keep key packages at the server; a router has none there, so nobody can call it."""
        if self._keep is not None:
            return nothing()
        return self._key_packages.replenish(now)

    def tidy(self, conversation_id: str, now: float) -> Procedure[None]:
        """Bring a conversation in line with the log and the directory."""
        return self.conversations.tidy(conversation_id, list(self._reachable()), now)

    def _reachable(self) -> Iterator[tuple[str, str]]:
        for account_id, account in self._directory.items():
            for device in account["devices"]:
                yield account_id, device["device_id"]

    def find(self, name: str, now: float) -> str:
        """The account that a name, or an account id, means. Raises `LocalError`."""
        found = [name] if self.membership.name_of(name) is not None else self.membership.accounts_named(name, now)
        others = [account for account in found if account != self.enrolment.account_id]
        if len(others) != 1:
            what = "nobody with a certified device is" if not others else f"{len(others)} people are"
            raise LocalError(f"{what} called {name!r} in the organisation's log; give the account id that the console shows")
        return others[0]

    def send(self, conversation_id: str, plaintext: bytes, now: float) -> Procedure[EpochKeys]:
        """Seal and hand to the server. Raises as `Conversations.seal` does."""
        sealed, keys = yield from self.conversations.seal(conversation_id, plaintext, now)
        yield posting(conversation_id, sealed)
        return keys

    def receive(self, item: Item, now: float) -> Procedure[Received | None]:
        """Process an item of the mailbox: application data that is for layers above. Receipts and heads are seen to here.

        Raises `MessageRefused` for what was refused, and `Alarm`; the item counts as processed then as well.
        """
        received = yield from self.conversations.process(item)
        self.sealed.open_held(now)
        if item.kind == "welcome":
            yield from quietly(self.replenish(now))
        if received is None:
            return None
        try:
            message = messages.parse(received.plaintext)
            if message["type"] == "head":
                yield from self._heard(message)
                return None
            self.sealed.heard(received.conversation_id, received.device_id, received.epoch)
            if message["type"] == "number":
                self.sealed.learn_number(received.device_id, messages.number_of(message))
                return None
            if message["type"] == "group":
                self.conversations.retitle(item.conversation_id, messages.text(message, "title", MAX_TITLE_CHARACTERS))
                return None
            is_direct = self.conversations.peer_of(item.conversation_id) is not None
            if message["type"] == "text" and is_direct and received.account_id != self.enrolment.account_id:
                receipt = messages.delivered([messages.identifier(message, "id")])
                yield from quietly(self.send(item.conversation_id, receipt, now))
        except messages.MalformedMessage:
            return None
        return received

    # Sealed texts: for sealing and opening no server is asked; it may carry them

    def seal_text(self, account_id: str, plaintext: bytes, now: float, *, device_id: str | None = None, number: str = "") -> Departing:
        """Seal for one device of a person; "" takes the number that it told. Raises `CannotSeal`, `WhichDevice`."""
        conversation_id = self.conversations.with_peer(account_id)
        self.conversations.note_epoch(conversation_id, now)
        chosen = self.sealed.device_for(conversation_id, device_id)
        return self.sealed.seal(conversation_id, chosen, plaintext, number or self.sealed.numbers().get(chosen, ""), now)

    def open_text(self, datagram: bytes, now: float) -> Arrived:
        """Open what came by whatever way. Raises `Refused`, `Gone`, `NotYet`."""
        for conversation_id in self.conversations.ids():
            self.conversations.note_epoch(conversation_id, now)
        return self.sealed.open(datagram, now)

    def claim_number(self) -> Procedure[str]:
        """The number at which the operators' networks reach this device through the server. Raises `Refusal`."""
        return (yield Request("POST", "/me/sealed-texts/number"))["number"]  # type: ignore[no-any-return]

    def hand_over(self, leaving: Departing, precedence: str) -> Procedure[str]:
        """Give a sealed text to the server, which sends it as one short message; returns what the server calls it. Raises `Refusal`."""
        body = {"destination": leaving.number, "datagram": b64(leaving.datagram), "precedence": precedence, "request_id": leaving.id}
        text_id = (yield Request("POST", "/me/sealed-texts", body))["text_id"]
        self.sealed.departed(leaving.id)
        return str(text_id)

    def fetch_sealed(self, now: float) -> Procedure[list[str]]:
        """Open what waits at the server; returns what is to be said of those that did not open. Then they are deleted there."""
        problems = []
        while waiting := (yield Request("GET", "/me/sealed-texts")):
            for each in waiting:
                try:
                    self.open_text(unb64(each["datagram"]), now)
                except (SealedRefused, Gone, NotYet) as problem:
                    problems.append(f"from {each['source']}: {problem}")
            yield Request("POST", "/me/sealed-texts/taken", {"text_ids": [each["text_id"] for each in waiting]})
        return problems

    def tell(self, conversation_id: str, now: float) -> Procedure[None]:
        """Tell a conversation which head this device has seen, so that nobody can be shown another log than the rest."""
        head = self.membership.head
        if head is not None and now - self._told.get(conversation_id, 0.0) >= HEAD_TOLD_EVERY_S:
            self._told[conversation_id] = now
            size = len(self.conversations.members(conversation_id))
            if secrets.randbelow(max(size, TELLERS)) >= TELLERS:
                return  # others tell
            yield from quietly(self.send(conversation_id, messages.head_told(head), now))

    def _heard(self, message: messages.Fields) -> Procedure[None]:
        try:
            yield from quietly(self.membership.heard(messages.head(message)))
        except Alarm as alarm:
            self._condemn(alarm)
            raise

    def _condemn(self, alarm: Alarm) -> None:
        evidence = {"sentence": str(alarm), "heads": alarm.evidence}
        self._store.write([Change(LOG_TABLE, EVIDENCE_ROW, json.dumps(evidence).encode())])


def posting(conversation_id: str, sealed: bytes) -> Request:
    """The request that hands a sealed message to the server; sent again unchanged it does no harm."""
    return Request("POST", f"/conversations/{conversation_id}/messages", {"message_id": secrets.token_hex(16), "message": b64(sealed)})


def nothing() -> Procedure[None]:
    """Asks for nothing."""
    yield from ()


def quietly(procedure: Procedure[None] | Procedure[EpochKeys]) -> Procedure[None]:
    """Work that nobody waits for: if the server is away or refuses, it is done at the next opportunity."""
    try:
        yield from procedure
    except Alarm:
        raise
    except (RemoteError, NotReady):
        return


def parse_item(frame: dict[str, Any]) -> Item:
    """A `deliver` frame. Raises `KeyError`, `ValueError` or `TypeError` for another shape."""
    if frame["kind"] not in ("welcome", "commit", "application"):
        raise ValueError(frame["kind"])
    names = str(frame["conversation_id"]), frame["kind"], str(frame["sender_device_id"])
    return Item(int(frame["seq"]), *names, unb64(frame["payload"]), float(frame["accepted_at"]))
