"""`tramontana text`: two devices that met once, then texts by hand, over datagrams and over a message centre, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cell.couriers import OFFICE, MemoryCourier
from tests.control.conftest import anyio_backend, houses, sky
from tests.control.house import Houses
from tests.device.world import PASSPHRASE, PATIENCE_S, enrolled, online, stored
from tramontana.cell.smpp.driver import Outgoing, SmscServer
from tramontana.cell.smpp.pdu import Address, CommandId, Message
from tramontana.cli.main import tramontana
from tramontana.cli.text_ways import BadWay, NotTaken, Way, for_one_device
from tramontana.device.sealed_post import Departing, WhichDevice
from tramontana.errors import LocalError, RemoteError

__all__ = ["anyio_backend", "houses", "sky"]
SHIP, OFFICE_NUMBER = "+881612345678", "+390651234"


def command(folder: Path, who: str, name: str, *arguments: str) -> list[str]:
    return ["text", name, "--data", str(folder / who), "--passphrase-file", str(folder / "passphrase"), *arguments]


def run(folder: Path, who: str, name: str, *arguments: str) -> Result:
    return CliRunner().invoke(tramontana, command(folder, who, name, *arguments))


async def beside(folder: Path, who: str, name: str, *arguments: str) -> Result:
    """The same while this process serves."""
    return await asyncio.to_thread(run, folder, who, name, *arguments)


async def started(folder: Path, who: str, name: str, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    line = [sys.executable, "-m", "tramontana.cli.main", *command(folder, who, name, *arguments)]
    return await asyncio.create_subprocess_exec(*line, stdout=pipe, stderr=pipe)


async def ended(process: asyncio.subprocess.Process) -> list[str]:
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().splitlines()


def free_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.anyio
async def test_two_who_met_once_write_without_a_network(houses: Houses, tmp_path: Path) -> None:
    for name, content in (("passphrase", PASSPHRASE), ("password", "secret")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    async with houses() as house:
        stores = {name: stored(tmp_path, name) for name in ("ada", "bruno")}
        people = {name: await enrolled(house, store, name.title()) for name, store in stores.items()}
        for name, store in stores.items():  # their key packages are at the server
            async with online(store, people[name]) as there:
                await there.online.follow()
            store.close()
        assert "no key yet" in str((await beside(tmp_path, "ada", "seal", "Bruno", "x")).exception)
        for who, to, number in (("bruno", "Ada", SHIP), ("ada", "Bruno", OFFICE_NUMBER), ("bruno", "Ada", SHIP)):
            met = await beside(tmp_path, who, "meet", to, "--number", number)
            assert met.exit_code == 0, met.output
        assert OFFICE_NUMBER in met.output  # told over the conversation
    # The server is gone.
    sealed = await beside(tmp_path, "ada", "seal", "Bruno", "Il varco nord è aperto.")
    assert "22 of 117 octets, 45 on the way" in sealed.stderr
    datagram = sealed.stdout.strip()
    opened = await beside(tmp_path, "bruno", "open", datagram)
    assert opened.stdout == "Ada: Il varco nord è aperto.\n"
    for octets, sentence in ((datagram, "seen before"), (datagram[:-2] + "00", "changed on its way"), ("00" * 40, "not here yet")):
        again = await beside(tmp_path, "bruno", "open", octets)
        assert isinstance(again.exception, RemoteError)
        assert sentence in again.stderr
        assert not again.stdout
    # By datagrams, each twice; it is shown once.
    way = f"udp://127.0.0.1:{free_port()}"
    listening = await started(tmp_path, "bruno", "receive", "--via", way, "--count", "2", "--json")
    assert listening.stderr is not None
    assert b"Listening" in await listening.stderr.readline()
    for body in ("uno", "due"):
        assert (await beside(tmp_path, "ada", "send", "Bruno", body, "--via", way, "--times", "2")).exit_code == 0
    assert [json.loads(line)["body"] for line in await ended(listening)] == ["uno", "due"]
    # Over a message centre: one short message of octets to the number that the other device told.
    centre = MemoryCourier()
    server, ready = SmscServer("OPERATOR", [OFFICE], centre), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(server.run("127.0.0.1", 0, ready.set_result))
    access = ["--via", f"smpp://office@127.0.0.1:{await ready}", "--password-file", str(tmp_path / "password")]
    sent = await beside(tmp_path, "ada", "send", "Bruno", "x" * 132, *access, "--from", OFFICE_NUMBER)
    assert sent.exit_code == 0, sent.output
    (message,) = centre.messages
    assert (message.destination.number, message.source.number, message.data_coding) == (SHIP, OFFICE_NUMBER, 4)
    assert len(message.octets) == 140
    phone = Message(CommandId.DELIVER_SM, Address.of(OFFICE_NUMBER), Address.of(SHIP), message.octets, data_coding=4)
    centre.queue.append(Outgoing("1", phone))
    assert await ended(await started(tmp_path, "bruno", "receive", *access, "--count", "1")) == ["Ada: " + "x" * 132]
    serving.cancel()
    await asyncio.wait([serving])
    kept = await beside(tmp_path, "ada", "send", "Bruno", "tre", *access, "--seconds", "1")
    assert isinstance(kept.exception, NotTaken)
    assert "to leave: sealed " in (waiting := await beside(tmp_path, "ada", "waiting")).stdout
    assert waiting.stdout.endswith(f", for {SHIP}\nnot shown yet: 0\n")
    # What was kept goes by another way, and two lines of one text do not look like two texts.
    listening = await started(tmp_path, "bruno", "receive", "--via", way, "--count", "2")
    assert listening.stderr is not None
    assert b"Listening" in await listening.stderr.readline()
    assert (await beside(tmp_path, "ada", "send", "Bruno", "uno\nAda: due", "--via", way, "--times", "1")).exit_code == 0
    assert await ended(listening) == ["Ada: tre", "Ada: uno", "  Ada: due"]
    waiting = await beside(tmp_path, "ada", "waiting")
    assert f"number {SHIP}" in waiting.stdout
    assert "to leave" not in waiting.stdout


def test_an_address_gets_texts_for_one_device_only() -> None:
    first, second = (Departing("1" * 32, "2" * 32, device, SHIP, b"", 0.0) for device in ("a" * 32, "b" * 32))
    assert for_one_device([first, first], None) == [first, first]
    assert for_one_device([first, second], second.device_id) == [second]
    with pytest.raises(WhichDevice, match="--device"):
        for_one_device([first, second], None)


def test_what_is_missing_is_said_before_anything_is_sealed(tmp_path: Path) -> None:
    result = run(tmp_path, "nobody", "send", "--via", "smpp://office@127.0.0.1:1")
    assert "--password-file" in str(result.exception)
    result = run(tmp_path, "nobody", "open", "00")
    assert isinstance(result.exception, LocalError)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://a", "is no way"),
        ("udp://127.0.0.1", "has no port"),
        ("smpp://127.0.0.1:2775", "has no system id"),
        ("smpp://office:secret@127.0.0.1", "does not belong into the address"),
        ("smpp://office@127.0.0.1:99999", "no usable port"),
    ],
)
def test_what_is_no_way_says_so(address: str, sentence: str) -> None:
    with pytest.raises(BadWay, match=sentence):
        Way.parse(address)
