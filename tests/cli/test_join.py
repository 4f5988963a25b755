"""What `join` finds on a machine, and the configuration and unit that it writes."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import tomllib
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.cli import join
from tramontana.cli import site as site_command
from tramontana.cli.main import tramontana
from tramontana.device.requests import Request
from tramontana.errors import LocalError
from tramontana.internet.linux.found import parse_interfaces
from tramontana.internet.overlay import site_network_6
from tramontana.internet.settings import GatewaySettings, SiteSettings, parse_settings

ROUTES = [{"dst": "default", "gateway": "192.0.2.1", "dev": "eth1", "metric": 200}, {"dst": "default", "dev": "wwan0", "metric": 700}]


def _link(name: str, *addresses: str, kind: str = "", dynamic: bool = False) -> dict[str, object]:
    pairs = [each.split("/") for each in addresses]
    info = [
        {
            "family": "inet6" if ":" in ip else "inet",
            "local": ip,
            "prefixlen": int(length),
            "scope": "link" if ip.startswith("fe80") else "global",
            "dynamic": dynamic,
        }
        for ip, length in pairs
    ]
    kind_of = {"linkinfo": {"info_kind": kind}} if kind else {}
    return {"ifname": name, "link_type": "loopback" if name == "lo" else "ether", "addr_info": info, **kind_of}


LINKS = [
    _link("lo", "127.0.0.1/8"),
    _link("wwan0", "10.1.2.3/30", dynamic=True),
    _link("eth0", "192.168.7.1/24", "fd12:3456:789a:1::9/64", "2001:db8:7::9/64", "fe80::9/64"),
    _link("eth1", "192.0.2.2/28"),
    _link("docker0", "172.17.0.1/16", kind="bridge"),
]
FOUND = parse_interfaces(ROUTES, LINKS)
GATEWAY = {"device_id": "ab" * 16, "display_name": "Rome", "number": 3, "address": "203.0.113.1", "address_6": "2001:db8::1"}
PLACE = {"number": 7, "networks": ["10.64.7.0/24", "fd00:1:2:7::/64"], "gateways": [GATEWAY]}
INJECTED = '7\nlocal = ["eth1", "eth0"]'


def test_ways_to_the_internet_are_uplinks_and_the_rest_is_local() -> None:
    assert [each.name for each in FOUND] == ["eth1", "wwan0", "eth0"]
    local = join.find_local((), FOUND, ())
    assert local == ["eth0"]
    uplinks = join.find_uplinks((), FOUND, local)
    assert uplinks == [join.Uplink("eth1", "fibre", "192.0.2.2/28", "192.0.2.1"), join.Uplink("wwan0", "4g", None, None)]
    networks = join.local_networks(local, FOUND)
    assert [str(each) for each in networks] == ["192.168.7.0/24", "fd12:3456:789a:1::/64"]
    assert [join.local_address(version, networks, local, FOUND) for version in (4, 6)] == [None, None]
    given = [ip_network("10.64.3.0/24"), ip_network("fd00:1:2:3::/64")]
    assert [join.local_address(version, given, local, FOUND) for version in (4, 6)] == ["10.64.3.1/24", "fd00:1:2:3::1/64"]
    assert join.local_address(6, given[:1], local, FOUND) is None
    assert join.asked_networks(["192.168.9.0/24"]) == ["192.168.9.0/24"]
    with pytest.raises(LocalError, match="--network"):
        join.asked_networks(["192.168.9.1/24"])


def test_uplinks_as_they_are_given() -> None:
    given = ("eth1=starlink", "wwan0=4g,198.51.100.2/30,198.51.100.1")
    uplinks = join.find_uplinks(given, FOUND, ["eth0"])
    assert uplinks == [
        join.Uplink("eth1", "starlink", "192.0.2.2/28", "192.0.2.1"),
        join.Uplink("wwan0", "4g", "198.51.100.2/30", "198.51.100.1"),
    ]
    for wrong in ("eth1", "eth9=starlink", "eth1=nobody", "eth1=starlink,here"):
        with pytest.raises(LocalError):
            join.find_uplinks((wrong,), FOUND, ["eth0"])
    with pytest.raises(LocalError, match="no interface"):
        join.find_local(("eth9",), FOUND, ())
    with pytest.raises(LocalError, match="--uplink"):
        join.find_uplinks((), FOUND, ["eth1", "wwan0"])


def test_a_site_whose_uplink_asks_for_an_address_is_not_joined_without_a_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(join, "check_root", lambda _role: None)
    monkeypatch.setattr(site_command, "interfaces", lambda: FOUND)
    config, directory = tmp_path / "site.toml", tmp_path / "site"
    words = ["site", "join", "--config", str(config), "--directory", str(directory), "http://203.0.113.1/phone#invite=x&org=y"]
    refused = CliRunner().invoke(tramontana, words)
    assert isinstance(refused.exception, LocalError)
    assert "wwan0" in str(refused.exception)
    assert "apt install udhcpc" in str(refused.exception)
    assert not config.exists()
    assert not directory.exists()
    fixed = [join.Uplink("eth1", "fibre", "192.0.2.2/28", "192.0.2.1"), join.Uplink("ppp0", "4g", None, None)]
    join.check_dhcp(fixed)  # nothing asks
    (tmp_path / "udhcpc").touch(0o755)
    join.check_dhcp(join.find_uplinks((), FOUND, ["eth0"]))


def test_the_configuration_that_is_written_is_one(tmp_path: Path) -> None:
    certified = join.Certified("site", "fingerprint", tmp_path / 'a "quoted" folder')
    place = join.parse_answer(PLACE, join.SiteGiven)
    uplinks = join.find_uplinks((), FOUND, ["eth0"])
    text = join.site_config(certified.common_lines("site", (41.9, -12.5)), "uplinks", place, uplinks, ["eth0"], FOUND)
    site = parse_settings(text, SiteSettings, "it")
    assert (site.number, site.joined, str(site.local_address), len(site.uplink)) == (7, True, "10.64.7.1/24", 2)
    assert [uplink.dhcp for uplink in site.uplink] == [False, True]
    assert (site.gateway[0].number, str(site.gateway[0].address_6)) == (3, "2001:db8::1")
    assert (list(map(str, site.networks)), str(site.local_address_6)) == (PLACE["networks"], "fd00:1:2:7::1/64")
    assert (site.latitude_deg, site.longitude_deg) == (41.9, -12.5)
    assert site.device_key == certified.device_key
    text = join.gateway_config(certified.common_lines("gate"), 3, "203.0.113.1", "2001:db8::1", "eth1", 2, site_to_site=True)
    gateway = parse_settings(text, GatewaySettings, "it")
    assert (gateway.number, gateway.uplinks, gateway.site_to_site, gateway.site) == (3, (1, 2), True, ())
    assert gateway.addresses == ["203.0.113.1", "2001:db8::1"]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (PLACE | {"number": INJECTED}, "number"),
        (PLACE | {"number": "7"}, "number"),
        (PLACE | {"number": True}, "number"),
        (PLACE | {"networks": ["fd00:1::%x;y/64"]}, "scope"),
        (PLACE | {"networks": ["8.8.8.0/24"]}, "private"),
        (PLACE | {"networks": ["0.0.0.0/0"]}, "private"),
        (PLACE | {"networks": [167772160]}, "networks.1"),
        (PLACE | {"networks": []}, "networks"),
        (PLACE | {"gateways": [GATEWAY | {"number": INJECTED}]}, "gateways.1.number"),
        (PLACE | {"gateways": [GATEWAY | {"address": "fe80::1%a } b"}]}, "scope"),
        (PLACE | {"gateways": [GATEWAY | {"device_id": "../x"}]}, "gateways.1.device_id"),
        (PLACE | {"gateways": [GATEWAY | {"address_6": "203.0.113.9"}]}, "gateways.1.address_6"),
        ({"number": 7}, "networks"),
        ("anything", "it"),
    ],
)
def test_a_place_that_is_none_is_refused_before_anything_is_written(answer: object, word: str) -> None:
    with pytest.raises(join.AnswerRefused, match=word):
        join.parse_answer(answer, join.SiteGiven)


def test_networks_that_are_there_are_asked_for_unless_the_server_gave_them() -> None:
    organisation_id = "0123456789abcdef" * 2
    there = [ip_network("192.168.7.0/24"), ip_network("10.64.7.0/24"), site_network_6(organisation_id, 7), ip_network("fd12::/64")]
    asked: list[Request] = []

    class Server:
        device = SimpleNamespace(membership=SimpleNamespace(root=SimpleNamespace(organisation_id=organisation_id)))

        async def request(self, request: Request) -> Any:
            asked.append(request)
            return PLACE

    for networks in ([], ["172.16.0.0/24"]):
        asyncio.run(join.site_place(Server(), networks, there))  # type: ignore[arg-type]
    assert [each.body for each in asked] == [{"networks": ["192.168.7.0/24", "fd12::/64"]}, {"networks": ["172.16.0.0/24"]}]


def test_what_the_server_injects_never_reaches_a_configuration() -> None:
    class Server:
        async def request(self, _request: object) -> Any:
            return PLACE | {"number": INJECTED}

    for ask in (lambda: join.site_place(Server(), []), lambda: join.gateway_place(Server(), "203.0.113.1")):  # type: ignore[arg-type]
        with pytest.raises(join.AnswerRefused, match="number"):
            asyncio.run(ask())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text()))
def test_texts_come_back_from_toml_as_they_were(texts: list[str]) -> None:
    assert tomllib.loads("\n".join(join.toml_lines(texts=texts, first="".join(texts)))) == {"texts": texts, "first": "".join(texts)}


def test_a_gateway_is_at_the_address_of_its_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert join.outside_of(FOUND, None, None) == ("eth1", "192.0.2.2")
    assert join.outside_of(FOUND, "eth0", None) == ("eth0", "192.168.7.1")
    assert "private" in capsys.readouterr().err
    assert join.outside_of(FOUND, "eth0", "2001:db8::1") == ("eth0", "2001:db8::1")
    assert join.address_of_6("2001:db8::1", "203.0.113.1") == "2001:db8::1"
    for wrong, beside in (("203.0.113.2", "203.0.113.1"), ("2001:db8::1", "2001:db8::2"), ("nowhere", "203.0.113.1")):
        with pytest.raises(LocalError, match="--address-6"):
            join.address_of_6(wrong, beside)
    for interface, address in (("eth9", None), (None, "nowhere")):
        with pytest.raises(LocalError):
            join.outside_of(FOUND, interface, address)


def test_the_unit_keeps_tunnels_and_comes_before_the_network() -> None:
    unit = join.unit_text("site", Path("/etc/tramontana/site.toml"))
    assert "KillMode=process" in unit
    assert "Before=network-pre.target" in unit
    assert "CPUSchedulingPolicy=rr\n" in unit  # with `fifo` two threads of wireguard-go that wait for each other hold a core for good
    assert "network-online" in join.unit_text("gateway", Path("/etc/tramontana/gateway.toml"))
    assert json.dumps(unit).isascii()


def test_a_unit_runs_the_configuration_whatever_it_is_called_and_nothing_from_where_it_stands() -> None:
    (line,) = [
        line for line in join.unit_text("site", Path('/etc/my %n $HOME "x"/site.toml')).splitlines() if line.startswith("ExecStart=")
    ]
    assert line.endswith(r' -P -m tramontana.cli.main site run --config "/etc/my %%n $$HOME \"x\"/site.toml"')


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="units are checked by systemd-analyze (Debian: systemd), which is missing"
)
@pytest.mark.parametrize("role", ["site", "gateway"])
def test_systemd_takes_the_unit(tmp_path: Path, role: join.Role) -> None:
    unit = tmp_path / f"tramontana-{role}.service"
    unit.write_text(join.unit_text(role, Path('/etc/my %n $HOME "x"/site.toml')))
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=120, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("Restart=always", "Restart=perhaps"))
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=120, check=False)
    assert "perhaps" in checked.stderr


def test_a_link_that_is_a_dash_comes_by_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("https://server.example/phone#invite=a&org=b\n"))
    assert join.given_link("-") == "https://server.example/phone#invite=a&org=b"
    assert join.given_link("https://x") == "https://x"
    assert join.given_link(None) is None
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(LocalError, match="standard input"):
        join.given_link("-")
