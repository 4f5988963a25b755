"""A gateway whose machine refuses something, and sites that take nothing of what they are sent; no interface is made."""

from __future__ import annotations

import asyncio
import socket
import time
from ipaddress import ip_network
from pathlib import Path
from typing import cast

import pytest

from tests.internet.routers import Ministry
from tramontana.internet.control_channel import Introduction, LogPart, LogWanted
from tramontana.internet.door import MOST_OF_ONE
from tramontana.internet.gateway.channel import driver as channel
from tramontana.internet.gateway.driver import SITES, GatewayAgent
from tramontana.internet.linux.namespace import HostRefused
from tramontana.internet.linux.wireguard import WireGuard
from tramontana.internet.settings import GatewaySettings, SitePlace
from tramontana.internet.tunnel_keys import Said, SiteConversation
from tramontana.private_file import make_private


class NoWireGuard:
    """Of a gateway that has no tunnels as yet."""

    def is_alive(self, *_: object) -> bool:
        return True

    name = "none"

    def remove(self, *_: object) -> None:
        pass

    def peers(self, *_: object) -> dict[bytes, object]:
        return {}


@pytest.fixture(name="ministry")
def _ministry() -> Ministry:
    return Ministry(int(time.time()) - 60)


def made(path: Path, ministry: Ministry, *sites: SitePlace) -> GatewayAgent:
    rome = ministry.certify("Rome", "gateway")
    make_private(path / "device.key", rome.key.reveal())
    (path / "certificate").write_bytes(rome.certificate.encoded)
    (path / "log").write_bytes(b"".join(len(entry).to_bytes(4, "big") + entry for entry in ministry.entries))
    settings = GatewaySettings.model_validate(
        {
            "tag": "gw",
            "state": path / "state",
            "device_key": path / "device.key",
            "certificate": path / "certificate",
            "log": path / "log",
            "organisation": ministry.organisation.key.root.fingerprint_text,
            "joined": True,
            "number": 1,
            "address": "192.0.2.1",
            "outside": "wan",
            "uplinks": [1],
        }
    )
    agent = GatewayAgent(settings, cast(WireGuard, NoWireGuard()))
    agent.places = {site.id: site for site in sites}
    agent.branches = {site.id: branch for branch, site in enumerate(sites, start=1)}
    return agent


def test_places_are_kept_once_the_machine_is_ready_for_them(tmp_path: Path, ministry: Ministry, monkeypatch: pytest.MonkeyPatch) -> None:
    ship = ministry.certify("Ship", "site")
    agent = made(tmp_path, ministry)
    refuses = [True]

    def prepare(_agent: GatewayAgent) -> None:
        if refuses[0]:
            raise HostRefused("no more files")

    monkeypatch.setattr(GatewayAgent, "prepare", prepare)
    place = SitePlace(id=ship.device_id, number=2, networks=(ip_network("10.64.1.0/24"),))
    with pytest.raises(HostRefused):
        agent.set_places([place], ())
    with pytest.raises(HostRefused):
        agent.look()
    assert not agent.state.read_places(SITES)
    refuses[0] = False
    agent.look()
    assert len(agent.state.read_places(SITES)) == 1


def test_one_part_of_the_log_answers_many_questions_and_strangers_make_room(tmp_path: Path, ministry: Ministry) -> None:
    ship = ministry.certify("Ship", "site")
    networks = (ip_network("10.64.1.0/24"),)
    agent = made(tmp_path, ministry, SitePlace(id=ship.device_id, number=2, networks=networks))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(agent._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        strangers = []
        for _ in range(MOST_OF_ONE + 5):
            strangers.append(socket.create_connection(("127.0.0.1", port)))
            strangers[-1].setblocking(False)
        for each in strangers[:5]:
            with pytest.raises((ConnectionResetError, AssertionError)):
                assert await loop.sock_recv(each, 1) != b""
        assert len(agent.door) == MOST_OF_ONE

        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        site = SiteConversation(ship, agent.own.device_id, ministry.register)
        parts: list[LogPart] = []

        async def exchange() -> None:
            writer.write(site.data_to_send())
            for event in site.receive_data(await reader.read(1 << 20), time.time()):
                match event:
                    case Said(LogPart() as part):
                        parts.append(part)
                    case _:
                        pass

        await exchange()
        site.say(Introduction(ship.certificate.encoded, 2, networks, {}, {}))
        while not parts:
            await exchange()
        assert len(agent.door) == MOST_OF_ONE  # it is no stranger any more
        parts.clear()
        for _ in range(50):
            site.say(LogWanted(0))
        await exchange()
        while not any(part.entries for part in parts):
            await exchange()
        site.say(LogWanted(1))
        while not any(part.start == 1 and part.entries for part in parts):
            await exchange()
        assert sum(bool(part.entries) for part in parts) < 10
        writer.close()
        for each in strangers:
            each.close()
        server.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_site_that_takes_nothing_is_cut_off(tmp_path: Path, ministry: Ministry, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = made(tmp_path, ministry)
    monkeypatch.setattr(channel, "MOST_UNSENT", 1000)

    async def run() -> None:
        near, far = socket.socketpair()
        _, writer = await asyncio.open_connection(sock=near)
        connection = channel.Connection(agent, writer, lambda: None)
        monkeypatch.setattr(connection._conversation, "data_to_send", lambda: bytes(1 << 22))
        connection._flush()
        assert writer.transport.is_closing()
        far.close()

    asyncio.run(asyncio.wait_for(run(), 60))
