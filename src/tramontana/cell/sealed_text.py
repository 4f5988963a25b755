"""Sealed texts: from one device to another, end to end encrypted, each in one short message or one small datagram.

Keys come from the exporter of the two devices' MLS conversation (RFC 9420 §8.5), one for each epoch and direction, so whoever is removed
or revoked loses them with the epoch. The way may lose, repeat and reorder: every datagram stands alone, a window refuses what was
seen, and keys of earlier epochs are kept for a while, because a text may be under way for two days.

    key id (2) ‖ counter (5) ‖ AES-256-GCM ciphertext ‖ tag (16)      140 octets at most: 117 of plaintext
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tramontana.cell import gsm_alphabet
from tramontana.errors import LocalError, RemoteError

LABEL = "tramontana sealed text 1"
EXPORT_BYTES = 46
"""key (32) ‖ salt (12) ‖ key id (2)."""
DEVICE_ID_BYTES = 16
MOST_BYTES = 140
"""One short message, TS 23.040 §9.2.3.16."""
KEY_ID_BYTES, COUNTER_BYTES, TAG_BYTES = 2, 5, 16
HEADER_BYTES = KEY_ID_BYTES + COUNTER_BYTES
MOST_PLAINTEXT_BYTES = MOST_BYTES - HEADER_BYTES - TAG_BYTES
MOST_COUNTER = 2 ** (8 * COUNTER_BYTES) - 1
WINDOW = 1024
"""How far a datagram may be behind the newest one: what an official writes in weeks."""
EPOCHS_KEPT = 8
EPOCH_KEPT_S = 72 * 3600.0
"""Longer than centres keep a text (two days)."""
MOST_HELD = 32
"""Datagrams of an epoch that this device has not reached yet."""


class CannotSeal(LocalError):
    """The text cannot be sealed; the message says why and what to do."""


class Refused(RemoteError):
    """A datagram that is not a sealed text of this conversation, or was seen before; it was dropped."""


class NotYet(RemoteError):
    """A sealed text of an epoch that this device has not reached: it is held, and opens when the conversation's messages have arrived."""


def export_context(sender: bytes, receiver: bytes) -> bytes:
    """The exporter's context of one direction: both device ids, 16 octets each."""
    if len(sender) != DEVICE_ID_BYTES or len(receiver) != DEVICE_ID_BYTES or sender == receiver:
        raise ValueError("two different device ids of 16 octets are needed")
    return sender + receiver


class DirectionKey:
    """Key, salt and key id of one epoch and direction. Its repr shows the key id alone."""

    __slots__ = ("_aead", "_salt", "epoch", "key_id")

    def __init__(self, epoch: int, exported: bytes) -> None:
        """exported: 46 octets of the exporter with `LABEL` and `export_context`."""
        if len(exported) != EXPORT_BYTES:
            raise ValueError(f"the exporter must give {EXPORT_BYTES} octets")
        self.epoch = epoch
        self._aead, self._salt, self.key_id = AESGCM(exported[:32]), exported[32:44], exported[44:]

    def _nonce(self, counter: bytes) -> bytes:
        padded = bytes(12 - COUNTER_BYTES) + counter
        return bytes(a ^ b for a, b in zip(self._salt, padded, strict=True))

    def seal(self, counter: int, plaintext: bytes) -> bytes:
        octets = counter.to_bytes(COUNTER_BYTES, "big")
        header = self.key_id + octets
        return header + self._aead.encrypt(self._nonce(octets), plaintext, header)

    def open(self, datagram: bytes) -> bytes:
        """Raises `Refused`."""
        header = datagram[:HEADER_BYTES]
        try:
            return self._aead.decrypt(self._nonce(header[KEY_ID_BYTES:]), datagram[HEADER_BYTES:], header)
        except InvalidTag:
            raise Refused("a sealed text that this key does not open") from None

    def __repr__(self) -> str:
        return f"DirectionKey(epoch {self.epoch}, id {self.key_id.hex()}, …)"


@dataclass(slots=True)
class ReplayWindow:
    """Counters that were seen: the highest, and a bit for each of the `WINDOW` below it (as RFC 4303 §3.4.3)."""

    highest: int = -1
    seen: int = 0
    """Bit n: highest − n was seen."""

    def is_new(self, counter: int) -> bool:
        behind = self.highest - counter
        return behind < 0 or (behind < WINDOW and not self.seen >> behind & 1)

    def mark(self, counter: int) -> None:
        behind = self.highest - counter
        if behind < 0:
            self.seen = (self.seen << min(-behind, WINDOW) | 1) & (1 << WINDOW) - 1
            self.highest = counter
        else:
            self.seen |= 1 << behind


@dataclass(frozen=True, slots=True)
class Opened:
    """A sealed text that was opened."""

    plaintext: bytes
    epoch: int
    counter: int


