"""Traffic control and marks in namespaces of the test's own: a call beside a flood over a slow link, with and without the classes."""

from __future__ import annotations

import ast
import json
import statistics
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.internet.namespaces import Lab, lab, require_namespaces
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux.traffic_control import leaf_minor
from tramontana.internet.overlay import copy_address

FLOW = str(Path(__file__).with_name("flow.py"))
LINK_BPS = 4e6
PATIENCE_S = 60.0
APPLY = """
import sys
from ipaddress import ip_network
from tramontana.internet.flow_class import VoiceService
from tramontana.internet.linux import flow_marks, traffic_control
from tramontana.internet.qos import plan
from tramontana.precedence import Precedence
own = [flow_marks.LocalNetwork(ip_network(each), Precedence.FLASH) for each in ("10.1.0.0/24", "fd01::/64")]
marks = flow_marks.FlowMarks(["wg1"], False, own, [VoiceService(ip_network("10.3.0.2/32"), 3000, 3999)])
for _ in range(2):
    marks.apply()
    traffic_control.apply("wg1", {1: plan(float(sys.argv[1]))})
"""

pytestmark = [pytest.mark.system]


def chain_of_four(made: Lab) -> None:
    """host – site – modem – sink; the modem's link to the sink is slow and its queue deep, as a terminal's."""
    made.add("host", "site", "modem", "sink")
    made.join("host", "lan", "10.1.0.2/24", "site", "lan", "10.1.0.1/24")
    made.join("site", "wg1", "10.2.0.1/24", "modem", "in1", "10.2.0.2/24")
    made.join("modem", "air", "10.3.0.1/24", "sink", "air", "10.3.0.2/24")
    for name, gateway in (("host", "10.1.0.1"), ("site", "10.2.0.2"), ("sink", "10.3.0.1")):
        made.run(name, "ip", "route", "add", "default", "via", gateway)
    made.run("modem", "ip", "route", "add", "10.1.0.0/24", "via", "10.2.0.1")
    made.run("modem", "tc", "qdisc", "add", "dev", "air", "root", "tbf", "rate", f"{LINK_BPS:.0f}bit", "burst", "5000", "limit", "300000")


def call_beside_a_flood(made: Lab, port: int, dscp: int) -> tuple[list[float], int]:
    """(one-way delays of the call's packets that arrived, how many were sent)."""
    call, flood = (made.python("sink", FLOW, "receive", "10.3.0.2", str(p)) for p in (port, 5001))
    for process in (call, flood):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    senders = [
        made.python("host", FLOW, "send", "10.3.0.2", "5001", "4", "700", "1200", "0"),
        made.python("host", FLOW, "send", "10.3.0.2", str(port), "4", "50", "200", str(dscp)),
    ]
    for sender in senders:
        sender.communicate(timeout=PATIENCE_S)
    until = time.monotonic() + PATIENCE_S
    while any(queued(made, name, device) for name, device in (("site", "wg1"), ("modem", "air"))):
        assert time.monotonic() < until, "what was sent never leaves the queues"
        time.sleep(0.05)
    output, errors = call.communicate(timeout=PATIENCE_S)
    assert output, errors
    assert flood.communicate(timeout=PATIENCE_S)[0]
    heard = json.loads(output)
    return [delay for number, delay in zip(heard["numbers"], heard["delays"], strict=True) if number >= 50], 150


def queued(made: Lab, name: str, device: str) -> int:
    """Octets that wait at an interface."""
    shown = json.loads(made.run(name, "tc", "-s", "-j", "qdisc", "show", "dev", device))
    return sum(int(each.get("backlog", 0)) for each in shown)


def apply(made: Lab, bps: float) -> None:
    done = made.python("site", "-c", APPLY, str(bps))
    _, errors = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, errors


def counted(made: Lab) -> dict[int, tuple[int, int]]:
    reader = made.python("site", "-c", "from tramontana.internet.linux import traffic_control as t; print(t.counters('wg1'))")
    output, errors = reader.communicate(timeout=PATIENCE_S)
    assert reader.returncode == 0, errors
    return dict(ast.literal_eval(output))


