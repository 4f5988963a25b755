"""The TCP proxy with real sockets, rules and processes: a client and a server do not notice it, whatever they do."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.internet.namespaces import require_namespaces
from tests.internet.proxied import CLIENT, CLIENT_6, SERVER, SERVER_6, Proxied, proxied
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux import mptcp
from tramontana.internet.linux.namespace import Namespace

pytestmark = [pytest.mark.system]

PATIENCE_S = 60.0
NOBODY = "10.8.0.77"
MUCH = np.random.default_rng(5).bytes(6 << 20)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    require_namespaces()
    with proxied(tmp_path_factory.mktemp("proxied")) as made:
        made.start("gateway", "site")
        yield made


def here(ends: Proxied, name: str) -> Namespace:
    return Namespace(ends.made.real(name))


def listen(ends: Proxied, address: str = SERVER) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with here(ends, "server").entered():
        listener = socket.create_server((address, 0), family=family)
    listener.settimeout(PATIENCE_S)
    return listener


def dial(ends: Proxied, address: str, port: int, *, dscp: int = 0) -> socket.socket:
    with here(ends, "client").entered():
        client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    client.settimeout(PATIENCE_S)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    try:
        client.connect((address, port))
    except OSError:
        client.close()
        raise
    return client


def pair(ends: Proxied, address: str = SERVER) -> tuple[socket.socket, socket.socket]:
    """(the client's end, the server's end) of one connection."""
    with closing(listen(ends, address)) as listener:
        client = dial(ends, address, listener.getsockname()[1])
        server, _ = listener.accept()
    server.settimeout(PATIENCE_S)
    return client, server


def all_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def send_all(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize(("client_address", "address"), [(CLIENT, SERVER), (CLIENT_6, SERVER_6)])
def test_octets_pass_both_ways_and_an_end_of_stream_is_one_way(ends: Proxied, client_address: str, address: str) -> None:
    carried = ends.status("site")["carried"], ends.status("gateway")["carried"]
    client, server = pair(ends, address)
    with closing(client), closing(server):
        assert client.getsockname()[0] == client_address
        assert client.getpeername()[0] == address
        back: list[bytes] = []
        reader = threading.Thread(target=lambda: back.append(all_of(client)))
        reader.start()
        sender = threading.Thread(target=send_all, args=(client, MUCH))
        sender.start()
        assert hashlib.sha256(all_of(server)).digest() == hashlib.sha256(MUCH).digest()
        server.sendall(MUCH[::-1])  # after the client has ended its own way
        server.shutdown(socket.SHUT_WR)
        reader.join(PATIENCE_S)
        sender.join(PATIENCE_S)
        assert hashlib.sha256(back[0]).digest() == hashlib.sha256(MUCH[::-1]).digest()
    assert (ends.status("site")["carried"], ends.status("gateway")["carried"]) == (carried[0] + 1, carried[1] + 1)


def test_between_site_and_gateway_bbr_sends_at_both_ends(ends: Proxied) -> None:
    client, server = pair(ends)
    with closing(client), closing(server):
        port = client.getpeername()[1]
        (site,) = [line for line in ends.connections("site", port) if f"{CLIENT}:" in line.split()[3]]  # in the client's name
        (gateway,) = [line for line in ends.connections("gateway", port) if line.split()[3] == f"{SERVER}:{port}"]  # in the server's
        assert " bbr " in site
        assert " bbr " in gateway


@pytest.mark.parametrize("which", ["client", "server"])
def test_a_reset_stays_a_reset(ends: Proxied, which: str) -> None:
    client, server = pair(ends)
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    gone, stays = (client, server) if which == "client" else (server, client)
    reset(gone)
    with closing(stays), pytest.raises(ConnectionResetError):
        stays.recv(1)


@pytest.mark.parametrize("address", [SERVER, SERVER_6])
def test_what_is_refused_is_never_open(ends: Proxied, address: str) -> None:
    with closing(listen(ends, address)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        dial(ends, address, port)


def test_a_host_that_is_not_there_is_unreachable(ends: Proxied) -> None:
    with pytest.raises(OSError, match="No route to host"):
        dial(ends, NOBODY, 80)


def test_a_reader_who_stops_stops_the_sender(ends: Proxied) -> None:
    client, server = pair(ends)
    with closing(client), closing(server):
        client.setblocking(False)
        sent, since = 0, time.monotonic()
        while time.monotonic() < since + 2.0:  # as long as anything is taken
            with suppress(BlockingIOError):
                sent += client.send(MUCH)
                since = time.monotonic()
        assert sent < 40 << 20  # four sockets, two pipes
        client.shutdown(socket.SHUT_WR)
        assert len(all_of(server)) == sent


def test_a_connection_survives_another_carrier(ends: Proxied) -> None:
    client, server = pair(ends)
    with closing(client), closing(server):
        for link in (2, 1):
            ends.use(link)
            for one, other in ((client, server), (server, client)):
                one.sendall(b"over another")
                assert other.recv(64) == b"over another"


def test_packets_go_on_by_the_class_of_the_client(ends: Proxied) -> None:
    """DSCP 27 is data of flash; this site has no rules that take the mark away from it."""
    ends.made.run("site", "nft", "add table inet classes")
    ends.made.run("site", "nft", "add chain inet classes before { type filter hook prerouting priority mangle; }")
    ends.made.run("site", "nft", "add rule inet classes before iifname lan ip dscp 27 meta mark set 0x540004")
    ends.made.run("gateway", "nft", "add table inet seen")
    ends.made.run("gateway", "nft", "add chain inet seen come { type filter hook prerouting priority raw; }")
    ends.made.run("gateway", "nft", 'add rule inet seen come iifname "w*" ip dscp 27 tcp dport 1-65535 counter')
    with closing(listen(ends)) as listener, closing(dial(ends, SERVER, listener.getsockname()[1], dscp=27)):
        shown = ends.made.run("gateway", "nft", "list", "table", "inet", "seen")
        assert "packets 0" not in shown
    ends.made.run("site", "nft", "delete table inet classes")


def test_one_end_alone_is_enough_and_a_dead_proxy_lets_everything_through(ends: Proxied) -> None:
    for role in ("site", "gateway"):
        client, server = pair(ends)
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        ends.processes[role].kill()
        ends.processes[role].wait()
        for end in (client, server):
            with closing(end), pytest.raises(ConnectionResetError):  # not an end of stream that was none
                end.recv(1)
        until = time.monotonic() + PATIENCE_S
        while ends.takes(role):
            assert time.monotonic() < until
            time.sleep(0.05)
        client, server = pair(ends)
        with closing(client), closing(server):
            client.sendall(b"as it is")
            assert server.recv(64) == b"as it is"


def test_settings_name_the_sites_own_networks(tmp_path: Path) -> None:
    """What stays in the local network is not the proxy's: a SYN to it is let through as it is."""
    require_namespaces()
    with proxied(tmp_path) as ends:
        ends.start("site")
        ends.made.add("other")
        ends.made.join("other", "eth", "10.64.1.130/25", "site", "lan2", "10.64.1.129/25")
        ends.made.run("other", "ip", "route", "add", "default", "via", "10.64.1.129")
        ends.made.run("client", "ip", "route", "add", "10.64.1.128/25", "via", "10.64.1.1")
        with here(ends, "other").entered():
            listener = socket.create_server(("10.64.1.130", 0))
        with closing(listener), closing(dial(ends, "10.64.1.130", listener.getsockname()[1])):
            assert ends.status("site")["carried"] == 0


