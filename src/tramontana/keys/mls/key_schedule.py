"""From one epoch's secrets to the next one's (RFC 9420 §8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from tramontana.keys.mls.codec import Reader, uint, vector
from tramontana.keys.mls.errors import UnknownPsk
from tramontana.keys.mls.messages import GroupContext, PskId
from tramontana.keys.mls.suites import CipherSuite


@dataclass(frozen=True)
class EpochSecrets:
    """What one epoch_secret yields (RFC 9420 §8, table 4). Its repr shows none of it."""

    sender_data: bytes = field(repr=False)
    encryption: bytes = field(repr=False)
    """Goes into the secret tree and is then forgotten."""
    exporter: bytes = field(repr=False)
    external: bytes = field(repr=False)
    confirmation: bytes = field(repr=False)
    membership: bytes = field(repr=False)
    resumption: bytes = field(repr=False)
    authenticator: bytes = field(repr=False)
    init: bytes = field(repr=False)

    @classmethod
    def of(cls, suite: CipherSuite, epoch_secret: bytes) -> EpochSecrets:
        labels = ("sender data", "encryption", "exporter", "external", "confirm", "membership", "resumption", "authentication", "init")
        return cls(*(suite.derive_secret(epoch_secret, label) for label in labels))

    @classmethod
    def parse(cls, reader: Reader) -> EpochSecrets:
        return cls(*(reader.vector() for _ in fields(cls)))

    def encode(self) -> bytes:
        return b"".join(vector(getattr(self, each.name)) for each in fields(self))


@dataclass(frozen=True)
class Joined:
    """The two ends of the schedule that a Welcome bridges."""

    joiner_secret: bytes = field(repr=False)
    welcome_secret: bytes = field(repr=False)
    epoch_secret: bytes = field(repr=False)


def next_epoch(suite: CipherSuite, init_secret: bytes, commit_secret: bytes, psk_secret: bytes, context: GroupContext) -> Joined:
    """RFC 9420 §8, figure 22."""
    joiner_secret = suite.expand_with_label(suite.extract(init_secret, commit_secret), "joiner", context.encode(), suite.hash_bytes)
    return from_joiner(suite, joiner_secret, psk_secret, context)


def from_joiner(suite: CipherSuite, joiner_secret: bytes, psk_secret: bytes, context: GroupContext) -> Joined:
    member_secret = suite.extract(joiner_secret, psk_secret)
    epoch_secret = suite.expand_with_label(member_secret, "epoch", context.encode(), suite.hash_bytes)
    return Joined(joiner_secret, suite.derive_secret(member_secret, "welcome"), epoch_secret)


def welcome_secret_of(suite: CipherSuite, joiner_secret: bytes, psk_secret: bytes) -> bytes:
    """What opens the GroupInfo before its context is known."""
    return suite.derive_secret(suite.extract(joiner_secret, psk_secret), "welcome")


def welcome_key(suite: CipherSuite, welcome_secret: bytes) -> tuple[bytes, bytes]:
    """(key, nonce) of the GroupInfo in a Welcome (RFC 9420 §12.4.3.1)."""
    key = suite.expand_with_label(welcome_secret, "key", b"", suite.key_bytes)
    return key, suite.expand_with_label(welcome_secret, "nonce", b"", suite.nonce_bytes)


def export(suite: CipherSuite, exporter_secret: bytes, label: str, context: bytes, length: int) -> bytes:
    """MLS-Exporter (RFC 9420 §8.5)."""
    return suite.expand_with_label(suite.derive_secret(exporter_secret, label), "exported", suite.hash(context), length)


def confirmed_transcript_hash(suite: CipherSuite, interim_before: bytes, commit_input: bytes) -> bytes:
    """RFC 9420 §8.2."""
    return suite.hash(interim_before + commit_input)


def interim_transcript_hash(suite: CipherSuite, confirmed: bytes, confirmation_tag: bytes) -> bytes:
    return suite.hash(confirmed + vector(confirmation_tag))


@dataclass(frozen=True)
class PreSharedKeys:
    """The pre-shared keys that a device holds, by external id and by (group id, epoch)."""

    external: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    resumption: Mapping[tuple[bytes, int], bytes] = field(default_factory=dict, repr=False)

    def find(self, psk: PskId) -> bytes:
        """Raises `UnknownPsk`."""
        found = self.external.get(psk.psk_id) if psk.psk_id is not None else self.resumption.get((psk.group_id, psk.epoch))
        if found is None:
            what = f"external key {psk.psk_id.hex()}" if psk.psk_id is not None else f"resumption key of epoch {psk.epoch}"
            raise UnknownPsk(f"this device does not hold the {what}")
        return found


NO_PSKS = PreSharedKeys()


def psk_secret(suite: CipherSuite, psks: Sequence[tuple[PskId, bytes]]) -> bytes:
    """RFC 9420 §8.4."""
    secret = bytes(suite.hash_bytes)
    for index, (psk_id, psk) in enumerate(psks):
        extracted = suite.extract(bytes(suite.hash_bytes), psk)
        label = psk_id.encode() + uint(index, 2) + uint(len(psks), 2)
        secret = suite.extract(suite.expand_with_label(extracted, "derived psk", label, suite.hash_bytes), secret)
    return secret
