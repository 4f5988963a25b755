"""The script of the DHCP client, run by a shell with an `ip` that writes down what it is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tramontana.internet.linux.dhcp import lease_script


def told(folder: Path, event: str, lease: str) -> list[str]:
    """What the script has `ip` do when a server leases this address."""
    written = folder / "told"
    written.write_text("")
    tool = folder / "ip"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {written}\n')
    tool.chmod(0o700)
    script = folder / "script"
    script.write_text(lease_script(3, ["203.0.113.1", "2001:db8::1", "203.0.113.9"]))
    variables = {"interface": "eth1", "ip": lease, "mask": "24", "router": "192.0.2.1", "PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(["sh", str(script), event], env=variables, check=True)
    return written.read_text().splitlines()


@pytest.mark.parametrize("event", ["bound", "renew"])
def test_a_lease_becomes_the_address_and_the_router_the_way_out(tmp_path: Path, event: str) -> None:
    for lease in ("192.0.2.18", "203.0.113.10", "100.64.0.7", "10.169.254.1", "22.4.1.1", "1.0.0.1"):
        lines = told(tmp_path, event, lease)
        assert f"address replace {lease}/24 dev eth1" in lines
        assert "route replace default via 192.0.2.1 dev eth1 onlink table 3" in lines


@pytest.mark.parametrize("event", ["bound", "renew"])
@pytest.mark.parametrize(
    "lease",
    [
        "203.0.113.1",
        "203.0.113.9",
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
    ],
)
def test_a_lease_that_nobody_gives_honestly_takes_the_address_away(tmp_path: Path, event: str, lease: str) -> None:
    refused = told(tmp_path, event, lease)
    assert refused == told(tmp_path, "nak", "192.0.2.18")
    assert refused == ["-4 address flush dev eth1", "-4 route flush table 3"]
