"""A gateway's uplinks as a process of its own, for system tests and benchmarks.

python gateway_agent.py CONFIG      JSON: {"devices": {uplink: [device, address]}, "networks": […], "addresses": {uplink: site's address}}
"""

from __future__ import annotations

import asyncio
import json
import sys
from ipaddress import ip_network
from typing import Any

from tramontana.internet.linux.gateway_uplinks import GatewaySite, GatewayUplinks


async def main(config: dict[str, Any]) -> None:
    gateway = GatewayUplinks({int(uplink): (device, address) for uplink, (device, address) in config["devices"].items()})
    networks = [ip_network(network) for network in config["networks"]]
    gateway.add(GatewaySite("site", networks, {int(uplink): address for uplink, address in config["addresses"].items()}, 1))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(gateway.run())
        asyncio.get_running_loop().add_reader(sys.stdin, lambda: None if sys.stdin.readline() else running.cancel())
        print("ready", flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
