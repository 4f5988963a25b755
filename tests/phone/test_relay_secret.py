"""The relay's secret: who may read it, and credentials as coturn makes them."""

from __future__ import annotations

import os
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tramontana.phone.relay_secret import RelaySecret, RelaySecretError, load_or_make_relay_secret, load_relay_secret, parse_username

TEXT = "a-secret-of-32-characters-or-more"


def test_credentials_are_those_of_openssl() -> None:
    """printf 1800000000:device-1 | openssl dgst -sha1 -hmac TEXT -binary | base64"""
    issued = RelaySecret(TEXT).issue("device-1", 1_800_000_000.9)
    assert (issued.username, issued.credential) == ("1800000000:device-1", "JVR7gaIAdV0+iNMYYLUDUjmxNn8=")


def test_nothing_shows_the_secret() -> None:
    secret = RelaySecret(TEXT)
    assert TEXT not in f"{secret!r} {secret}"
    assert secret.issue("d", 1).credential not in repr(secret.issue("d", 1))
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize("text", ["", "short", "x" * 40 + "\n" + "y", "ü" * 40])
def test_an_unusable_secret_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(RelaySecretError) as refused:
        RelaySecret(text)
    assert not text or text not in str(refused.value)


@pytest.mark.parametrize("username", ["", "device", ":device", "1:", "-1:device", "1.5:device", "²:device", "9" * 13 + ":device", " 1:d"])
def test_other_usernames_are_none(username: str) -> None:
    assert parse_username(username) is None


def test_a_username_may_hold_colons() -> None:
    assert parse_username("12:a:b") == (12, "a:b")


def test_the_file_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "relay-secret"
    with pytest.raises(RelaySecretError, match="Start the server once"):
        load_relay_secret(path)
    with ThreadPoolExecutor(8) as threads:
        credentials = {secret.issue("d", 1).credential for secret in threads.map(load_or_make_relay_secret, [path] * 32)}
    assert len(credentials) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert load_relay_secret(path).issue("d", 1).credential in credentials


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "relay-secret"
    path.write_text(TEXT)
    path.chmod(mode)
    with pytest.raises(RelaySecretError, match="chmod 600"):
        load_or_make_relay_secret(path)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "relay-secret"
    load_or_make_relay_secret(path)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(RelaySecretError, match="another user"):
        load_relay_secret(path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"two words\nlines of text\n"])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "relay-secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(RelaySecretError):
        load_or_make_relay_secret(path)


def test_a_link_or_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").write_text(TEXT)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("link", "."):
        with pytest.raises(RelaySecretError):
            load_relay_secret(tmp_path / name)


def test_an_impossible_place_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RelaySecretError, match="Choose a directory"):
        load_or_make_relay_secret(tmp_path / "missing" / "relay-secret")
