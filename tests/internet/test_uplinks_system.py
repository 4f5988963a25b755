"""Uplinks over real WireGuard in namespaces: every kind of cut, with a stream of numbered packets that says what was lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.internet.namespaces import lab, require_namespaces
from tests.internet.tunnels import HERE, SERVER, SITE_NETWORK, Tunnels, build

pytestmark = [pytest.mark.system]
RATE = 200


@dataclass
class Stream:
    """What arrived of `RATE` packets a second."""

    sent: int
    numbers: list[int]
    arrivals: list[float]

    @property
    def lost(self) -> int:
        return self.sent - len(set(self.numbers))

    @property
    def longest_gap_s(self) -> float:
        return max(b - a for a, b in zip(self.arrivals, self.arrivals[1:], strict=False))


class Sending:
    """A stream from the host to the server for some seconds, begun at once."""

    def __init__(self, tunnels: Tunnels, seconds: float) -> None:
        self.sent = round(seconds * RATE)
        self._into = tunnels.made.python("server", str(HERE / "flow.py"), "receive", SERVER, "5000")
        assert self._into.stdout is not None
        assert self._into.stdout.readline() == "ready\n"
        self._out = tunnels.made.python("host", str(HERE / "flow.py"), "send", SERVER, "5000", str(seconds), str(RATE), "200", "0")
        assert self._out.stdout is not None
        assert self._out.stdout.readline() == "sending\n"

    def end(self) -> Stream:
        _, errors = self._out.communicate(timeout=120)
        assert self._out.returncode == 0, errors
        time.sleep(0.3)  # what is under way still counts
        output, errors = self._into.communicate(timeout=60)
        heard = json.loads(output)
        return Stream(self.sent, heard["numbers"], heard["arrivals"])


@pytest.fixture(scope="module")
def tunnels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnels]:
    require_namespaces("wireguard-go", "wg")
    with lab() as made:
        built = build(made, Path(tmp_path_factory.mktemp("tunnels")))
        built.start_gateway()
        yield built


@pytest.fixture
def site(tunnels: Tunnels) -> Iterator[Tunnels]:
    """The site's agent, anew for each test; all links whole. It carries over uplink 1."""
    for uplink in (1, 2, 3):
        tunnels.loss(uplink, 0)
        tunnels.link(uplink, True)
        tunnels.made.run("under", "ip", "route", "replace", f"10.9.{uplink}.0/24", "via", f"10.7.{uplink}.1")
    for table in ("main", *map(str, range(5400, 5411))):  # an agent goes on with the routes that it finds, and then decides nothing
        tunnels.made.run("site", "ip", "route", "flush", "table", table, "exact", "default", check=False)
    tunnels.start_site(sequence_file=str(tunnels.folder / "sequence"))
    tunnels.settle(1)
    yield tunnels
    assert tunnels.site is not None
    _, errors = tunnels.site.communicate(timeout=60)
    assert tunnels.site.returncode == 0, errors


def test_a_blackhole_is_left_for_the_next_carrier(site: Tunnels) -> None:
    sending = Sending(site, 3.0)
    site.loss(1, 100)
    switched = site.wait_for(2)
    stream = sending.end()
    assert "Starlink is dead" in switched["reason"]
    assert 0 < stream.lost < stream.sent / 2
    assert stream.numbers[-1] == stream.sent - 1


def test_a_link_that_goes_down_is_left_and_a_second_one_too(site: Tunnels) -> None:
    site.link(1, False)
    site.tell(link=[1, False])
    assert "has no link" in site.wait_for(2)["reason"]
    site.loss(2, 100)
    site.wait_for(3)
    sending = Sending(site, 1.0)
    assert sending.end().lost == 0


def test_a_predicted_outage_costs_not_one_packet(site: Tunnels) -> None:
    sending = Sending(site, 4.0)
    site.tell(planned=[1, 2.0, 8.0])
    switched = site.wait_for(2)
    site.loss(1, 100)
    stream = sending.end()
    assert "outage of Starlink predicted" in switched["reason"]
    assert stream.lost == 0


def test_thirty_percent_of_loss_is_left(site: Tunnels) -> None:
    site.loss(1, 30)
    switched = site.wait_for(2)
    assert "Starlink loses" in switched["reason"] or "Starlink is dead" in switched["reason"]
    assert Sending(site, 1.0).end().lost == 0


def test_a_new_address_behind_a_carriers_nat_moves_nothing(site: Tunnels) -> None:
    sending = Sending(site, 3.0)
    site.rebind(1, 7 if "10.9.1.2/" in site.made.run("nat", "ip", "address", "show", "dev", "n1") else 2)
    stream = sending.end()
    assert stream.lost < stream.sent / 4
    assert stream.numbers[-1] == stream.sent - 1
    assert all(event["to"] != 0 for event in site.events)


def test_without_any_key_nothing_goes_and_what_is_blocked_is_unreachable(site: Tunnels) -> None:
    for uplink in (1, 2, 3):
        site.tell(keyed=[uplink, False])
    assert "no post-quantum key" in site.wait_for(0)["reason"]
    stream = Sending(site, 0.5).end()
    assert stream.numbers == []
    shown = site.made.run("site", "ip", "route", "get", SERVER, check=False)
    assert "dev" not in shown
    before = len(site.events)
    site.tell(keyed=[3, True])
    site.wait_for(3, after=before)
    assert Sending(site, 0.5).end().lost == 0


def test_a_gateway_agent_that_starts_anew_is_told_again(site: Tunnels) -> None:
    site.loss(1, 100)
    assert site.gateway is not None
    site.gateway.communicate(timeout=60)
    site.made.run("gateway", "ip", "route", "flush", SITE_NETWORK)
    site.start_gateway()
    site.settle(2, 3)  # whichever was not given up before the gateway was back
    assert Sending(site, 0.5).end().lost == 0
