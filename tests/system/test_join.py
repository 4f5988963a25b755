"""A site and a gateway from an invitation to traffic, and out again: real server, custodians, agents, WireGuard, in namespaces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests.system.routers import INTERNET_6, Agent, Routers, laid_out, missing_for_routers, nothing_in_the_clear, wait_for
from tramontana.cli.desk import Desk
from tramontana.cli.organisation_key import sign_for_server
from tramontana.control.bootstrap import make_administrator_link, make_invitation, organisation_of
from tramontana.control.store.requests import Proposal
from tramontana.internet.linux.namespace import run
from tramontana.internet.overlay import site_network_6
from tramontana.internet.settings import SiteSettings, parse_settings
from tramontana.keys.organisation import OrganisationKey
from tramontana.keys.profiles import DEFAULT_PROFILE

MISSING = missing_for_routers()
pytestmark = [pytest.mark.system, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]
ORIGIN = "http://203.0.113.1:8440"
SECRET = "a passphrase of the tests"
T = TypeVar("T")


def aside(work: Callable[[], T]) -> T:
    """In a thread of its own: this one has an event loop already where a browser was driven before."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


class Ministry:
    """An organisation with its server, which stands beside the gateway, and one custodian at work."""

    def __init__(self, network: Routers) -> None:
        self.network = network
        self.data = network.folder / "server"
        self.key = OrganisationKey.generate("Ministry", DEFAULT_PROFILE, now=int(time.time()) - 60)
        aside(lambda: organisation_of(self.data, lambda service, key: (self.key.root.encoded, sign_for_server(self.key, service, key))))
        self.server: subprocess.Popen[bytes] | None = None
        self.desks: list[Desk] = []

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "tramontana.cli.main",
            "serve",
            "--data",
            str(self.data),
            "--host",
            "203.0.113.1",
            "--behind-proxy",
        ]
        with (self.network.folder / "server.log").open("ab") as output:
            self.server = subprocess.Popen(self.network.namespace("gate").command(command), stdout=output, stderr=output)
        wait_for(self._listens, "the server listens")

    def _listens(self) -> bool:
        return "8440" in run(["ss", "-Hltn", "sport = :8440"], namespace=self.network.namespace("gate"))

    def stop(self) -> None:
        assert self.server is not None
        self.server.send_signal(signal.SIGTERM)
        self.server.wait(60)
        self.server = None

    def link(self, role: str) -> str:
        made = aside(lambda: make_invitation(self.data, role, Proposal(roles=(role,))))
        return f"{ORIGIN}/phone#invite={made.token.reveal()}&org={self.key.root.fingerprint_text}"

    def found(self) -> None:
        with self.network.namespace("gate").entered():
            for number in (1, 2):
                desk = Desk.enrol(self.link("custodian"), f"Custodian {number}", self.network.folder / f"desk{number}", SECRET)
                desk.follow_log()
                desk.found(self.key)
                self.desks.append(desk)

    def certify(self, name: str) -> str:
        """Wait for the request of this name, certify it; the device."""
        desk = self.desks[0]
        with self.network.namespace("gate").entered():
            wait_for(lambda: any(each["display_name"] == name for each in desk.requests()), f"{name} asks to be certified")
            request = next(each for each in desk.requests() if each["display_name"] == name)
            desk.follow_log()
            grant = desk.grant_for(request)
            desk.approve(request, grant)
            desk.issue(self.key, desk.find_request(request["request_id"]), grant)
        return str(request["device_id"])

    def shown(self, device_id: str) -> dict[str, Any]:
        """What the console shows of a site."""
        token = aside(lambda: make_administrator_link(self.data))[0].reveal()
        with self.network.namespace("gate").entered(), httpx.Client(base_url=f"{ORIGIN}/api/v1", timeout=60) as http:
            bearer = http.post("/admin/sessions", json={"token": token}).json()["token"]
            found = http.get("/admin/routers", headers={"Authorization": f"Bearer {bearer}"}).json()
        return next(dict(each) for each in found["sites"] if each["device_id"] == device_id)

    def renew(self, device_id: str) -> None:
        """A new certificate for a device that has one."""
        desk = self.desks[0]
        with self.network.namespace("gate").entered():
            desk.login()
            desk.follow_log()
            request = desk.find_request(desk.ask_for_change(device_id))
            grant = desk.grant_for(request)
            desk.approve(request, grant)
            desk.issue(self.key, desk.find_request(request["request_id"]), grant)

    def revoke(self, device_id: str, reason: str = "stolen") -> None:
        with self.network.namespace("gate").entered():
            self.desks[0].follow_log()
            self.desks[0].revoke(self.key, device_id, reason)


@contextmanager
def ministry_of(network: Routers) -> Iterator[Ministry]:
    made = Ministry(network)
    made.start()
    try:
        made.found()
        yield made
    finally:
        for desk in made.desks:
            desk.api.close()
        if made.server is not None:
            made.server.kill()
            made.server.wait()