def leaf_packets(made: Lab, flow: FlowClass) -> int:
    return counted(made)[leaf_minor(1, flow)][1]


def test_a_call_does_not_wait_behind_a_flood_and_loses_nothing() -> None:
    require_namespaces()
    with lab() as made:
        chain_of_four(made)
        plain, sent = call_beside_a_flood(made, 5000, FlowClass.VOICE_ROUTINE.dscp)
        apply(made, LINK_BPS)
        shaped, _ = call_beside_a_flood(made, 5000, FlowClass.VOICE_ROUTINE.dscp)
        assert len(shaped) == sent
        assert statistics.median(plain) > 5 * statistics.median(shaped)
        by_address, _ = call_beside_a_flood(made, 3500, 0)  # the phone service's media, unmarked
        assert len(by_address) == sent
        assert statistics.median(plain) > 5 * statistics.median(by_address)
        assert leaf_packets(made, FlowClass.VOICE_ROUTINE) == 400
        assert leaf_packets(made, FlowClass.DATA_ROUTINE) > 1000


def test_marks_above_the_ceiling_of_a_network_are_lowered() -> None:
    require_namespaces()
    with lab() as made:
        chain_of_four(made)
        apply(made, 100e6)
        for flow, counted_as in [
            (FlowClass.VOICE_FLASH_OVERRIDE, FlowClass.VOICE_FLASH),
            (FlowClass.DATA_FLASH, FlowClass.DATA_FLASH),
            (FlowClass.BULK, FlowClass.BULK),
        ]:
            before = leaf_packets(made, counted_as)
            sender = made.python("host", FLOW, "send", "10.3.0.2", "5003", "0.2", "50", "200", str(flow.dscp))
            sender.communicate(timeout=PATIENCE_S)
            assert leaf_packets(made, counted_as) - before == 10
        apply(made, 1e6)  # again, at another rate: nothing that stands is torn down
        assert leaf_packets(made, FlowClass.VOICE_FLASH) == 10


DUPLICATE = """
import sys
from ipaddress import ip_network
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux.flow_marks import Copies, duplicate
networks = tuple(ip_network(each) for each in sys.argv[1:] if each != "off")
duplicate([] if "off" in sys.argv else [Copies((FlowClass.VOICE_ROUTINE,), "wg2", "10.4.0.2", networks)])
"""


