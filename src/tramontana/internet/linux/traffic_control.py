"""Puts a `Shaping` on a tunnel interface with `tc`: an HTB class for every flow class, each with a bounded queue.

It stands on the WireGuard interface, before encryption, where the class of a packet is known: `linux/flow_marks.py` sets the packet's
priority to its leaf. A site has one branch; a gateway's interface one for each site. Applying the same again changes nothing that is in
use; queues that stand keep their packets. Needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from tramontana.internet.flow_class import FlowClass, Kind
from tramontana.internet.linux.namespace import HostRefused, run
from tramontana.internet.qos import Shaping, Share

HIGHEST_BRANCH: Final = 4095
_BRANCH_STEP: Final = 16
_CONTROL: Final = 12
_BURST_S: Final = 0.001
_LEAST_BURST: Final = 2 * 1514


def leaf_minor(branch: int, flow: FlowClass | None) -> int:
    """Minor number of a leaf; the major is 1. branch: 1–4095."""
    if not 1 <= branch <= HIGHEST_BRANCH:
        raise ValueError(f"branch {branch}: a tunnel interface has room for branches 1 to {HIGHEST_BRANCH}")
    return branch * _BRANCH_STEP + (_CONTROL if flow is None else 1 + flow)


def apply(device: str, branches: Mapping[int, Shaping]) -> None:
    """Shape `device` so; branches that are not named are taken away. Raises `HostRefused`; what was shaped before then stays."""
    lines: list[str] = []
    if not _has_htb(device):
        lines.append(f"qdisc replace dev {device} root handle 1: htb default {leaf_minor(min(branches), FlowClass.DATA_ROUTINE):x}")
    else:
        lines += _removals(device, branches)
    for branch, shaping in sorted(branches.items()):
        parent = branch * _BRANCH_STEP
        burst = max(_LEAST_BURST, int(shaping.rate_bps * _BURST_S / 8))
        whole = f"htb rate {_bit(shaping.rate_bps)} burst {burst} cburst {burst}"
        lines.append(f"class replace dev {device} parent 1: classid 1:{parent:x} {whole}")
        for share in shaping.shares:
            lines += _leaf(device, branch, parent, share, shaping.rate_bps, burst)
    run(["tc", "-batch", "-"], stdin="\n".join(lines) + "\n")


def remove(device: str) -> None:
    """Take the shaping away; nothing if there is none."""
    if _has_htb(device):
        run(["tc", "qdisc", "del", "dev", device, "root"])


def counters(device: str) -> dict[int, tuple[int, int]]:
    """(octets, packets) that each class sent, branches and leaves, by minor number. Empty if nothing is shaped."""
    shown = run(["tc", "-s", "class", "show", "dev", device])  # `tc -j` knows classes only since iproute2 6.2
    found = re.findall(r"^class htb 1:([0-9a-f]+) .*\n Sent (\d+) bytes (\d+) pkt", shown, re.MULTILINE)
    return {int(minor, 16): (int(octets), int(packets)) for minor, octets, packets in found}


def branch_counters(device: str) -> dict[int, tuple[int, int]]:
    """(octets, packets) that each branch sent."""
    return {minor // _BRANCH_STEP: counted for minor, counted in counters(device).items() if minor % _BRANCH_STEP == 0}


def _leaf(device: str, branch: int, parent: int, share: Share, rate_bps: float, burst: int) -> list[str]:
    minor = leaf_minor(branch, share.flow)
    return [
        f"class replace dev {device} parent 1:{parent:x} classid 1:{minor:x} htb rate {_bit(share.guaranteed_bps)} ceil {_bit(rate_bps)} "
        f"prio {share.priority} quantum 1514 burst {_LEAST_BURST} cburst {burst}",
        f"qdisc replace dev {device} parent 1:{minor:x} handle {minor + 1:x}: {_queue(share)}",
    ]


def _queue(share: Share) -> str:
    if share.flow is not None and share.flow.kind is not Kind.VOICE and _has_fq_codel():
        return "fq_codel"  # fair among connections, and short by itself
    return f"bfifo limit {share.queue_octets}"


@lru_cache(maxsize=1)
def _has_fq_codel() -> bool:
    """Whether this kernel has it: tried on the loopback of this namespace, where no shaping ever stands."""
    try:
        run(["tc", "qdisc", "add", "dev", "lo", "root", "handle", "ffff:", "fq_codel"])
    except HostRefused:
        return False
    run(["tc", "qdisc", "del", "dev", "lo", "root"])
    return True


def _removals(device: str, branches: Mapping[int, Shaping]) -> list[str]:
    minors = list(counters(device))
    gone = sorted((m for m in minors if m // _BRANCH_STEP not in branches), key=lambda m: m % _BRANCH_STEP == 0)  # leaves first
    return [f"class del dev {device} classid 1:{minor:x}" for minor in gone]


def _has_htb(device: str) -> bool:
    roots = json.loads(run(["tc", "-j", "qdisc", "show", "dev", device]).strip() or "[]")
    return any(q.get("root") and q.get("kind") == "htb" and q.get("handle") == "1:" for q in roots)


def _bit(bps: float) -> str:
    return f"{max(8, round(bps))}bit"