@dataclass(slots=True)
class _Epoch:
    epoch: int
    began_at: float
    sending: DirectionKey
    receiving: DirectionKey
    window: ReplayWindow = field(default_factory=ReplayWindow)
    next_counter: int = 0


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What must be kept of an epoch besides the exporter's octets, which the device's storage seals."""

    epoch: int
    began_at: float
    next_counter: int
    highest: int
    seen: int


@dataclass(slots=True)
class SealedTexts:
    """Both directions between two devices. Store `records()` before a sealed datagram leaves and after one was opened."""

    _epochs: dict[int, _Epoch] = field(default_factory=dict, init=False)
    _sending_epoch: int | None = field(default=None, init=False)
    _held: deque[bytes] = field(default_factory=lambda: deque(maxlen=MOST_HELD), init=False)

    def add_epoch(self, epoch: int, sending: bytes, receiving: bytes, now: float, record: EpochRecord | None = None) -> Sequence[Opened]:
        """The conversation reached an epoch, or it is restored with its record. Returns what had waited for it.

        This device sends with the new keys from the moment in which the other one was heard to have them, or after `EPOCH_KEPT_S`; a
        first epoch at once. Restoring without the record is refused by the caller's duty: a counter that is used twice breaks the key.
        """
        if epoch in self._epochs:
            return ()
        made = _Epoch(epoch, record.began_at if record else now, DirectionKey(epoch, sending), DirectionKey(epoch, receiving))
        if record is not None:
            made.window, made.next_counter = ReplayWindow(record.highest, record.seen), record.next_counter
        self._epochs[epoch] = made
        if self._sending_epoch is None or (record is not None and record.next_counter > 0 and epoch > self._sending_epoch):
            self._sending_epoch = epoch
        self._forget(now)
        held, self._held = list(self._held), deque(maxlen=MOST_HELD)
        opened = []
        for datagram in held:
            try:
                opened.append(self.open(datagram, now))
            except (Refused, NotYet):
                continue  # what is still not to be opened, `open` has put back
        return opened

    def confirm(self, epoch: int) -> None:
        """The other device was heard in this epoch, by whatever way: send with it from now on."""
        if epoch in self._epochs and (self._sending_epoch is None or epoch > self._sending_epoch):
            self._sending_epoch = epoch

    def seal(self, plaintext: bytes, now: float) -> bytes:
        """One datagram of at most 140 octets. Raises `CannotSeal`."""
        if len(plaintext) > MOST_PLAINTEXT_BYTES:
            raise CannotSeal(f"a sealed text has {MOST_PLAINTEXT_BYTES} octets at most, this one {len(plaintext)}: shorten it or send two")
        self._forget(now)
        if self._sending_epoch is None:
            raise CannotSeal("there is no key yet: open the conversation with this person once while there is a network")
        using = self._epochs[self._sending_epoch]
        if using.next_counter > MOST_COUNTER:
            raise CannotSeal("this key is used up: let the conversation begin a new epoch")
        datagram = using.sending.seal(using.next_counter, plaintext)
        using.next_counter += 1
        return datagram

    def open(self, datagram: bytes, now: float) -> Opened:
        """Open a datagram. Raises `Refused` for what is none, was changed or was seen; `NotYet` for a key that is not here; it is held."""
        if not HEADER_BYTES + TAG_BYTES <= len(datagram) <= MOST_BYTES:
            raise Refused(f"a sealed text has {HEADER_BYTES + TAG_BYTES} to {MOST_BYTES} octets, not {len(datagram)}")
        self._forget(now)
        # Two epochs may have the same key id by chance (1 in 65,536): whichever key opens it is right.
        named = [each for each in self._epochs.values() if each.receiving.key_id == datagram[:KEY_ID_BYTES]]
        if not named:
            if datagram not in self._held:
                self._held.append(datagram)
            raise NotYet("a sealed text of an epoch that is not here yet; it is held")
        counter = int.from_bytes(datagram[KEY_ID_BYTES:HEADER_BYTES], "big")
        for each in sorted(named, key=lambda each: -each.epoch):
            try:
                plaintext = each.receiving.open(datagram)
            except Refused:
                continue
            if not each.window.is_new(counter):  # only now: a forged one must not move the window, nor tell what was seen
                raise Refused("a sealed text that was seen before, or is too old to tell")
            each.window.mark(counter)
            self.confirm(each.epoch)
            return Opened(plaintext, each.epoch, counter)
        raise Refused("a sealed text that was changed on its way, or is not for this device")

    def records(self) -> list[EpochRecord]:
        """What must be on disk; the exporter's octets are kept beside it."""
        return [
            EpochRecord(each.epoch, each.began_at, each.next_counter, each.window.highest, each.window.seen)
            for each in self._epochs.values()
        ]

    def _forget(self, now: float) -> None:
        newest = max(self._epochs, default=None)
        if newest is not None and newest != self._sending_epoch and now - self._epochs[newest].began_at > EPOCH_KEPT_S:
            self._sending_epoch = newest  # whoever is still not there will not come by waiting
        order = sorted(self._epochs)
        for position, epoch in enumerate(order):
            if epoch in (newest, self._sending_epoch):
                continue
            # An epoch's texts may be under way as long as its successor is young.
            after = self._epochs[order[position + 1]].began_at
            if len(order) - position > EPOCHS_KEPT or now - after > EPOCH_KEPT_S:
                del self._epochs[epoch]


def encode_text(text: str) -> bytes:
    """A text as plaintext: count (1) ‖ packed septets, or 0 ‖ UTF-8, whichever is shorter. Raises `CannotSeal`."""
    plain = b"\0" + text.encode()
    if not gsm_alphabet.missing(text):
        septets = gsm_alphabet.encode(text)
        if 0 < len(septets) <= 255:
            packed = bytes((len(septets),)) + gsm_alphabet.pack(septets)
            plain = min(plain, packed, key=len)
    if len(plain) > MOST_PLAINTEXT_BYTES:
        raise CannotSeal(f"the text needs {len(plain)} octets, {MOST_PLAINTEXT_BYTES} fit: shorten it or send two")
    return plain


def decode_text(plaintext: bytes) -> str:
    """The text of a plaintext. Raises `Refused`."""
    if not plaintext:
        raise Refused("a sealed text without content")
    try:
        if plaintext[0] == 0:
            return plaintext[1:].decode()
        septets = gsm_alphabet.unpack(plaintext[1:], plaintext[0])
    except (UnicodeDecodeError, gsm_alphabet.BadSeptets):
        raise Refused("a sealed text whose content cannot be read; the other end may be newer") from None
    return gsm_alphabet.decode(septets)
