"""Follows a transparency log from outside, believing nobody: every head, every entry, every rule, across restarts.

Sans I/O: whoever fetches gives `check_head` what the server answered, `read` the entries that are then missing, and `accept` at the end.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tramontana.errors import LocalError, RemoteError
from tramontana.keys.certificate import UnverifiedLogKey
from tramontana.keys.federation import UnverifiedFederation
from tramontana.keys.log import TreeHead, UnverifiedTreeHead
from tramontana.keys.merkle import Edge
from tramontana.keys.organisation import verify_root
from tramontana.keys.refused import Refused
from tramontana.keys.register import Entry, Register, Standing

STATE_FORMAT = "tramontana log state 1"
MAX_HEAD_AGE_S = 600
"""A server signs a head whenever it is asked; an older one means that it shows an old log. Clocks may differ by as much."""
SERVERS_DIFFER_S = 60
"""Of several processes that sign one log: the next head may be signed by one whose clock is behind (docs/operations.md)."""


class Alarm(RemoteError):
    """The server was caught: it hides, rewrites or forks the log, or logged what the organisation's rules forbid. Keep the state file: it
    holds what it signed before.

    evidence: what it signed, as JSON.
    """

    def __init__(self, sentence: str, evidence: Sequence[TreeHead] = ()) -> None:
        self.evidence = [_head_document(head) for head in evidence]
        super().__init__(sentence)


class NotOfNow(Alarm):
    """The head is of another time: the server shows an old log, or a clock is wrong, here or there. It proves nothing against the server;
    look again when the clocks are right."""


class StateDamaged(LocalError):
    """The state file cannot be read; restore it, or begin with a new one and know that what was seen before is not compared."""


@dataclass
class Follower:
    """What is known of a log. `log_key` in the register is None until the server's answer was checked."""

    register: Register
    edge: Edge
    head: TreeHead | None = None

    @classmethod
    def begin(cls, root: bytes, fingerprint: bytes, log_key: bytes) -> Follower:
        """A log that was never seen. Raises `Refused`."""
        register = Register(verify_root(root, fingerprint))
        register.log_key = UnverifiedLogKey(log_key).verify(register.root)
        return cls(register, Edge())

    def check_organisation(self, root: bytes, log_key: bytes) -> None:
        """What the server says now against what it said before. Raises `Alarm`."""
        known = self.register.log_key
        if root != self.register.root.encoded or known is None or log_key != known.encoded:
            raise Alarm("the server shows another organisation or another log than before", [self.head] if self.head else [])

    def check_head(self, given: UnverifiedTreeHead, *, now: float) -> TreeHead:
        """A head that may follow the last one. Raises `Alarm`."""
        assert self.register.log_key is not None
        try:
            head = given.verify(self.register.log_key)
        except Refused as refused:
            raise Alarm(f"the server shows a head that is not of this log: {refused}", [self.head] if self.head else []) from refused
        both = [*([self.head] if self.head else []), head]
        if self.head is not None and head.tree_size == self.head.tree_size and head.root_hash != self.head.root_hash:
            # First of all: that is evidence whatever any clock says
            raise Alarm(f"the server signed two different logs of {head.tree_size} entries", both)
        if not now - MAX_HEAD_AGE_S <= head.at <= now + MAX_HEAD_AGE_S:
            raise NotOfNow("the server's head is not of now: it shows an old log, or a clock is wrong", both)
        if self.head is None:
            return head
        if head.tree_size < self.head.tree_size:
            raise Alarm(f"the log has shrunk from {self.head.tree_size} to {head.tree_size} entries: the server hides what it logged", both)
        if head.at < self.head.at - SERVERS_DIFFER_S:
            raise NotOfNow("the server's head is older than the one it gave before: it shows an old log, or its clock was set back", both)
        return head

    def read(self, encoded: bytes) -> Entry:
        """The next entry. Raises `Alarm` where it may not stand there."""
        try:
            entry = self.register.read(encoded)
        except Refused as refused:
            where = f"entry {self.edge.size} of the log"
            raise Alarm(
                f"{where} breaks the organisation's rules ({refused.reason}): {refused}", [self.head] if self.head else []
            ) from refused
        self.edge.append(encoded)
        return entry

    def accept(self, head: TreeHead) -> None:
        """After all entries up to the head were read. Raises `Alarm` where they do not make its root."""
        both = [*([self.head] if self.head else []), head]
        if self.edge.size != head.tree_size:
            raise Alarm(f"the server signed {head.tree_size} entries and shows {self.edge.size}: it hides some", both)
        if self.edge.root != head.root_hash:
            raise Alarm("the log was rewritten: its entries with those seen before do not make the root that the server signed", both)
        self.head = head

    def dump(self) -> bytes:
        """The state as JSON, for a file."""
        register = self.register
        assert register.log_key is not None
        document = {
            "format": STATE_FORMAT,
            "organisation": _text(register.root.encoded),
            "log_key": _text(register.log_key.encoded),
            "head": _head_document(self.head) if self.head else None,
            "size": self.edge.size,
            "edge": [_text(value) for value in self.edge.hashes],
            "certificates": [{name: getattr(standing, name) for name in Standing.__slots__} for standing in register.certificates.values()],
            "last_serial": register.last_serial,
            "devices_of": register.devices_of,
            "founders": register.founders,
            "federations": [_text(found.encoded) for found in register.federations.values()],
            "peers": [_text(found.encoded) for found in register.peers.values()],
        }
        return (json.dumps(document, ensure_ascii=False) + "\n").encode()  # no indent: it costs a second where there are 10,000 devices

    @classmethod
    def load(cls, content: bytes, fingerprint: bytes) -> Follower:
        """Raises `StateDamaged`, and `Refused` for the state of another organisation."""
        try:
            document: dict[str, Any] = json.loads(content)
            if document["format"] != STATE_FORMAT:
                raise ValueError("another format")
            root = b64decode(document["organisation"], validate=True)
            made = cls.begin(root, fingerprint, b64decode(document["log_key"], validate=True))
            made.edge = Edge(document["size"], [b64decode(value, validate=True) for value in document["edge"]])
            register = made.register
            register.size = made.edge.size
            for each in document["certificates"]:
                register.certificates[each["serial"]] = Standing(**{**each, "roles": tuple(each["roles"])})
            register.last_serial, register.devices_of = dict(document["last_serial"]), dict(document["devices_of"])
            register.founders = list(document["founders"])
            for encoded in document["federations"]:
                federation = UnverifiedFederation(b64decode(encoded, validate=True)).verify(register.root)
                register.federations[federation.serial] = federation
            for peer in (verify_root(b64decode(encoded, validate=True)) for encoded in document.get("peers", [])):
                register.peers[peer.organisation_id] = peer
            made.head = _read_head(document["head"])
        except (ValueError, KeyError, TypeError) as error:
            raise StateDamaged(
                "the state file cannot be read; restore it, or begin with a new one and know that what was seen before is not compared"
            ) from error
        return made


def _text(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _head_document(head: TreeHead) -> dict[str, Any]:
    shown = {"log_id": head.log_id, "root_hash": head.root_hash, "signature": head.signature}
    return {"tree_size": head.tree_size, "at": head.at, **{name: _text(value) for name, value in shown.items()}}


def _read_head(document: dict[str, Any] | None) -> TreeHead | None:
    if document is None:
        return None
    log_id, root_hash, signature = (b64decode(document[name], validate=True) for name in ("log_id", "root_hash", "signature"))
    return TreeHead(log_id, document["tree_size"], root_hash, document["at"], signature)
