"""The MLS conversation of a site with a gateway, out of which the preshared keys of their tunnels come (docs/protocols.md).

It lives as long as its connection: nothing of the group is stored, so that a restart can use no key twice, and every connection begins with
fresh key material. The site makes the group and is its only committer: there are no forks.
"""

from __future__ import annotations

import hmac
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from tramontana.errors import RemoteError
from tramontana.internet.control_channel import (
    ChannelRefused,
    Frame,
    FrameKind,
    FrameReader,
    Introduction,
    LogWanted,
    Renewal,
    Sealed,
    encode_sealed,
    parse_sealed,
)
from tramontana.internet.key_renewal import KEY_BYTES, PresharedKey, Word
from tramontana.internet.overlay import TunnelId
from tramontana.keys.certificate import Certificate, UnverifiedCertificate
from tramontana.keys.identity import DeviceKey
from tramontana.keys.mls.client import Client, OwnKeyPackage, parse_key_package
from tramontana.keys.mls.errors import MessageRefused
from tramontana.keys.mls.group import Group
from tramontana.keys.mls.messages import Add
from tramontana.keys.mls.nodes import Credential
from tramontana.keys.mls.outcomes import Application, Committed
from tramontana.keys.organisation import Root
from tramontana.keys.refused import Refused
from tramontana.keys.register import Standing

NESTED_ROLE = "nested"
PRESHARED_KEY_LABEL = "tramontana wireguard preshared key 1"
HELLO_CONTEXT = b"tramontana control hello 1\x00"
RANDOM_BYTES = 32
GROUP_ID_BYTES = 16


class WrongPeer(RemoteError):
    """The other end has a certificate that counts, but not for this; the connection was closed. `reason` names it."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Trust(Protocol):
    """Whom the organisation certified, and whom it revoked: `keys.register.Register`, or what stands for it."""

    @property
    def root(self) -> Root: ...

    def last(self, device_id: str) -> Standing | None:
        """The last certificate of a device, revoked or not."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """A device of the organisation: its certificate and its key."""

    certificate: Certificate
    key: DeviceKey

    @property
    def device_id(self) -> str:
        return self.certificate.grant.device_id


def check_standing(certificate: Certificate, trust: Trust, role: str, now: float) -> None:
    """Whether a verified certificate counts now, for this role. `now`: POSIX seconds. Raises `Refused`, `WrongPeer`."""
    certificate.check_at(now)
    grant = certificate.grant
    if role not in grant.roles:
        raise WrongPeer("wrong_role", f"the certificate of {grant.display_name} does not give the role {role}; ask a custodian for another")
    standing = trust.last(grant.device_id)
    if standing is None:
        raise Refused("not_logged", f"the certificate of {grant.display_name} is not in the organisation's log")
    if standing.is_revoked:
        raise Refused("revoked", f"the certificate of {grant.display_name} is revoked")
    if standing.serial != certificate.serial:
        raise Refused("superseded", f"{grant.display_name} has a newer certificate; use that one")


def is_nested(roles: Collection[str]) -> bool:
    """Whether the organisation signed that this router's tunnels are nested: nobody who can write to a disk or a server can undo it."""
    return NESTED_ROLE in roles


def check_profile(own: Certificate, peer: Certificate) -> None:
    """Both ends nest their tunnels, or neither does. Raises `WrongPeer`."""
    if is_nested(own.grant.roles) != is_nested(peer.grant.roles):
        nests, other = (each.grant.display_name for each in sorted((own, peer), key=lambda each: not is_nested(each.grant.roles)))
        raise WrongPeer("other_profile", f"{nests} has nested tunnels and {other} has not; custodians certify both with the same profile")


def _credential(certificate: Certificate) -> Credential:
    return Credential.basic(f"{certificate.grant.account_id}/{certificate.grant.device_id}".encode())


class _Members:
    """Who may stand in the group: this device, and one other. A gateway learns the other's certificate after it has joined."""

    def __init__(self, own: Certificate, peer: Certificate | None) -> None:
        self._own, self._peer = own, peer

    def accepts(self, credential: Credential, signature_key: bytes, replaces: Credential | None) -> bool:
        if signature_key == self._own.grant.signature_public_key:
            return credential == _credential(self._own)
        if self._peer is None:
            return replaces is None or credential == replaces
        return credential == _credential(self._peer) and signature_key == self._peer.grant.signature_public_key


@dataclass(frozen=True, slots=True)
class Opened:
    """Site: the gateway is in the group."""


@dataclass(frozen=True, slots=True)
class Introduced:
    """Gateway: the site showed a certificate that counts, and holds its key."""

    certificate: Certificate
    introduction: Introduction


@dataclass(frozen=True, slots=True)
class Outdated:
    """Gateway: the site has the key of a certificate that a newer one replaced while it was away. It may read the log, nothing else."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sealed message of the other end."""

    message: Sealed


