"""The log as a file that several hands add to: nothing twice, nothing invented, nothing lost in a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.internet.routers import Ministry
from tramontana.errors import LocalError
from tramontana.internet.driver import standing_fault
from tramontana.internet.log_file import EntryFile, Forked, LogFile
from tramontana.internet.tunnel_keys import Identity
from tramontana.keys.refused import Refused


@pytest.fixture(name="ministry", scope="module")
def _ministry() -> Ministry:
    made = Ministry()
    made.certify("Ship", "site")
    made.certify("Rome", "gateway")
    return made


def _written(path: Path, entries: list[bytes]) -> Path:
    path.write_bytes(b"".join(len(entry).to_bytes(4, "big") + entry for entry in entries))
    return path


def _log(path: Path, ministry: Ministry, count: int) -> LogFile:
    return LogFile(_written(path, ministry.entries[:count]), ministry.organisation.key.root.fingerprint_text)


def test_entries_that_are_handed_on_count_and_stay(tmp_path: Path, ministry: Ministry) -> None:
    log = _log(tmp_path / "log", ministry, 4)
    assert log.extend(4, ministry.entries[4:])
    assert log.size == len(ministry.entries)
    again = LogFile(tmp_path / "log", ministry.organisation.key.root.fingerprint_text)
    assert again.size == log.size
    assert log.entries(0, 1 << 20) == ministry.entries
    assert log.entries(2, 1) == ministry.entries[2:3]
    assert log.entries(log.size, 1 << 20) == []


def test_what_is_known_is_skipped_and_what_differs_is_refused(tmp_path: Path, ministry: Ministry) -> None:
    log = _log(tmp_path / "log", ministry, 5)
    assert not log.extend(2, ministry.entries[2:5])
    assert log.extend(3, ministry.entries[3:])
    with pytest.raises(Forked):
        log.extend(3, [ministry.entries[4]])
    with pytest.raises(LocalError, match="lacks entries"):
        log.extend(log.size + 1, [ministry.entries[4]])


def test_nobody_but_the_organisation_adds_an_entry(tmp_path: Path, ministry: Ministry) -> None:
    log = _log(tmp_path / "log", ministry, 4)
    stranger = Ministry()
    stranger.certify("Ship", "site")
    with pytest.raises(Refused):
        log.extend(4, [ministry.entries[4], stranger.entries[4], ministry.entries[5]])
    assert log.size == 5  # up to the refused one
    assert log.extend(4, ministry.entries[4:])


def test_a_half_written_entry_is_overwritten(tmp_path: Path, ministry: Ministry) -> None:
    path = _written(tmp_path / "log", ministry.entries[:4])
    with path.open("ab") as file:
        file.write(len(ministry.entries[4]).to_bytes(4, "big") + ministry.entries[4][:100])
    log = LogFile(path, ministry.organisation.key.root.fingerprint_text)
    assert log.size == 4
    assert log.extend(4, ministry.entries[4:])
    file_ = EntryFile(path)
    assert file_.read_new() == ministry.entries


def test_what_somebody_else_added_to_the_file_is_read_first(tmp_path: Path, ministry: Ministry) -> None:
    log = _log(tmp_path / "log", ministry, 4)
    _written(tmp_path / "log", ministry.entries[:5])
    assert log.extend(4, ministry.entries[4:])
    assert EntryFile(tmp_path / "log").read_new() == ministry.entries


def test_entries_that_the_disk_refuses_count_and_are_written_later(
    tmp_path: Path, ministry: Ministry, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = _log(tmp_path / "log", ministry, 4)
    full = [True]
    append = EntryFile.append

    def refusing(self: EntryFile, entries: list[bytes]) -> None:
        if full[0]:
            raise LocalError("no room")
        append(self, entries)

    monkeypatch.setattr(EntryFile, "append", refusing)
    with pytest.raises(LocalError, match="no room"):
        log.extend(4, ministry.entries[4:5])
    assert log.last(log_device(ministry, 4)) is not None
    assert log.size == 4  # what can be handed on
    full[0] = False
    assert log.extend(4, ministry.entries[4:])
    assert EntryFile(tmp_path / "log").read_new() == ministry.entries


def log_device(ministry: Ministry, index: int) -> str:
    return next(each.device_id for each in ministry.register.certificates.values() if each.log_index == index)


def test_a_revocation_past_the_log_counts_and_outlives_a_restart(tmp_path: Path) -> None:
    ministry = Ministry()
    ship = ministry.certify("Ship", "site")
    log = _log(tmp_path / "log", ministry, len(ministry.entries))
    assert standing_fault(log, ship.device_id, "site", ministry.now) is None
    word = ministry.revoke(ship)
    assert log.obey(word)
    assert standing_fault(log, ship.device_id, "site", ministry.now) == "revoked"
    again = LogFile(tmp_path / "log", ministry.organisation.key.root.fingerprint_text)
    assert standing_fault(again, ship.device_id, "site", ministry.now) == "revoked"
    with pytest.raises(Refused):
        again.obey(Ministry().entries[-1])


@pytest.mark.parametrize("truncates", [True, False])
def test_a_revocation_counts_although_the_disk_refused_the_entry_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truncates: bool
) -> None:
    ministry = Ministry()
    ship = ministry.certify("Ship", "site")
    log = _log(tmp_path / "log", ministry, len(ministry.entries))
    ministry.certify("Rome", "gateway")
    before = len(ministry.entries) - 1

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", refuse)
        if not truncates:  # then the entry stays in the file
            full.setattr(os, "truncate", refuse)
        with pytest.raises(LocalError, match="make room"):
            log.extend(before, ministry.entries[before:])
    ministry.revoke(ship)
    assert log.extend(before, ministry.entries[before:])
    assert standing_fault(log, ship.device_id, "site", ministry.now) == "revoked"
    again = LogFile(tmp_path / "log", ministry.organisation.key.root.fingerprint_text)
    assert standing_fault(again, ship.device_id, "site", ministry.now) == "revoked"
    assert EntryFile(tmp_path / "log").read_new() == ministry.entries


def test_a_refused_entry_in_the_file_closes_until_it_is_mended(tmp_path: Path) -> None:
    ministry = Ministry()
    ship, rome = ministry.certify("Ship", "site"), ministry.certify("Rome", "gateway")
    log = _log(tmp_path / "log", ministry, len(ministry.entries))
    good = list(ministry.entries)
    ministry.revoke(ship)
    _written(tmp_path / "log", [*good, good[-1], ministry.entries[-1]])
    for _ in range(3):
        with pytest.raises(Refused, match="already"):
            log.refresh()
        assert standing_fault(log, ship.device_id, "site", ministry.now) == "log_damaged"
        assert standing_fault(log, rome.device_id, "gateway", ministry.now) == "log_damaged"
    _written(tmp_path / "log", ministry.entries)
    assert log.refresh()
    assert standing_fault(log, ship.device_id, "site", ministry.now) == "revoked"
    assert standing_fault(log, rome.device_id, "gateway", ministry.now) is None


def test_the_last_word_past_the_log_replaces_the_one_before(tmp_path: Path) -> None:
    ministry = Ministry()
    ship = ministry.certify("Ship", "site")
    log = _log(tmp_path / "log", ministry, len(ministry.entries))
    assert log.obey(ministry.revoke(ship))
    again = Identity(ministry.organisation.certify(ship.certificate.grant, "First", "Second", now=ministry.now), ship.key)
    ministry.log(again.certificate.encoded)
    assert log.extend(log.size, ministry.entries[log.size :])
    assert standing_fault(log, ship.device_id, "site", ministry.now) is None
    held = len(ministry.entries)
    assert log.obey(ministry.revoke(again))
    assert log.size == held
    assert standing_fault(log, ship.device_id, "site", ministry.now) == "revoked"
    restarted = LogFile(tmp_path / "log", ministry.organisation.key.root.fingerprint_text)
    assert standing_fault(restarted, ship.device_id, "site", ministry.now) == "revoked"
