"""Configurations of sites and gateways: what is wrong is named, all of it at once."""

from __future__ import annotations

import re

import pytest

from tramontana.internet.kill_switch import gateway_rules, main_rules, uplink_rules
from tramontana.internet.settings import GatewaySettings, SettingsRefused, SiteSettings, parse_settings

COMMON = """
tag = "ship1"
state = "/var/lib/tramontana"
device_key = "/etc/tramontana/device.key"
certificate = "/etc/tramontana/certificate"
log = "/etc/tramontana/log"
organisation = "o"
"""
SITE = f"""{COMMON}
number = 2
networks = ["10.64.2.0/24", "fd00:2::/64"]
underlay = "uplinks"
local = ["lan"]
[[uplink]]
index = 1
interface = "eth1"
carrier = "starlink"
[[gateway]]
id = "{"0" * 31}1"
number = 0
address = "203.0.113.1"
"""
GATEWAY = f"""{COMMON}
number = 0
address = "203.0.113.1"
outside = "eth0"
uplinks = [1, 2]
[[site]]
id = "{"0" * 31}2"
number = 2
networks = ["10.64.2.0/24"]
"""


def test_what_is_left_out_has_a_default() -> None:
    site = parse_settings(SITE, SiteSettings, "site.toml")
    assert site.mtu == 1420
    assert site.renewal.timing().proof_s == 150
    assert parse_settings(GATEWAY, GatewaySettings, "gateway.toml").site_to_site is False


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ('tag = "ship1"', 'tag = "shipshape"', "tag"),
        ("number = 2", "number = 1", "number"),
        ("index = 1", "index = 16", "uplink.1.index"),
        ('underlay = "uplinks"', 'underlay = "../up"', "underlay"),
        ('interface = "eth1"', 'interface = "lan"', "interface lan stands there twice"),
        ('carrier = "starlink"', 'carier = "starlink"', "carier"),
        ('local = ["lan"]', "local = []", "local"),
        ('address = "203.0.113.1"', 'address = "rome.example"', "gateway.1.address"),
        ('"10.64.2.0/24"', '"10.64.2.1/24"', "networks"),
        ('carrier = "starlink"', 'carrier = "starlink"\nvia = "192.0.2.1"\ndhcp = true', "leave them out"),
        ('"fd00:2::/64"', '"fd00:2::%x;y/64"', "scope"),
        ('address = "203.0.113.1"', 'address = "fe80::1%a } b"', "scope"),
        ('carrier = "starlink"', 'carrier = "starlink"\nvia = "fe80::1%a"', "scope"),
        ('carrier = "starlink"', 'carrier = "starlink"\naddress = "fe80::1%a/64"', "scope"),
        ("number = 2", "number = ", "not TOML"),
    ],
)
def test_a_fault_of_a_site_is_named(before: str, after: str, word: str) -> None:
    assert before in SITE
    with pytest.raises(SettingsRefused) as refused:
        parse_settings(SITE.replace(before, after, 1), SiteSettings, "site.toml")
    assert "site.toml" in str(refused.value)
    assert word in str(refused.value)


def test_networks_of_two_sites_do_not_overlap() -> None:
    other = (
        GATEWAY[GATEWAY.index("[[site]]") :]
        .replace("2", "3", 1)
        .replace("number = 2", "number = 3")
        .replace("10.64.2.0/24", "10.64.0.0/16")
    )
    other = other.replace(f"{'0' * 31}2", f"{'0' * 31}3")
    with pytest.raises(SettingsRefused) as refused:
        parse_settings(GATEWAY + other, GatewaySettings, "gateway.toml")
    assert "overlap" in str(refused.value)


def test_rules_replace_what_was_there_in_one_text() -> None:
    texts = [
        main_rules(["lan"], ["ship1g0u1"]),
        uplink_rules({1: "eth1"}, ["203.0.113.1", "2001:db8::1"]),
        gateway_rules(["romeu1"], "eth0", ["10.64.2.0/24", "fd00:2::/64"], site_to_site=False),
    ]
    for text in texts:
        lines = text.splitlines()
        assert lines[0].startswith("table ")
        assert lines[1] == f"delete {lines[0]}"
        assert "policy drop" in text


def test_a_site_forwards_between_local_networks_and_tunnels_and_not_from_tunnel_to_tunnel() -> None:
    (line,) = (line for line in main_rules(["lan", "lan2"], ["ship1u1", "ship1u2"]).splitlines() if "iifname . oifname" in line)
    pairs = {tuple(re.findall(r'"(\w+)"', pair)) for pair in line.partition("{")[2].split(",")}
    inside, outside = {"lan", "lan2", "lo"}, {"ship1u1", "ship1u2"}
    assert line.strip().endswith("} accept")
    assert pairs == {(one, other) for one in inside | outside for other in inside | outside if not {one, other} <= outside}


def test_only_an_uplink_that_asks_for_its_address_may_ask() -> None:
    chains = uplink_rules({1: "eth1", 2: "eth2"}, ["203.0.113.1"], {2}).split("chain ")[1:]
    assert ["udp dport 67 accept" in chain for chain in chains] == [False, True]


def test_a_gateway_forwards_nothing_to_its_own_metadata_whoever_asks() -> None:
    lines = [line.strip() for line in gateway_rules(["romeu1"], "eth0", ["10.64.2.0/24"], site_to_site=True).splitlines()]
    accepted = next(place for place, line in enumerate(lines) if line.endswith("accept"))
    for drop in ("ip daddr 169.254.0.0/16 drop", "ip6 daddr fd00:ec2::/32 drop", "ip6 daddr fd20:ce::/32 drop"):
        assert drop in lines[:accepted]


def test_sites_reach_each_other_only_if_they_may() -> None:
    def rules(*, may: bool) -> str:
        return gateway_rules(["romeu1"], "eth0", ["10.64.2.0/24"], site_to_site=may)

    between = 'iifname "romeu1" oifname "romeu1" accept'
    assert between in rules(may=True)
    assert between not in rules(may=False)


def test_a_site_has_of_the_gateway_itself_only_what_its_agents_need() -> None:
    def chain(name: str, *services: tuple[str, int]) -> list[str]:
        text = gateway_rules(["romeu2", "romeu1"], "eth0", [], site_to_site=True, services=services)
        return [line.strip() for line in text.partition(f"chain {name} {{")[2].partition("}\n  ")[0].splitlines() if line.strip()]

    assert chain("input")[-1] == 'iifname { "romeu1", "romeu2" } goto of_site'
    rules = chain("of_site")
    assert rules[-1] == "drop"
    assert [each for each in rules if "dport" in each] == ["udp dport 51850 accept"]
    assert [each for each in chain("of_site", ("tcp", 443)) if each not in rules] == ["tcp dport 443 accept"]


@pytest.mark.parametrize("service", ["443", "tcp/0", "tcp/65536", "sctp/9", "tcp/443 accept; udp"])
def test_a_service_for_sites_is_a_port(service: str) -> None:
    with pytest.raises(SettingsRefused):
        parse_settings(f'open_to_sites = ["{service}"]\n{GATEWAY}', GatewaySettings, "gateway.toml")
    parse_settings(f'open_to_sites = ["udp/3478"]\n{GATEWAY}', GatewaySettings, "gateway.toml")
