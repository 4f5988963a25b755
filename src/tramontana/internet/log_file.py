"""The organisation's log as a file that grows: signed statements, each behind its length in 4 octets.

Everything in it counts by the organisation's signatures and the log's rules alone: whoever hands entries on can hold them back, but not
invent any.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tramontana.errors import LocalError, RemoteError
from tramontana.keys.certificate import Revocation, UnverifiedRevocation
from tramontana.keys.organisation import Root, parse_fingerprint, verify_root
from tramontana.keys.register import Register, Standing
from tramontana.private_file import replace_private

_LENGTH_BYTES = 4


class Forked(RemoteError):
    """Entries are shown that are not those seen before."""


class EntryFile:
    """The file as such. Entries are added whole, on the disk before `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends = [0]
        """Where each entry that was read begins, and where the last one ends."""

    @property
    def count(self) -> int:
        """How many entries were read or added."""
        return len(self._ends) - 1

    def read_new(self, take: Callable[[bytes], object] = lambda _entry: None) -> list[bytes]:
        """Those that somebody added since. take: is given each before it counts; where it raises, that one is the first the next time.

        Raises `LocalError`, and what `take` raises.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._ends[-1])
                data = file.read()
        except OSError as error:
            raise LocalError(f"cannot read the log {self.path} ({error.strerror})") from error
        entries, at = [], 0
        while at + _LENGTH_BYTES <= len(data):
            end = at + _LENGTH_BYTES + int.from_bytes(data[at : at + _LENGTH_BYTES], "big")
            if end > len(data):
                break  # still being written, or cut off by a crash
            take(data[at + _LENGTH_BYTES : end])
            entries.append(data[at + _LENGTH_BYTES : end])
            self._ends.append(self._ends[-1] + end - at)
            at = end
        return entries

    def entries(self, start: int, most_bytes: int) -> list[bytes]:
        """Entries from a place on, at least one where there is one, else as many as have this size. Raises `LocalError`."""
        found: list[bytes] = []
        try:
            with self.path.open("rb") as file:
                for begin, end in zip(self._ends[start:-1], self._ends[start + 1 :], strict=True):
                    if found and end - self._ends[start] > most_bytes:
                        break
                    file.seek(begin + _LENGTH_BYTES)
                    found.append(file.read(end - begin - _LENGTH_BYTES))
        except OSError as error:
            raise LocalError(f"cannot read the log {self.path} ({error.strerror})") from error
        return found

    def missing(self, start: int, entries: Sequence[bytes]) -> list[bytes]:
        """Of entries that begin at `start`, those that the file has not got.

        Raises `Forked` if it holds others in their place, `LocalError` if it lacks some before them.
        """
        if start > self.count:
            raise LocalError(f"the log {self.path} lacks entries {self.count} to {start - 1}; join again, in an empty directory")
        held = self.entries(start, sum(len(entry) + _LENGTH_BYTES for entry in entries)) if start < self.count else []
        if any(one != other for one, other in zip(held, entries, strict=False)):
            raise Forked("another log than before is shown; somebody hides entries. Tell the custodians")
        return list(entries[self.count - start :])

    def append(self, entries: Sequence[bytes]) -> None:
        """Add entries. What a crash left of a half-written one is overwritten. Raises `LocalError`."""
        data = b"".join(len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries)
        try:
            with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as file:
                file.seek(self._ends[-1])
                file.write(data)
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):  # what was written in part, or whole but not for certain, is written again
                os.truncate(self.path, self._ends[-1])
            raise LocalError(f"cannot write the log {self.path} ({error.strerror}); make room for revocations") from error
        for entry in entries:
            self._ends.append(self._ends[-1] + _LENGTH_BYTES + len(entry))


class LogFile:
    """What stands in the log of one organisation. It is a `Trust`."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Raises `LocalError`, `Refused`."""
        self._file = EntryFile(path)
        entries = self._file.read_new()
        if not entries:
            raise LocalError(f"the log {path} is empty; it begins with the organisation's root")
        self._register = Register(verify_root(entries[0], parse_fingerprint(fingerprint)))
        self._revoked_in: dict[str, int] = {}
        """Where the revocation of each certificate stands, by serial."""
        for entry in entries:
            self._read(entry)
        self._unwritten: list[bytes] = []
        """Entries that count, but that the disk refused."""
        self.is_damaged = False
        """Whether the file holds an entry that the log's rules refuse. What is behind it cannot be read, so nobody's standing is known."""
        self._last_word = path.with_name(f"{path.name}.revoked")
        self._is_out: Revocation | None = None
        """The organisation's statement that came past the log, about a last certificate."""
        if self._last_word.exists():
            self.obey(self._last_word.read_bytes())

    @property
    def root(self) -> Root:
        return self._register.root

    @property
    def size(self) -> int:
        """How many entries were read and can be handed on."""
        return self._file.count

    def last(self, device_id: str) -> Standing | None:
        return self._register.last(device_id)

    def certificate(self, device_id: str) -> bytes | None:
        """The last certificate of a device, as it was signed."""
        standing = self.last(device_id)
        found = self.entries(standing.log_index, 1) if standing is not None else []
        return found[0] if found else None

    def is_out(self, device_id: str) -> bool:
        """Whether `obey` was given the revocation of its last certificate."""
        last = self.last(device_id)
        return last is not None and self._is_out is not None and last.serial == self._is_out.serial

    def revocation(self, device_id: str) -> Revocation | None:
        """The organisation's statement that a device's last certificate counts no more, from the log or past it. Raises `LocalError`."""
        last = self.last(device_id)
        if last is None:
            return None
        if self.is_out(device_id):
            return self._is_out
        place = self._revoked_in.get(last.serial)
        found = [] if place is None else self.entries(place, 1)
        return UnverifiedRevocation(found[0]).verify(self.root) if found else None

    def entries(self, start: int, most_bytes: int) -> list[bytes]:
        """As they were signed, from a place on."""
        return self._file.entries(start, most_bytes)

    def refresh(self) -> bool:
        """Read what is new; whether there was anything. Raises `LocalError`, then what was known before still counts.

        Raises `Refused`, `Forked` each time until the file is mended, and then `is_damaged`.
        """
        try:
            entries = self._file.read_new(self._take)
        except RemoteError:
            self.is_damaged = True
            raise
        self.is_damaged = False
        return bool(entries)

    def _take(self, entry: bytes) -> None:
        if not self._unwritten:
            self._read(entry)
        elif entry == self._unwritten[0]:  # it reached the disk although that said no
            del self._unwritten[0]
        else:
            raise Forked(f"the log {self._file.path} holds another entry than was handed on. Tell the custodians")

    def _read(self, entry: bytes) -> None:
        place = self._register.size
        if isinstance(found := self._register.read(entry), Revocation):
            self._revoked_in[found.serial] = place

    def extend(self, start: int, entries: Sequence[bytes]) -> bool:
        """Take entries that somebody hands on, as far as they are new; whether any was.

        Raises `Forked`, `Refused`, and keeps none from the refused one on. Raises `LocalError` if they cannot be written: they count all
        the same.
        """
        self.refresh()
        fresh = self._file.missing(start, [*entries])
        new: list[bytes] = []
        try:
            for entry in fresh[len(self._unwritten) :]:
                self._read(entry)
                new.append(entry)
        finally:
            self._unwritten += new
            if self._unwritten:
                self._file.append(self._unwritten)
            self._unwritten = []
        return bool(new)

    def obey(self, revocation: bytes) -> bool:
        """A revocation that came past the log, because the server lets this device read no more; whether it concerns a last certificate.

        Raises `Refused`.
        """
        found = UnverifiedRevocation(revocation).verify(self.root)
        last = self.last(found.device_id)
        if last is None or last.serial != found.serial:
            return False
        self._is_out = found
        if not self._last_word.exists() or self._last_word.read_bytes() != revocation:
            replace_private(self._last_word, revocation)
        return True