@pytest.mark.skipif(not mptcp.is_supported(), reason="this kernel has no MPTCP: fallback to TCP is not tested")
@pytest.mark.parametrize("gateway_has_it", [True, False])
def test_a_connection_that_may_use_several_uplinks_is_one_as_any_other(tmp_path: Path, gateway_has_it: bool) -> None:
    """Also where the gateway's kernel has no MPTCP: it is TCP then."""
    require_namespaces()
    with proxied(tmp_path) as ends:
        ends.made.run("gateway", "sysctl", "-qw", f"net.mptcp.enabled={int(gateway_has_it)}")
        ends.start("gateway")
        ends.start("site", several=[FlowClass.DATA_ROUTINE])
        client, server = pair(ends)
        with closing(client), closing(server):
            sender = threading.Thread(target=send_all, args=(client, MUCH))
            sender.start()
            assert hashlib.sha256(all_of(server)).digest() == hashlib.sha256(MUCH).digest()
            sender.join(PATIENCE_S)
            shown = ends.made.run("site", "nstat", "-asz", "MPTcpExtMPCapableSYNACKRX")
            assert int(shown.splitlines()[1].split()[1]) == int(gateway_has_it)
            reset(server)
            with pytest.raises(ConnectionResetError):
                all_of(client)
        with closing(listen(ends)) as nobody:
            port = nobody.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            dial(ends, SERVER, port)