@dataclass(frozen=True, slots=True)
class KeyProposed:
    """Gateway: the key that the site proposes for the tunnel over this uplink."""

    uplink: int
    key: PresharedKey


Event = Opened | Introduced | Outdated | Said | KeyProposed


class _Conversation(ABC):
    """What both ends do alike. `data_to_send` empties what is to be sent, in order."""

    role_of_peer: str

    def __init__(self, own: Identity, trust: Trust, rng: Callable[[int], bytes] = os.urandom) -> None:
        self._own, self._trust, self._rng = own, trust, rng
        self._reader = FrameReader()
        self._outbox = bytearray()
        self._group: Group | None = None
        self.peer: Certificate | None = None
        """Verified. None before."""

    def data_to_send(self) -> bytes:
        data = bytes(self._outbox)
        self._outbox.clear()
        return data

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """`now`: POSIX seconds. Raises `ChannelRefused`, after which the connection is to be closed, as after `Refused` and `WrongPeer`."""
        try:
            return [event for frame in self._reader.feed(data) for event in self._handle(frame, now)]
        except MessageRefused as error:
            raise ChannelRefused(f"an MLS message was refused: {error}") from error

    def say(self, message: Sealed) -> None:
        """Seal a message for the other end."""
        self._put(FrameKind.MESSAGE, self._joined.adopt(self._joined.seal(encode_sealed(message))))

    def check_peer(self, now: float) -> None:
        """Whether the other end's certificate still counts. Raises `Refused`, `WrongPeer`."""
        if self.peer is not None:
            check_standing(self.peer, self._trust, self.role_of_peer, now)
            check_profile(self._own.certificate, self.peer)

    @property
    def _joined(self) -> Group:
        if self._group is None:
            raise ChannelRefused("a message came before the conversation was opened")
        return self._group

    @abstractmethod
    def _handle(self, frame: Frame, now: float) -> list[Event]:
        """One frame of the other end, as this end takes it."""

    def _put(self, kind: FrameKind, body: bytes) -> None:
        self._outbox += Frame(kind, body).encode()

    def _client(self, peer: Certificate | None) -> Client:
        return Client(self._own.key, _credential(self._own.certificate), _Members(self._own.certificate, peer), rng=self._rng)

    def _open(self, body: bytes) -> tuple[Sealed, int]:
        """A sealed message, and the epoch in which it was sealed."""
        received = self._joined.adopt(self._joined.receive(body))
        if not isinstance(received, Application):
            raise ChannelRefused("a proposal or commit stands where a sealed message must")
        return parse_sealed(received.plaintext), received.epoch

    def _preshared_key(self, tunnel: TunnelId, number: int) -> PresharedKey:
        context = tunnel.encode() + number.to_bytes(8, "big")
        return PresharedKey(number, self._joined.export(PRESHARED_KEY_LABEL, context, KEY_BYTES))


def hello_proof(root: Root, gateway_id: str, random: bytes) -> bytes:
    """That one knows the organisation, so that a gateway shows nothing to those who scan the internet."""
    return hmac.digest(root.fingerprint, HELLO_CONTEXT + bytes.fromhex(gateway_id) + random, "sha256")


class SiteConversation(_Conversation):
    """The site's end; it speaks first."""

    role_of_peer = "gateway"

    def __init__(
        self, own: Identity, gateway_id: str, trust: Trust, rng: Callable[[int], bytes] = os.urandom, *, may_learn: bool = False
    ) -> None:
        """may_learn: a gateway whose certificate is newer than what this site has of the log may be asked for the rest of it. Nothing else
        counts before `check_peer` agrees."""
        super().__init__(own, trust, rng)
        self._gateway_id = gateway_id
        self._may_learn = may_learn
        self._answered_epoch = 0
        """The last epoch in which the gateway is known to be."""
        random = rng(RANDOM_BYTES)
        self._put(FrameKind.HELLO, random + hello_proof(trust.root, gateway_id, random))

    def exchange(self, tunnel: TunnelId, number: int, now: float) -> PresharedKey:
        """Renew the conversation's keys, and derive the next preshared key of a tunnel. The proposal has to be said next.

        Tunnels that want a key before the gateway has answered the last renewal share its fresh epoch: their keys differ by tunnel and
        number. So what the gateway says is at most one epoch old when it comes, however many tunnels begin at once, and its keys are there.
        """
        group = self._joined
        if self._answered_epoch == group.epoch:
            commit = group.adopt(group.commit(now=now, renew=True))
            group.adopt(group.merge())
            self._put(FrameKind.COMMIT, commit.commit)
        return self._preshared_key(tunnel, number)

    def _handle(self, frame: Frame, now: float) -> list[Event]:
        if frame.kind is FrameKind.OFFER and self._group is None:
            self._enter(frame.body, now)
            return [Opened()]
        if frame.kind is FrameKind.MESSAGE:
            message, self._answered_epoch = self._open(frame.body)
            return [Said(message)]
        raise ChannelRefused(f"a gateway does not send {frame.kind.name} here")

    def _enter(self, offer: bytes, now: float) -> None:
        length = int.from_bytes(offer[:2], "big")
        certificate = UnverifiedCertificate(offer[2 : 2 + length]).verify(self._trust.root)
        if certificate.grant.device_id != self._gateway_id:
            raise WrongPeer("wrong_device", f"{certificate.grant.display_name} answers where the gateway {self._gateway_id} should")
        try:
            check_standing(certificate, self._trust, self.role_of_peer, now)
        except Refused as refused:
            if not self._may_learn or refused.reason not in ("not_logged", "superseded"):
                raise
        check_profile(self._own.certificate, certificate)
        group = self._client(certificate).create(self._rng(GROUP_ID_BYTES), now)
        step = group.commit(Add(parse_key_package(offer[2 + length :])), now=now)
        welcome = group.adopt(step).welcome
        group.adopt(group.merge())
        assert welcome is not None
        self._group, self.peer = group, certificate
        self._put(FrameKind.WELCOME, welcome)