def with_ipv6(made: Lab) -> None:
    """The same chain over IPv6, and the route by which copies find their way."""
    for name, device, address in [
        ("host", "lan", "fd01::2/64"),
        ("site", "lan", "fd01::1/64"),
        ("site", "wg1", "fd02::1/64"),
        ("modem", "in1", "fd02::2/64"),
        ("site", "wg2", "fd04::1/64"),
        ("modem", "in2", "fd04::2/64"),
        ("modem", "air", "fd03::1/64"),
        ("sink", "air", "fd03::2/64"),
    ]:
        made.run(name, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        made.run(name, "ip", "address", "add", address, "dev", device, "nodad")
    for name, gateway in (("host", "fd01::1"), ("site", "fd02::2"), ("sink", "fd03::1")):
        made.run(name, "ip", "-6", "route", "add", "default", "via", gateway)
    made.run("modem", "ip", "-6", "route", "add", "fd01::/64", "via", "fd02::1")
    made.run("site", "ip", "-6", "route", "add", f"{copy_address(IPv4Address('10.4.0.2'))}/128", "via", "fd04::2", "dev", "wg2")
    # Neighbours are asked from link-local addresses, and not before these are known to be nobody else's.
    deadline = time.monotonic() + PATIENCE_S
    while any(made.run(name, "ip", "-6", "address", "show", "tentative") for name in ("host", "site", "modem", "sink")):
        assert time.monotonic() < deadline, "the addresses of links stay tentative"
        time.sleep(0.05)


def test_small_urgent_packets_go_over_two_links_and_nothing_else_does() -> None:
    require_namespaces()
    with lab() as made:
        chain_of_four(made)
        made.join("site", "wg2", "10.4.0.1/24", "modem", "in2", "10.4.0.2/24")
        with_ipv6(made)
        made.run("modem", "tc", "qdisc", "del", "dev", "air", "root")
        apply(made, 100e6)
        voice = FlowClass.VOICE_ROUTINE
        there = ["10.3.0.0/24", "fd03::/64"]
        for networks, sink, flow, octets, times in [
            ([], "10.3.0.2", voice, 200, 2),
            ([], "10.3.0.2", voice, 600, 1),
            ([], "10.3.0.2", FlowClass.DATA_ROUTINE, 200, 1),
            (there, "10.3.0.2", voice, 200, 2),
            (there, "fd03::2", voice, 200, 2),
            (["10.3.1.0/24", "fd03:1::/64"], "10.3.0.2", voice, 200, 1),
            (["10.3.1.0/24", "fd03:1::/64"], "fd03::2", voice, 200, 1),
            (["off"], "10.3.0.2", voice, 200, 1),
        ]:
            set_up = made.python("site", "-c", DUPLICATE, *networks)
            _, errors = set_up.communicate(timeout=PATIENCE_S)
            assert set_up.returncode == 0, errors
            into = made.python("sink", FLOW, "receive", sink, "5004")
            assert into.stdout is not None
            assert into.stdout.readline() == "ready\n"
            sender = made.python("host", FLOW, "send", sink, "5004", "0.4", "50", str(octets), str(flow.dscp))
            sender.communicate(timeout=PATIENCE_S)
            heard = json.loads(into.communicate(timeout=PATIENCE_S)[0])["numbers"]
            assert sorted(heard) == sorted([*range(20)] * times), (networks, sink, flow, octets)


@pytest.mark.parametrize(("sent", "leaves"), [(47, 43), (46, 46), (0, 0), (48, 0), (8, 1)])
def test_a_mark_leaves_as_its_sender_may_claim_it(sent: int, leaves: int) -> None:
    """Above the ceiling, flash: as the ceiling. Network control: as routine data. An old mark of bulk: as the new one."""
    require_namespaces()
    with lab() as made:
        chain_of_four(made)
        made.join("site", "wg2", "10.4.0.1/24", "modem", "in2", "10.4.0.2/24")
        with_ipv6(made)
        apply(made, 100e6)
        made.run("modem", "nft", "add table inet seen")
        made.run("modem", "nft", "add chain inet seen come { type filter hook prerouting priority raw; }")
        for family in ("ip", "ip6"):
            made.run("modem", "nft", f"add rule inet seen come iifname in1 udp dport 9 {family} dscp {leaves} counter")
        for sink in ("10.3.0.2", "fd03::2"):
            made.python("host", FLOW, "send", sink, "9", "0.2", "50", "100", str(sent)).communicate(timeout=PATIENCE_S)
        shown = made.run("modem", "nft", "list", "table", "inet", "seen")
        assert shown.count("counter packets 10 ") == 2, shown


def test_branches_of_sites_come_and_go_on_a_gateway() -> None:
    require_namespaces()
    with lab() as made:
        chain_of_four(made)
        script = (
            "import sys, ipaddress\nfrom tramontana.internet.linux import flow_marks, traffic_control\n"
            "from tramontana.internet.qos import plan\n"
            "sites = [int(n) for n in sys.argv[1].split(',')]\n"
            "nets = {n: [ipaddress.ip_network(f'10.{n}.0.0/16'), ipaddress.ip_network(f'fd00:{n:x}::/64')] for n in sites}\n"
            "flow_marks.FlowMarks(['wg1'], True, branches=nets).apply()\n"
            "traffic_control.apply('wg1', {n: plan(1e6 * n) for n in sites})\n"
        )
        for sites in ("1,2,200", "2,200,201"):
            done = made.start("site", sys.executable, "-c", script, sites)
            _, errors = done.communicate(timeout=PATIENCE_S)
            assert done.returncode == 0, errors
            assert {minor // 16 for minor in counted(made)} == {int(site) for site in sites.split(",")}
