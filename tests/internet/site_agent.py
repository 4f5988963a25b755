"""A site's uplinks as a process of its own, for system tests and benchmarks.

    python site_agent.py CONFIG

CONFIG is JSON: "tunnels" as [uplink, device, address, gateway's address, carrier's id], "prefer" or "policy" (the text of a policy's file),
"shape", "sequence_file".

Standard input takes commands, one JSON object a line: {"link": [uplink, up]}, {"keyed": [uplink, keyed]}, {"planned": [uplink, seconds from
now until it begins, until it ends]}, {"used": [uplink, octets that its carrier carried this month]}. Standard output gives every decision
as a line of JSON, with `time.monotonic`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tramontana.carriers.catalogue import carrier
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux.flow_routes import EVERYTHING
from tramontana.internet.linux.site_uplinks import SiteTunnel, SiteUplinks
from tramontana.internet.overlay import TunnelId
from tramontana.internet.policy import Policy, Rule, parse_policy
from tramontana.internet.uplink_choice import Action, Blocked, PlannedOutage, Switch


def tell(actions: Sequence[Action]) -> None:
    for action in actions:
        if isinstance(action, Switch | Blocked) and FlowClass.DATA_ROUTINE in action.flows:
            to = action.to.uplink if isinstance(action, Switch) else 0
            print(json.dumps({"at": time.monotonic(), "to": to, "reason": action.reason}), flush=True)


async def main(config: dict[str, Any]) -> None:
    made = Policy(prefer=tuple(config["prefer"]), rules=(Rule(name="anything"),))
    policy = parse_policy(config["policy"]) if "policy" in config else made
    file = Path(config["sequence_file"]) if "sequence_file" in config else None
    uplinks = SiteUplinks(policy, EVERYTHING, sequence_file=file, shape=config.get("shape", False), on_actions=tell)
    by_uplink, carriers = {}, {}
    for uplink, device, address, gateway, carrier_id in config["tunnels"]:
        by_uplink[uplink], carriers[uplink] = TunnelId("site", "gateway", uplink), carrier_id
        uplinks.add(SiteTunnel(by_uplink[uplink], device, address, gateway, carrier(carrier_id)))
        uplinks.set_keyed(by_uplink[uplink], True)

    waiting = b""

    def read() -> None:
        """All lines that came: one that waited in a buffer of Python's would not make the descriptor readable again."""
        nonlocal waiting
        data = os.read(sys.stdin.fileno(), 65_536)
        if not data:
            running.cancel()
            return
        *lines, waiting = (waiting + data).split(b"\n")
        for line in lines:
            command(json.loads(line))

    def command(given: dict[str, list[Any]]) -> None:
        for name, (uplink, *values) in given.items():
            if name == "link":
                uplinks.set_link(uplink, values[0])
            elif name == "keyed":
                uplinks.set_keyed(by_uplink[uplink], values[0])
            elif name == "used":
                uplinks.set_used({carriers[uplink]: values[0]})
            else:
                now = time.monotonic()
                uplinks.set_planned(by_uplink[uplink], [PlannedOutage(now + values[0], now + values[1], "outage")])

    async with asyncio.TaskGroup() as group:
        running = group.create_task(uplinks.run())
        asyncio.get_running_loop().add_reader(sys.stdin, read)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
