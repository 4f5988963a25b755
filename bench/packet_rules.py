"""What a forwarded packet pays for each of the product's stages: marks, kill switch, rules of routing by class, shaping, egress hook.

A stream of UDP packets goes from one namespace through a second one, which forwards, to a third one, which drops them; without WireGuard,
so that only the kernel's path is measured. The sender's processor time counts, which on veth has the whole path in it: the least of the
turns for each set of rules, beside the same path without any. The rules are the product's own texts, for interfaces of these names.

Run as root: python bench/packet_rules.py [--turns 5] [--packets 60000]
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.internet.namespaces import Lab, lab, why_not
from tramontana.internet import kill_switch, rung_rules
from tramontana.internet.linux import flow_routes
from tramontana.internet.linux.flow_marks import FlowMarks, LocalNetwork
from tramontana.internet.linux.namespace import Namespace, run
from tramontana.internet.linux.traffic_control import apply as shape
from tramontana.internet.qos import plan

OCTETS = 1392
NETWORKS = [ip_network("10.64.2.0/24"), ip_network("fd64:2::/64")]
NAT = 'table ip nat { chain post { type nat hook postrouting priority srcnat; oifname "away" masquerade; }; }'
SITE_MARKS = FlowMarks(["away", "away2"], believed=False, local=[LocalNetwork(each) for each in NETWORKS]).ruleset()
SITE_FILTER = kill_switch.main_rules(["near"], ["away", "away2"])
GATEWAY = [
    FlowMarks(["near", "near2"], believed=True, branches={1: [*NETWORKS, ip_network("100.64.64.2")]}).ruleset(),
    kill_switch.gateway_rules(["near", "near2"], "away", ["10.64.2.0/24", "100.64.0.0/14"], site_to_site=False),
    rung_rules.gateway_rules([1, 2], ["near", "near2"]),
]
EGRESS = """table netdev egress { chain away { type filter hook egress device "away" priority 0; policy drop;
ip daddr { 198.51.100.9 } udp dport { 443, 5100-5300 } accept
ether type arp accept; }
}
"""


def made(space: Lab) -> Namespace:
    """near → router → away; what arrives is dropped at once."""
    space.add("near", "router", "away")
    space.join("near", "eth", "10.64.2.2/24", "router", "near", "10.64.2.1/24")
    space.join("router", "away", "198.51.100.1/24", "away", "eth", "198.51.100.9/24")
    space.run("near", "ip", "route", "add", "default", "via", "10.64.2.1")
    drop = "table netdev d { chain c { type filter hook ingress device eth priority 0; policy accept; ip protocol udp drop; }; }"
    space.run("away", "nft", drop)
    return Namespace(space.real("router"))


def each_us(sender: Namespace, packets: int) -> float:
    """Processor time of one packet, in a process of its own on one core."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {0})
        with sender.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
            stream.connect(("198.51.100.9", 5201))
            before, payload = 0.0, bytes(OCTETS)
            for count in range(-500, packets):
                if count == 0:
                    before = spent_s()
                stream.send(payload)
            os.write(writing, f"{(spent_s() - before) / packets * 1e6}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    return float(told)


def spent_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cleared(router: Namespace) -> None:
    run(["nft", "flush", "ruleset"], namespace=router)
    subprocess.run(router.command(["tc", "qdisc", "del", "dev", "away", "root"]), capture_output=True, check=False)
    for preference in range(flow_routes.OTHERS_PREFERENCE, flow_routes.BEHIND_PREFERENCE + 1):
        subprocess.run(router.command(["ip", "rule", "del", "pref", str(preference)]), capture_output=True, check=False)


def rules(*texts: str) -> Callable[[Namespace], None]:
    def put(router: Namespace) -> None:
        for text in texts:
            run(["nft", "-f", "-"], stdin=text, namespace=router)

    return put


def routed(router: Namespace) -> None:
    with router.entered():
        flow_routes.prepare()


def shaped(router: Namespace) -> None:
    with router.entered():
        shape("away", {1: plan(1e10)})


STAGES: dict[str, Callable[[Namespace], None]] = {
    "no rules": rules(),
    "address translation alone": rules(NAT),
    "site: marks": rules(SITE_MARKS),
    "site: kill switch": rules(SITE_FILTER),
    "site: marks and kill switch": rules(SITE_MARKS, SITE_FILTER),
    "gateway: all rules, with address translation": rules(*GATEWAY),
    "rules of routing by class": routed,
    "shaping": shaped,
    "egress hook of an uplink": rules(EGRESS),
}


def main() -> None:
    options = argparse.ArgumentParser(description="What a forwarded packet pays for each stage.")
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--packets", type=int, default=60_000)
    asked = options.parse_args()
    if reason := why_not():
        raise SystemExit(reason)
    found: dict[str, list[float]] = {stage: [] for stage in STAGES}
    with lab() as space:
        router = made(space)
        for _ in range(asked.turns):
            for stage, put in STAGES.items():
                cleared(router)
                put(router)
                found[stage].append(each_us(Namespace(space.real("near")), asked.packets))
    bare = min(found["no rules"])
    for stage, turns in found.items():
        print(f"{stage:46} {min(turns):5.2f} µs a packet, {min(turns) - bare:+.2f}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
