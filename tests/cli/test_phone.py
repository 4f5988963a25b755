"""`tramontana phone` where it goes wrong: a clear sentence, and nothing lost. What it does right is in tests/system."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.control.conftest import anyio_backend, houses, sky
from tests.control.house import Houses
from tramontana.cli.main import tramontana
from tramontana.device.enrolment import Enrolment
from tramontana.device.requests import Unreachable
from tramontana.device.storage.driver import SealedStore, StorageRefused
from tramontana.device.store import Change
from tramontana.errors import LocalError
from tramontana.keys.organisation import WrongPassphrase

__all__ = ["anyio_backend", "houses", "sky"]

LINK = "http://127.0.0.1:1/phone#invite=KW_pgZ_qf06DsTnJow9FxuhcCqWeOLiygzs98Sekb5s&org=KW_pgZ_qf06DsTnJow9FxuhcCqWeOLiygzs98Sekb5s"
PAGE = Path(__file__).parents[2] / "docs" / "device.md"

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command with a directory and a passphrase of the test's own."""
    (tmp_path / "passphrase").write_text("a passphrase\n")
    (tmp_path / "passphrase").chmod(0o600)

    def command(name: str, *arguments: str) -> Result:
        kept = ["--data", str(tmp_path / "device"), "--passphrase-file", str(tmp_path / "passphrase")]
        return CliRunner().invoke(tramontana, ["phone", name, *arguments, *kept])

    return command


def test_there_is_no_device_yet(run: Run) -> None:
    for arguments in (("answer",), ("call", "Bruno"), ("measure", "Bruno"), ("listen", "Strait")):
        result = run(*arguments)
        assert isinstance(result.exception, StorageRefused)
        assert "enrol one there first" in str(result.exception)


def test_what_is_no_invitation_makes_nothing(run: Run, tmp_path: Path) -> None:
    result = run("enrol", "https://example.invalid/phone", "--name", "Ada")
    assert isinstance(result.exception, LocalError)
    assert "this is no invitation" in str(result.exception)
    assert not (tmp_path / "device").exists()


def test_an_enrolment_without_an_answer_can_be_repeated_with_the_same_key(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        assert isinstance(run("enrol", LINK, "--name", "Ada").exception, Unreachable)
    store = SealedStore.open(tmp_path / "device", "a passphrase")
    store.write([Change("device", "key", bytes(range(32)))])  # as it is after a first request went out
    store.close()
    assert isinstance(run("enrol", LINK, "--name", "Ada").exception, Unreachable)
    store = SealedStore.open(tmp_path / "device", "a passphrase")
    assert store.read("device")["key"] == bytes(range(32))
    store.close()
    (tmp_path / "passphrase").write_text("another\n")
    assert isinstance(run("enrol", LINK, "--name", "Ada").exception, WrongPassphrase)


@pytest.mark.anyio
async def test_a_device_is_not_enrolled_twice(run: Run, tmp_path: Path, houses: Houses) -> None:
    from tests.device.world import enrolled

    async with houses() as house:
        store = SealedStore.make(tmp_path / "device", "a passphrase")
        await enrolled(house, store, "Ada", certified=False)
        assert Enrolment.read(store) is not None
        store.close()
    result = run("enrol", LINK, "--name", "Ada")
    assert isinstance(result.exception, LocalError)
    assert "already" in str(result.exception)


def test_a_passphrase_comes_from_a_descriptor(tmp_path: Path) -> None:
    SealedStore.make(tmp_path / "device", "through a pipe").close()
    for words, expected in (
        (b"through a pipe\n", "there is no device here yet"),
        (b"another\n", "passphrase does not open"),
        (b"\n", "empty"),
    ):
        reading, writing = os.pipe()
        os.write(writing, words)
        os.close(writing)
        arguments = ["phone", "answer", "--data", str(tmp_path / "device"), "--passphrase-fd", str(reading)]
        assert expected in str(CliRunner().invoke(tramontana, arguments).exception)
    result = CliRunner().invoke(tramontana, ["phone", "answer", "--data", str(tmp_path / "device"), "--passphrase-fd", "999"])
    assert "descriptor 999 cannot be read" in str(result.exception)


def test_what_cannot_be_played_says_so_before_anybody_is_called(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("aiortc", reason="the extra `headless` is not installed")
    from tramontana.phone.headless.media.driver import NotAudible, Recorder, load_voice

    (tmp_path / "noise").write_bytes(b"no sound at all" * 100)
    with pytest.raises(NotAudible, match="cannot be played"):
        load_voice(tmp_path / "noise")
    with pytest.raises(NotAudible, match="cannot record"):
        Recorder(tmp_path / "missing" / "a.wav")
    assert len(load_voice(None)) >= 45


def test_the_page_names_commands_and_options_that_exist() -> None:
    lines = [line.split("#")[0].split() for line in PAGE.read_text().splitlines() if line.startswith("tramontana phone ")]
    assert {line[2] for line in lines} == {"enrol", "answer", "call", "measure", "listen"}
    for line in lines:
        said = CliRunner().invoke(tramontana, [*line[1:3], "--help"]).output
        for option in re.findall(r"--[a-z-]+", " ".join(line)):
            assert option in said, (line[2], option)
