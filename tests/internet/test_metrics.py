"""Metrics of a gateway: the text as Prometheus reads it, and over HTTP."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress

import httpx
import pytest

from tramontana.errors import LocalError
from tramontana.internet.linux.metrics_server import serve_metrics
from tramontana.internet.metrics import Family, ShapedCount, exposition, gateway_families

SITE = "ab" * 16
TUNNEL = {
    "site": SITE,
    "uplink": 1,
    "up": True,
    "key_age_s": 12.5,
    "last_handshake_age_s": None,
    "received": 1000,
    "sent": 2_000_000_000_000,
}
STATUS = {
    "fault": None,
    "malformed": 3,
    "sites": [{"site": SITE, "control": "open", "carrying": 1, "switches": 2, "probe_age_s": 0.02, "tunnels": [TUNNEL]}],
}
PROXY = {"connections": 5, "carried": 70, "refused": 1, "passed_on": 0}
LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+')


def test_every_value_stands_with_its_labels_under_its_type() -> None:
    text = exposition(gateway_families(STATUS, [ShapedCount(SITE, 1, 5000, 40)], PROXY))
    lines = text.splitlines()
    assert f'tramontana_tunnel_sent_octets_total{{site="{SITE}",uplink="1"}} 2000000000000' in lines
    assert f'tramontana_site_sent_packets_total{{site="{SITE}",uplink="1"}} 40' in lines
    assert f'tramontana_site_blocked{{site="{SITE}"}} 0' in lines
    assert "tramontana_tcp_proxy_connections 5" in lines
    assert "tramontana_gateway_malformed_total 3" in lines
    assert not any("handshake_age" in line for line in lines)  # not known: no line, not a zero
    kinds = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE "))
    values = [line for line in lines if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in values)
    assert {re.split(r"[{ ]", line)[0] for line in values} == set(kinds)
    assert all((kind == "counter") == name.endswith("_total") for name, kind in kinds.items())


def test_a_site_without_a_way_is_blocked() -> None:
    blocked = {**STATUS, "sites": [{**STATUS["sites"][0], "carrying": None, "tunnels": []}]}  # type: ignore[index]
    text = exposition(gateway_families(blocked, [], None))
    assert f'tramontana_site_blocked{{site="{SITE}"}} 1' in text
    assert "carrying_uplink" not in text
    assert "tcp_proxy" not in text


def test_labels_are_escaped() -> None:
    text = exposition([Family("x", "gauge", "X.", (({"name": 'a "b"\\\n'}, 1.0),))])
    assert text.splitlines()[2] == 'x{name="a \\"b\\"\\\\\\n"} 1'


def test_metrics_are_served_on_the_loopback_alone() -> None:
    async def document() -> str:
        return "x 1\n"

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(LocalError, match="choose another metrics_port"):
                await serve_metrics(port, document)
        serving = asyncio.ensure_future(serve_metrics(port, document))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            while True:
                with suppress(httpx.ConnectError):
                    found = await client.get("/metrics")
                    break
                await asyncio.sleep(0.02)
            assert (found.status_code, found.text) == (200, "x 1\n")
            assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert (await client.get("/")).status_code == 404
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving

    asyncio.run(scenario())
