"""The device's file: sealed, whole, its owner's, one process at a time."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from tests.device.world import PASSPHRASE
from tramontana.device.storage import driver
from tramontana.device.storage.driver import FILE_NAME, SealedStore, StorageRefused
from tramontana.device.store import Change
from tramontana.keys.organisation import WrongPassphrase


def test_rows_come_back_after_a_restart_and_nothing_of_them_is_readable(tmp_path: Path) -> None:
    store = SealedStore.make(tmp_path / "d", PASSPHRASE)
    store.write([Change("t", "a", b"a very secret row"), Change("t", "b", b"2"), Change("u", "a", b"3")])
    store.write([Change("t", "b", None)])
    store.close()
    content = b"".join(path.read_bytes() for path in (tmp_path / "d").iterdir())
    assert b"a very secret row" not in content
    assert PASSPHRASE.encode() not in content
    store = SealedStore.open(tmp_path / "d", PASSPHRASE)
    assert store.read("t") == {"a": b"a very secret row"}
    assert store.read("u") == {"a": b"3"}
    store.close()
    with pytest.raises(WrongPassphrase):
        SealedStore.open(tmp_path / "d", "another one")


def test_nothing_of_a_row_that_is_gone_stays_in_any_file(tmp_path: Path) -> None:
    place = tmp_path / "d"
    store = SealedStore.make(place, PASSPHRASE)
    store.write([Change("t", str(number), b"a key of an epoch" * 20) for number in range(50)])
    sealed: list[bytes] = [row[0] for row in store._connection.execute("SELECT sealed FROM row")]
    store.write([Change("t", str(number), None) for number in range(50)])
    content = b"".join(path.read_bytes() for path in place.iterdir())  # while it is open
    assert not any(each[:40] in content for each in sealed)
    store.destroy()
    assert list(place.iterdir()) == []


def test_whoever_dies_while_a_device_is_made_can_begin_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead(BaseException):
        pass

    def die(*_args: object, **_more: object) -> bytes:
        raise Dead

    with monkeypatch.context() as patched:
        patched.setattr(driver, "seal", die)
        with pytest.raises(Dead):
            SealedStore.of_machine(tmp_path / "d")
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", die)
        with pytest.raises(Dead):
            SealedStore.of_machine(tmp_path / "d")
    SealedStore.of_machine(tmp_path / "d").close()


def test_a_row_in_another_place_is_refused(tmp_path: Path) -> None:
    store = SealedStore.make(tmp_path / "d", PASSPHRASE)
    store.write([Change("t", "a", b"1"), Change("t", "b", b"2")])
    store.close()
    with sqlite3.connect(tmp_path / "d" / FILE_NAME) as connection:
        connection.execute("UPDATE row SET sealed = (SELECT sealed FROM row WHERE key = 'b') WHERE key = 'a'")
    connection.close()
    store = SealedStore.open(tmp_path / "d", PASSPHRASE)
    with pytest.raises(StorageRefused, match="changed"):
        store.read("t")
    store.close()


def test_a_failed_write_leaves_everything_as_it_was(tmp_path: Path) -> None:
    store = SealedStore.make(tmp_path / "d", PASSPHRASE)
    store.write([Change("t", "a", b"1")])

    def changes() -> list[Change]:
        return [Change("t", "a", b"2"), Change("t", object(), b"3")]  # type: ignore[arg-type]

    with pytest.raises((StorageRefused, AttributeError)):
        store.write(changes())
    assert store.read("t") == {"a": b"1"}
    store.close()


def test_one_process_a_device_and_its_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "d"
    with pytest.raises(StorageRefused, match="no device"):
        SealedStore.open(place, PASSPHRASE)
    store = SealedStore.make(place, PASSPHRASE)
    with pytest.raises(StorageRefused, match="already"):
        SealedStore.make(place, PASSPHRASE)
    with pytest.raises(StorageRefused, match="another process"):
        SealedStore.open(place, PASSPHRASE)
    store.close()
    assert (place / FILE_NAME).stat().st_mode & 0o077 == 0
    place.chmod(0o750)
    with pytest.raises(StorageRefused, match="chmod"):
        SealedStore.open(place, PASSPHRASE)