class GatewayConversation(_Conversation):
    """The gateway's end of one connection."""

    role_of_peer = "site"

    def __init__(self, own: Identity, trust: Trust, rng: Callable[[int], bytes] = os.urandom) -> None:
        super().__init__(own, trust, rng)
        self._key_package: OwnKeyPackage | None = None
        self._is_outdated = False
        self.shown: Certificate | None = None
        """The organisation's certificate of the device whose key the other end holds; it may be out."""

    def _handle(self, frame: Frame, now: float) -> list[Event]:
        match frame.kind:
            case FrameKind.HELLO if self._key_package is None and self._group is None:
                self._offer(frame.body, now)
            case FrameKind.WELCOME if self._key_package is not None:
                self._join(frame.body)
            case FrameKind.COMMIT if self.peer is not None:
                committed = self._joined.adopt(self._joined.receive(frame.body, now=now))
                if not isinstance(committed, Committed) or committed.added or committed.removed:
                    raise ChannelRefused("a site may renew the conversation's keys, and nothing else")
            case FrameKind.MESSAGE:
                return self._said(*self._open(frame.body), now)
            case _:
                raise ChannelRefused(f"a site does not send {frame.kind.name} here")
        return []

    def _offer(self, hello: bytes, now: float) -> None:
        random, proof = hello[:RANDOM_BYTES], hello[RANDOM_BYTES:]
        if len(random) != RANDOM_BYTES or not hmac.compare_digest(proof, hello_proof(self._trust.root, self._own.device_id, random)):
            raise ChannelRefused("a hello of somebody who does not know the organisation, or asks for another gateway")
        self._key_package = self._client(None).new_key_package(now)
        certificate = self._own.certificate.encoded
        self._put(FrameKind.OFFER, len(certificate).to_bytes(2, "big") + certificate + self._key_package.message)

    def _join(self, welcome: bytes) -> None:
        assert self._key_package is not None
        group, _ = self._client(None).join(welcome, [self._key_package])
        self._key_package = None
        if len(group.members) != 2:
            raise ChannelRefused("the conversation of a site and a gateway has two members")
        self._group = group

    def _said(self, message: Sealed, epoch: int, now: float) -> list[Event]:
        if self.peer is None:
            if isinstance(message, LogWanted) and self._is_outdated:
                return [Said(message)]
            if not isinstance(message, Introduction):
                raise ChannelRefused("a site introduces itself first")
            certificate = self._verify(message, now)
            return [Outdated()] if certificate is None else [Introduced(certificate, message)]
        if isinstance(message, Renewal) and message.message.word is Word.PROPOSE and epoch == self._joined.epoch:
            tunnel = TunnelId(self.peer.grant.device_id, self._own.device_id, message.uplink)
            key = self._preshared_key(tunnel, message.message.number)
            if hmac.compare_digest(key.id, message.message.key_id):
                return [KeyProposed(message.uplink, key)]
        return [Said(message)]

    def _verify(self, introduction: Introduction, now: float) -> Certificate | None:
        """That the member who speaks is the device of the certificate. None if a newer one has replaced it."""
        certificate = UnverifiedCertificate(introduction.certificate).verify(self._trust.root)
        other = next(member for member in self._joined.members if member.leaf_index != self._joined.own_leaf)
        if other.credential != _credential(certificate) or other.signature_key != certificate.grant.signature_public_key:
            raise WrongPeer("wrong_device", f"somebody else shows the certificate of {certificate.grant.display_name}")
        self.shown = certificate
        try:
            check_standing(certificate, self._trust, self.role_of_peer, now)
        except Refused as refused:
            standing = self._trust.last(certificate.grant.device_id)
            is_replaced = standing is not None and not standing.is_revoked and standing.serial != certificate.serial
            if refused.reason not in ("superseded", "expired") or not is_replaced:
                raise
            self._is_outdated = True
            return None
        check_profile(self._own.certificate, certificate)
        self.peer = certificate
        return certificate
