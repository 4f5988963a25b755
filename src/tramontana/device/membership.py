"""Who is a member: the organisation's log, read from its beginning. Nothing that the server says makes anybody one.

The device is its own auditor (`keys.follow`), and the MLS core asks it for every leaf. It also hears which heads of the log its contacts
saw: two that do not fit prove that the server shows different people different logs.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

from tramontana.device.requests import Procedure, Refusal, Request, unb64
from tramontana.device.store import Change, Store
from tramontana.keys.certificate import Certificate, Grant, UnverifiedCertificate
from tramontana.keys.follow import Alarm, Follower
from tramontana.keys.log import TreeHead, UnverifiedTreeHead, compare_heads
from tramontana.keys.mls.framing import BASIC_CREDENTIAL
from tramontana.keys.mls.nodes import Credential
from tramontana.keys.organisation import Root
from tramontana.keys.refused import Refused
from tramontana.precedence import Precedence

TABLE = "log"
STATE_ROW = "state"
CERTIFICATES = "certificates"
ENTRIES_AT_ONCE = 64
"""The most that the server gives."""

KeepEntries = Callable[[int, Sequence[bytes]], object]
Standing = Literal["waiting", "certified", "expired", "revoked"]


def credential_of(account_id: str, device_id: str) -> Credential:
    """The name of a device in MLS (docs/protocols.md)."""
    return Credential.basic(f"{account_id}/{device_id}".encode())


def names_of(credential: Credential) -> tuple[str, str] | None:
    """(account_id, device_id) of a credential; None for one of another shape."""
    account, _, device = credential.content.decode("ascii", "replace").partition("/")
    if credential.type != BASIC_CREDENTIAL or not all(
        len(part) == 32 and set(part) <= set("0123456789abcdef") for part in (account, device)
    ):
        return None
    return account, device


def parse_head(given: dict[str, object]) -> UnverifiedTreeHead:
    """A tree head as it stands in JSON. Raises `ValueError`, `KeyError` or `TypeError` for another shape."""
    log_id, root_hash, signature = (unb64(str(given[name])) for name in ("log_id", "root_hash", "signature"))
    return UnverifiedTreeHead(log_id, int(str(given["tree_size"])), root_hash, int(str(given["at"])), signature)


class _Certificates:
    """The last certificate of each device, by device id. Thousands of a store are verified one by one, when somebody asks for them."""

    def __init__(self, stored: Mapping[str, bytes], root_of: Callable[[bytes], Root]) -> None:
        self._stored = dict(stored)
        self._root_of = root_of
        self._verified: dict[str, Certificate] = {}

    def get(self, device_id: str) -> Certificate | None:
        """Raises `Refused`."""
        if (encoded := self._stored.pop(device_id, None)) is not None:
            self._verified[device_id] = UnverifiedCertificate(encoded).verify(self._root_of(encoded))
        return self._verified.get(device_id)

    def __getitem__(self, device_id: str) -> Certificate:
        found = self.get(device_id)
        if found is None:
            raise KeyError(device_id)
        return found

    def __setitem__(self, device_id: str, certificate: Certificate) -> None:
        self._stored.pop(device_id, None)
        self._verified[device_id] = certificate

    def values(self) -> list[Certificate]:
        return [self[device_id] for device_id in [*self._stored, *self._verified]]


class Membership:
    """An MLS `Authority` by the log of one organisation. After an `Alarm` it must not be used again."""

    def __init__(self, follower: Follower, certificates: Mapping[str, bytes]) -> None:
        """certificates: the last one of each device as the device's own store has it, which were verified before they came there."""
        self._follower = follower
        self._certificates = _Certificates(certificates, follower.register.root_of)
        self._unsaved: set[str] = set()
        self._unkept: list[bytes] = []
        """The last entries that were read, until somebody keeps them: an answer that fails to come must not lose them."""

    @classmethod
    def begin(cls, fingerprint: bytes, root: bytes, log_key: bytes) -> Membership:
        """An organisation that is pinned now. Raises `Refused` for another one."""
        return cls(Follower.begin(root, fingerprint, log_key), {})

    @classmethod
    def load(cls, store: Store, fingerprint: bytes) -> Membership:
        """Raises `StateDamaged`, `Refused`."""
        follower = Follower.load(store.read(TABLE).get(STATE_ROW, b""), fingerprint)
        return cls(follower, store.read(CERTIFICATES))

    @property
    def root(self) -> Root:
        return self._follower.register.root

    @property
    def size(self) -> int:
        """How many entries were read."""
        return self._follower.edge.size

    @property
    def head(self) -> TreeHead | None:
        """The head that everything here was read under."""
        return self._follower.head

    def changes(self) -> list[Change]:
        """What keeps what was read."""
        changed, self._unsaved = sorted(self._unsaved), set()
        rows = [Change(CERTIFICATES, device, self._certificates[device].encoded) for device in changed]
        return [*rows, Change(TABLE, STATE_ROW, self._follower.dump())]

    def follow(self, store: Store, now: float, keep: KeepEntries | None = None) -> Procedure[bool]:
        """Read what the log has got since; whether there was anything. Raises `Alarm`, `Refusal`, `Unreachable`.

        keep: is given the place of the first new entry and all of them as they were signed, before it is stored that they were read.
        """
        shown = yield Request("GET", "/organisation", needs_session=False)
        self._follower.check_organisation(unb64(shown["organisation"]), unb64(shown["log_key"]))
        head = self._follower.check_head(parse_head((yield Request("GET", "/log/head"))), now=now)
        before = None if self.head is None else self.head.tree_size
        while self.size < head.tree_size:
            wanted = min(ENTRIES_AT_ONCE, head.tree_size - self.size)
            page = yield Request("GET", f"/log/entries?start={self.size}&count={wanted}")
            for encoded in page["entries"][:wanted]:
                content = unb64(encoded)
                entry = self._follower.read(content)
                if keep is not None:
                    self._unkept.append(content)
                if isinstance(entry, Certificate):
                    self._certificates[entry.grant.device_id] = entry
                    self._unsaved.add(entry.grant.device_id)
            if not page["entries"]:
                break
        self._follower.accept(head)
        if before == head.tree_size:
            return False
        if keep is not None:
            keep(self.size - len(self._unkept), self._unkept)
            self._unkept = []
        store.write(self.changes())
        return True

    def heard(self, given: UnverifiedTreeHead) -> Procedure[None]:
        """A head that a member of a conversation saw. Raises `Alarm` if it does not fit what this device saw; else says nothing."""
        known, log_key = self.head, self._follower.register.log_key
        if known is None or log_key is None:
            return
        try:
            head = given.verify(log_key)
        except Refused:
            return  # not signed by the log: it says nothing about the server
        older, newer = sorted((known.tree_size, head.tree_size))
        proof: Sequence[bytes] = ()
        if 0 < older < newer:
            try:
                proof = [unb64(each) for each in (yield Request("GET", f"/log/consistency?first={older}&second={newer}"))["proof"]]
            except Refusal as refused:
                if refused.is_passing or refused.status in (401, 403):
                    raise
                proof = ()  # an honest server can always give the proof: it signed both heads
        if found := compare_heads(known, head, proof):
            raise Alarm(found.sentence, [found.one, found.other])

    # What the log says

    def accepts(self, credential: Credential, signature_key: bytes, replaces: Credential | None) -> bool:
        """The last certificate of that device gives it this key; it may be out again meanwhile, and is removed then."""
        names = names_of(credential)
        found = self._certificates.get(names[1]) if names else None
        return (
            found is not None
            and names is not None
            and found.grant.account_id == names[0]
            and hmac.compare_digest(found.grant.signature_public_key, signature_key)
            and replaces in (None, credential)
        )

    def certificate(self, device_id: str) -> Certificate | None:
        """The last certificate of a device, in force or not."""
        return self._certificates.get(device_id)

    def is_revoked(self, device_id: str) -> bool:
        standing = self._follower.register.last(device_id)
        return standing is not None and standing.is_revoked

    def standing(self, device_id: str, now: float) -> Standing:
        """Where a device stands."""
        found = self._certificates.get(device_id)
        if found is None:
            return "waiting"
        if self.is_revoked(device_id):
            return "revoked"
        try:
            found.check_at(now)
        except Refused as refused:
            return "expired" if refused.reason == "expired" else "waiting"
        return "certified"

    def admits(self, device_id: str, now: float) -> bool:
        """The device may be let into conversations."""
        return self.standing(device_id, now) == "certified"

    def may_keep(self, archive: str, people: Collection[str]) -> bool:
        """Two custodians certified this account as an archive: of the whole organisation, or of a unit of one of these people.

        A guest's unit is one of his own organisation, whatever it is called.
        """
        units = {grant.unit for grant in self._grants_of(archive) if "archive" in grant.roles}
        return "" in units or any(grant.unit in units for account_id in people for grant in self._grants_of(account_id))

    def _grants_of(self, account_id: str) -> list[Grant]:
        """Of its devices that are in, and no guests."""
        devices = self._follower.register.devices_of.get(account_id, ())
        found = (self._certificates[device] for device in devices if not self.is_revoked(device))
        return [certificate.grant for certificate in found if certificate.organisation_id == self.root.organisation_id]

    def ceiling(self, device_id: str, now: float) -> Precedence:
        """The highest level at which a device may call."""
        return self._certificates[device_id].grant.ceiling if self.admits(device_id, now) else Precedence.ROUTINE

    def name_of(self, account_id: str) -> str | None:
        """The name that the custodians certified last; of a guest, with his organisation."""
        devices = self._follower.register.devices_of.get(account_id, ())
        if not devices:
            return None
        certificate = self._certificates[devices[-1]]
        peer = self._follower.register.peers.get(certificate.organisation_id)
        return certificate.grant.display_name if peer is None else f"{certificate.grant.display_name} ({peer.name})"

    def accounts_named(self, name: str, now: float) -> list[str]:
        """Accounts with a device in force that bear this name."""
        found = (each.grant for each in self._certificates.values() if each.grant.display_name == name)
        return sorted({grant.account_id for grant in found if self.admits(grant.device_id, now)})
