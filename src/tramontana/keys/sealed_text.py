"""Sealed texts: from one device to another, end to end encrypted, each in one short message or one small datagram.

Keys come from the exporter of the two devices' MLS conversation (RFC 9420 §8.5), one for each epoch and direction, so whoever is removed
or revoked loses them with the epoch. The way may lose, repeat and reorder: every datagram stands alone, a window refuses what was
seen, and keys of earlier epochs are kept for a while, because a text may be under way for two days.

    key id (2) ‖ counter (5) ‖ AES-256-GCM ciphertext ‖ tag (16)      140 octets at most: 117 of plaintext
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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
MOST_GONE = 16
"""Key ids of epochs that are over, kept so that a late text can be told from one that is early."""


class CannotSeal(LocalError):
    """The text cannot be sealed; the message says why and what to do."""


class Refused(RemoteError):
    """A datagram that is not a sealed text of this conversation, or was seen before; it was dropped."""


class Seen(Refused):
    """A sealed text that was opened before, or is too far behind the newest one to tell; it was dropped."""


class NotYet(RemoteError):
    """A sealed text whose key is not here: of an epoch that is still to come, or of another conversation. Hold it and try again."""


class Gone(RemoteError):
    """A sealed text of an epoch whose keys this device has destroyed: nobody can open it here any more. Ask for it to be written again."""


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
    """Both directions between two devices. Store `records()` before a sealed datagram leaves and before what was opened is shown."""

    gone: dict[bytes, int] = field(default_factory=dict)
    """Key ids by which the other one sealed in epochs that are over, and those epochs; the oldest first."""
    _epochs: dict[int, _Epoch] = field(default_factory=dict, init=False)
    _sending_epoch: int | None = field(default=None, init=False)

    @property
    def epochs(self) -> list[int]:
        """Whose keys are here."""
        return sorted(self._epochs)

    @property
    def sending_epoch(self) -> int | None:
        """Whose key seals the next text."""
        return self._sending_epoch

    def add_epoch(self, epoch: int, sending: bytes, receiving: bytes, now: float, record: EpochRecord | None = None) -> None:
        """The conversation reached an epoch, or it is restored with its record.

        This device sends with the new keys from the moment in which the other one was heard to have them, or after `EPOCH_KEPT_S`; a
        first epoch at once. Restoring without the record is refused by the caller's duty: a counter that is used twice breaks the key.
        """
        if epoch in self._epochs:
            return
        made = _Epoch(epoch, record.began_at if record else now, DirectionKey(epoch, sending), DirectionKey(epoch, receiving))
        if record is not None:
            made.window, made.next_counter = ReplayWindow(record.highest, record.seen), record.next_counter
        self._epochs[epoch] = made
        if self._sending_epoch is None or (record is not None and record.next_counter > 0 and epoch > self._sending_epoch):
            self._sending_epoch = epoch
        if record is None:  # of what is restored in parts nothing is over before all of it is here
            self.forget(now)

    def forget_before(self, epoch: int) -> None:
        """Somebody was taken out of the conversation with this epoch: keys that he has neither seal nor open anything from now on."""
        if epoch in self._epochs:
            self._sending_epoch = epoch
            for each in [each for each in self._epochs if each < epoch]:
                self._end(each)

    def confirm(self, epoch: int) -> None:
        """The other device was heard in this epoch, by whatever way: send with it from now on."""
        if epoch in self._epochs and (self._sending_epoch is None or epoch > self._sending_epoch):
            self._sending_epoch = epoch

    def seal(self, plaintext: bytes, now: float) -> bytes:
        """One datagram of at most 140 octets. Raises `CannotSeal`."""
        if len(plaintext) > MOST_PLAINTEXT_BYTES:
            raise CannotSeal(f"a sealed text has {MOST_PLAINTEXT_BYTES} octets at most, this one {len(plaintext)}: shorten it or send two")
        self.forget(now)
        if self._sending_epoch is None:
            raise CannotSeal("there is no key yet: open the conversation with this person once while there is a network")
        using = self._epochs[self._sending_epoch]
        if using.next_counter > MOST_COUNTER:
            raise CannotSeal("this key is used up: let the conversation begin a new epoch")
        datagram = using.sending.seal(using.next_counter, plaintext)
        using.next_counter += 1
        return datagram

    def open(self, datagram: bytes, now: float) -> Opened:
        """Open a datagram. Raises `Refused` for what is none, was changed or was seen; `NotYet` or `Gone` for a key that is not here."""
        if not HEADER_BYTES + TAG_BYTES <= len(datagram) <= MOST_BYTES:
            raise Refused(f"a sealed text has {HEADER_BYTES + TAG_BYTES} to {MOST_BYTES} octets, not {len(datagram)}")
        self.forget(now)
        # Two epochs may have the same key id by chance (1 in 65,536): whichever key opens it is right.
        named = [each for each in self._epochs.values() if each.receiving.key_id == datagram[:KEY_ID_BYTES]]
        if not named:
            raise self._without_key(datagram[:KEY_ID_BYTES])
        counter = int.from_bytes(datagram[KEY_ID_BYTES:HEADER_BYTES], "big")
        for each in sorted(named, key=lambda each: -each.epoch):
            try:
                plaintext = each.receiving.open(datagram)
            except Refused:
                continue
            if not each.window.is_new(counter):  # only now: a forged one must not move the window, nor tell what was seen
                raise Seen("a sealed text that was seen before, or is too old to tell")
            each.window.mark(counter)
            self.confirm(each.epoch)
            return Opened(plaintext, each.epoch, counter)
        raise Refused("a sealed text that was changed on its way, or is not for this device")

    def _without_key(self, key_id: bytes) -> NotYet | Gone:
        if (epoch := self.gone.get(key_id)) is None:
            return NotYet("a sealed text whose key is not here yet; it opens when the conversation's messages have arrived")
        return Gone(
            f"a sealed text of epoch {epoch}, whose keys were destroyed: it is older than {EPOCH_KEPT_S / 3600:.0f} hours, or somebody was "
            "taken out of the conversation since. Ask the sender to write it again"
        )

    def records(self) -> list[EpochRecord]:
        """What must be on disk; the exporter's octets are kept beside it."""
        return [
            EpochRecord(each.epoch, each.began_at, each.next_counter, each.window.highest, each.window.seen)
            for each in self._epochs.values()
        ]

    def forget(self, now: float) -> None:
        """Destroy the keys of epochs that are over for long enough."""
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
                self._end(epoch)

    def _end(self, epoch: int) -> None:
        key_id = self._epochs.pop(epoch).receiving.key_id
        self.gone.pop(key_id, None)
        self.gone[key_id] = epoch
        while len(self.gone) > MOST_GONE:
            del self.gone[next(iter(self.gone))]
