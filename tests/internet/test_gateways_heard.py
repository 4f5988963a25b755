"""Which gateways a site has after one of them spoke: no gateway takes the others away."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from pathlib import Path

from tests.internet.test_settings import SITE
from tramontana.internet.control_channel import GatewayAt
from tramontana.internet.driver import StateDirectory
from tramontana.internet.settings import GatewayPlace, SiteSettings, parse_settings
from tramontana.internet.site.known_gateways import (
    GATEWAYS,
    MOST_REMADE,
    REMADE_PERIOD_S,
    heard_gateways,
    wait_until_remade_s,
    with_known_gateways,
)

ROME, MILAN, BARI = (f"{number:032x}" for number in (1, 2, 3))
SIX = IPv6Address("2001:db8::1")
KNOWN = (
    GatewayPlace(id=ROME, number=0, address=ip_address("203.0.113.1"), address_6=SIX),
    GatewayPlace(id=MILAN, number=1, address=ip_address("203.0.113.5")),
)


def nothing_wrong(_device_id: str) -> None:
    return None


def test_another_address_of_a_gateway_counts_by_its_own_word_alone_and_leaves_its_other_one() -> None:
    moved = [GatewayAt(ROME, 0, ip_address("198.51.100.9"))]
    assert heard_gateways(KNOWN, moved, MILAN, nothing_wrong) == KNOWN
    rome, milan = heard_gateways(KNOWN, moved, ROME, nothing_wrong)
    assert (str(rome.address), rome.address_6, milan) == ("198.51.100.9", SIX, KNOWN[1])


def test_another_address_of_ipv6_counts_by_the_gateways_own_word() -> None:
    other = IPv6Address("2001:db8::9")
    moved = [GatewayAt(ROME, 0, KNOWN[0].address, other)]
    assert heard_gateways(KNOWN, moved, MILAN, nothing_wrong) == KNOWN
    assert heard_gateways(KNOWN, moved, ROME, nothing_wrong)[0].address_6 == other


def test_another_number_of_a_gateway_counts_by_its_own_word_alone() -> None:
    renumbered = [GatewayAt(ROME, 7, KNOWN[0].address)]
    assert heard_gateways(KNOWN, renumbered, MILAN, nothing_wrong) == KNOWN
    assert heard_gateways(KNOWN, renumbered, ROME, nothing_wrong)[0].number == 7
    assert heard_gateways(KNOWN, [GatewayAt(ROME, 1, KNOWN[0].address)], ROME, nothing_wrong) == KNOWN  # it is Milan's


def test_a_new_gateway_counts_with_a_certificate_and_one_goes_by_its_revocation_alone() -> None:
    told = [GatewayAt(BARI, 2, ip_address("203.0.113.9"), SIX)]
    assert heard_gateways(KNOWN, told, MILAN, nothing_wrong)[2].address_6 == SIX
    assert [place.id for place in heard_gateways(KNOWN, told, MILAN, nothing_wrong)] == [ROME, MILAN, BARI]
    assert heard_gateways(KNOWN, told, MILAN, lambda each: "unknown" if each == BARI else None) == KNOWN
    assert [place.id for place in heard_gateways(KNOWN, told, MILAN, lambda each: "revoked" if each == ROME else None)] == [MILAN, BARI]


def test_a_configured_address_of_ipv6_stays_when_other_gateways_were_heard_of(tmp_path: Path) -> None:
    text = SITE.replace('address = "203.0.113.1"', f'address = "203.0.113.1"\naddress_6 = "{SIX}"')
    text = text.replace('state = "/var/lib/tramontana"', f'state = "{tmp_path}"\njoined = true')
    StateDirectory(tmp_path).write_places(GATEWAYS, [GatewayPlace(id=ROME, number=0, address=ip_address("198.51.100.9")), KNOWN[1]])
    rome, milan = with_known_gateways(parse_settings(text, SiteSettings, "it")).gateway
    assert (str(rome.address), rome.address_6, milan.address_6) == ("198.51.100.9", SIX, None)


def test_the_agent_is_made_anew_at_once_but_not_again_and_again() -> None:
    made = [100.0]
    assert wait_until_remade_s(made, 101.0) == 0
    while len(made) < MOST_REMADE:
        made.append(made[-1] + 1)
    assert wait_until_remade_s(made, made[-1]) == made[0] + REMADE_PERIOD_S - made[-1]
    assert wait_until_remade_s(made, made[0] + REMADE_PERIOD_S + 1) == 0