def _join(network: Routers, word: str, link: str, *options: str) -> Agent:
    config, state = network.folder / f"{word}.toml", network.folder / word
    agent = Agent(word, network.namespace("site" if word == "site" else "gate"), config, state)
    network.agents[word] = agent
    names = ["--config", str(config), "--directory", str(state), "--name", word.capitalize(), "--foreground"]
    agent.start_command([sys.executable, "-m", "tramontana.cli.main", word, "join", *names, *options, link])
    return agent


def certificate_of(agent: Agent) -> bytes:
    return (agent.state / "certificate").read_bytes()


def test_invited_approved_connected_revoked(tmp_path: Path) -> None:
    with laid_out(tmp_path, uplinks=1) as network, ministry_of(network) as ministry:
        tag = f"t{os.getpid() % 10000}"
        site = network.namespace("site")
        run(["ip", "-n", str(site.name), "address", "add", "192.0.2.18/28", "dev", "up1"])
        run(["ip", "-n", str(site.name), "link", "set", "up1", "up"])
        run(["ip", "-n", str(site.name), "route", "add", "default", "via", "192.0.2.17"])
        network.ip("site", "address", "del", "fd64:2::1/64", "dev", "lan")  # so it gets a network of IPv6 from the server
        gateway = _join(
            network,
            "gateway",
            ministry.link("gateway"),
            "--outside",
            "out",
            "--address",
            "203.0.113.1",
            "--address-6",
            "2001:db8:113::1",
            "--uplinks",
            "1",
            "--tag",
            f"{tag}g"[:6],
        )
        gateway_id = ministry.certify("Gateway")
        network.wait_for(lambda: gateway.status() is not None, "the gateway runs")
        ship = _join(
            network,
            "site",
            ministry.link("site"),
            "--local",
            "lan",
            "--tag",
            f"{tag}s"[:6],
            "--underlay",
            network.namespace("under").name or "",
        )
        device_id = ministry.certify("Site")
        network.wait_until_up()
        before = [certificate_of(each) for each in (gateway, ship)]
        of_6 = site_network_6(ministry.key.root.organisation_id, 2)
        written = parse_settings(ship.config.read_text(), SiteSettings, "it")
        assert [str(each) for each in written.networks] == ["10.64.2.0/24", str(of_6)]
        assert str(written.gateway[0].address_6) == "2001:db8:113::1"
        network.ip("host", "address", "add", f"{of_6[2]}/64", "dev", "eth", "nodad")
        network.ip("host", "route", "replace", "default", "via", str(of_6[1]))
        network.wait_for(lambda: network.reaches(INTERNET_6), "the network of IPv6 that the server gave reaches the internet")
        assert ministry.shown(device_id)["networks"] == ["10.64.2.0/24", str(of_6)]

        network.wait_for(lambda: (ministry.shown(device_id)["state"] or {}).get("tunnel"), "the console knows what carries the site")
        state = ministry.shown(device_id)["state"]
        assert (state["tunnel"]["carrier_id"], state["tunnel"]["up"], state["blocked"]) == ("fibre", True, None)

        with network.namespace("host").entered(), httpx.Client(timeout=60) as browser:
            assert "Collegato tramite" in browser.get("http://10.64.2.1/", headers={"Accept-Language": "it"}).text
        with network.namespace("gate").entered(), pytest.raises(httpx.TransportError), httpx.Client(timeout=3) as outside:
            outside.get("http://10.64.2.1/")  # by the tunnel nobody reaches it

        with nothing_in_the_clear(network):
            ministry.stop()
            with network.traffic() as traffic:
                wait_for(lambda: len(traffic.answered) > 300, "traffic while the server is away")
            assert traffic.lost == 0

            ministry.start()
            # While the site is away, both get new certificates: it learns of them from the gateway, before there is any tunnel.
            ship.stop(signal.SIGTERM)
            for device in (gateway_id, device_id):
                ministry.renew(device)
            wait_for(lambda: certificate_of(gateway) != before[0], "the gateway has its new certificate")
            ship.start()
            network.wait_for(lambda: certificate_of(ship) != before[1], "the site has its new certificate")
            network.wait_until_up()

            ministry.revoke(device_id)
            wait_for(lambda: network.tunnels(gateway) == [], "the gateway has no tunnel of the site", patience_s=40)
            assert not network.reaches()
            network.wait_for(lambda: "revoked" in str((ship.status() or {}).get("blocked")), "the site says why")
            assert all(not tunnel["keyed"] for tunnel in network.tunnels(ship))

            ministry.revoke(gateway_id, "zeroise: captured")  # it hears so from the server, which lets it in no more
            left = gateway.state
            network.wait_for(lambda: "the organisation ordered it" in str((gateway.status() or {}).get("blocked")), "the gateway obeys")
            network.wait_for(lambda: [path.name for path in left.iterdir() if path.is_file()] == ["zeroised"], "its keys are destroyed")
