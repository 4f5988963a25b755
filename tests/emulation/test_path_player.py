"""The path player over real sockets on loopback."""

from __future__ import annotations

import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.emulation.sample_profiles import steady
from tramontana.control_socket import ControlSocketError
from tramontana.emulation.clients import NEWCOMERS_PER_FRONT
from tramontana.emulation.control_protocol import MAX_LINE_BYTES, Attach
from tramontana.emulation.driver import PathPlayer
from tramontana.emulation.link import Direction, loss_draw
from tramontana.path_profile import PathProfile

PATIENCE_S = 20.0
"""How long a test waits for what must happen; nothing is concluded from how long it took."""


def udp(*, buffer: int = 1 << 20) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    opened.bind(("127.0.0.1", 0))
    opened.settimeout(PATIENCE_S)
    return opened


class Controller:
    """A control connection, bytes in and bytes out."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def ask(self, line: bytes) -> dict[str, Any]:
        self._socket.sendall(line)
        answer: dict[str, Any] = json.loads(self._lines.readline())
        return answer

    def attach(self, flow: str, profile: PathProfile, upstream: socket.socket, *, seed: int = 1, port: int | None = None) -> int:
        answer = self.ask(Attach(flow, profile, seed, upstream.getsockname(), port).encode())
        assert answer["ok"], answer
        return int(answer["port"])

    def stats(self, flow: str) -> dict[str, Any]:
        counts: dict[str, Any] = self.ask(b'{"op":"stats"}\n')["flows"][flow]
        return counts

    def ended(self) -> bool:
        """Whether the player hangs up (waits for it)."""
        return self._lines.read() == b""

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def playing(path: Path) -> Iterator[PathPlayer]:
    player = PathPlayer(path)
    thread = threading.Thread(target=player.run)
    thread.start()
    try:
        yield player
    finally:
        player.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "player.sock"
    with playing(path):
        yield path


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(phone, upstream)"""
    with udp() as phone, udp() as upstream:
        yield phone, upstream


def now_steady(**what: Any) -> PathProfile:
    return steady(start=time.time() - 1, **what)


def test_the_wire_has_the_fates_of_the_core(control: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    phone, upstream = ends
    seed, n, loss = 2024, 400, 0.3
    with Controller(control) as controller:
        front = ("127.0.0.1", controller.attach("a", now_steady(loss=loss, delay_s=0.01), upstream, seed=seed))
        for number in range(n):
            phone.sendto(number.to_bytes(2, "big"), front)
        survivors = [number for number in range(n) if loss_draw(seed, Direction.UP, number) >= loss]
        received = []
        for _ in survivors:
            data, client = upstream.recvfrom(100)
            received.append(int.from_bytes(data, "big"))
        assert received == survivors
        for number in range(n):
            upstream.sendto(number.to_bytes(2, "big"), client)
        survivors_down = [number for number in range(n) if loss_draw(seed, Direction.DOWN, number) >= loss]
        assert [int.from_bytes(phone.recv(100), "big") for _ in survivors_down] == survivors_down
        stats = controller.stats("a")
        assert (stats["up"]["received"], stats["up"]["lost"], stats["up"]["released"]) == (n, n - len(survivors), len(survivors))
        assert (stats["down"]["received"], stats["down"]["lost"]) == (n, n - len(survivors_down))


def test_no_packet_comes_out_early(control: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    phone, upstream = ends
    delay_s = 0.06
    with Controller(control) as controller:
        front = ("127.0.0.1", controller.attach("a", now_steady(delay_s=delay_s), upstream))
        for _ in range(5):
            sent_at = time.monotonic()
            phone.sendto(b"up", front)
            _, client = upstream.recvfrom(100)
            assert time.monotonic() - sent_at >= delay_s - 1e-5  # the profile's time has a resolution of 0.24 µs
            sent_at = time.monotonic()
            upstream.sendto(b"down", client)
            assert phone.recv(100) == b"down"
            assert time.monotonic() - sent_at >= delay_s - 1e-5


def test_traffic_goes_on_when_the_controller_dies_and_a_new_one_finds_the_flow(
    control: Path, ends: tuple[socket.socket, socket.socket]
) -> None:
    phone, upstream = ends
    with Controller(control) as controller:
        port = controller.attach("a", now_steady(), upstream)
    phone.sendto(b"still there?", ("127.0.0.1", port))
    data, client = upstream.recvfrom(100)
    assert data == b"still there?"
    upstream.sendto(b"yes", client)
    assert phone.recv(100) == b"yes"
    with Controller(control) as controller:
        assert controller.attach("a", now_steady(), upstream) == port
        assert controller.stats("a")["up"]["received"] == 1


def test_a_new_profile_drops_nothing_that_is_under_way(control: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    phone, upstream = ends
    with Controller(control) as controller:
        port = controller.attach("a", now_steady(delay_s=0.3), upstream)
        phone.sendto(b"slow", ("127.0.0.1", port))
        while controller.stats("a")["up"]["received"] == 0:
            pass
        assert controller.attach("a", now_steady(delay_s=0.0), upstream) == port
        phone.sendto(b"fast", ("127.0.0.1", port))
        assert [upstream.recv(100), upstream.recv(100)] == [b"slow", b"fast"]


def test_a_flow_follows_its_upstream(control: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    phone, upstream = ends
    with Controller(control) as controller, udp() as another:
        port = controller.attach("a", now_steady(), upstream)
        phone.sendto(b"1", ("127.0.0.1", port))
        assert upstream.recv(100) == b"1"
        assert controller.attach("a", now_steady(), another) == port
        phone.sendto(b"2", ("127.0.0.1", port))
        data, client = another.recvfrom(100)
        another.sendto(data, client)
        assert phone.recv(100) == b"2"


def test_only_the_upstream_can_answer_a_client(control: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    phone, upstream = ends
    with Controller(control) as controller, udp() as stranger:
        port = controller.attach("a", now_steady(), upstream)
        phone.sendto(b"hello", ("127.0.0.1", port))
        _, client = upstream.recvfrom(100)
        stranger.sendto(b"forged", client)
        upstream.sendto(b"true", client)
        assert phone.recv(100) == b"true"


def test_a_wanted_port_is_given_and_a_taken_one_refused(control: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    phone, upstream = ends
    with udp() as free:
        port = free.getsockname()[1]
    with Controller(control) as controller:
        assert controller.attach("a", now_steady(), upstream, port=port) == port
        answer = controller.ask(Attach("b", now_steady(), 1, upstream.getsockname(), phone.getsockname()[1]).encode())
        assert answer["ok"] is False
        assert str(phone.getsockname()[1]) in answer["error"]
        assert list(controller.ask(b'{"op":"stats"}\n')["flows"]) == ["a"]


def test_detaching_closes_the_front(control: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    _, upstream = ends
    with Controller(control) as controller:
        port = controller.attach("a", now_steady(), upstream)
        assert controller.ask(b'{"op":"detach","flow":"a"}\n') == {"ok": True}
        assert controller.ask(b'{"op":"detach","flow":"a"}\n') == {"ok": True}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", port))


GOOD = json.loads(Attach("b", steady(), 1, ("127.0.0.1", 9), None).encode())
BAD_PROFILE: dict[str, Any] = {**GOOD["profile"], "loss": [2.0, 2.0]}

BAD_FIELDS: list[dict[str, Any]] = [
    {"flow": "x" * 200},
    {"flow": "a\nb"},
    {"seed": -1},
    {"seed": True},
    {"seed": 1.5},
    {"port": 0},
    {"port": 70000},
    {"port": "22"},
    {"upstream": None},
    {"upstream": ["localhost", 9]},
    {"upstream": ["127.0.0.1", 0]},
    {"profile": None},
    {"profile": {}},
    {"profile": BAD_PROFILE},
    {"profile": {**GOOD["profile"], "time_unix_s": [[1], [2]]}},
    {"profile": {**GOOD["profile"], "serving": [10**30, 0]}},
    {"extra": 1},
]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"op":"explode"}',
        b'{"op":["attach"]}',
        b'{"op":"stats","more":1}',
        b'{"op":"detach"}',
        b'{"op":"detach","flow":""}',
        *(json.dumps({**GOOD, **change}).encode() for change in BAD_FIELDS),
    ],
)
def test_a_malformed_request_is_refused_and_nothing_else_happens(
    control: Path, ends: tuple[socket.socket, socket.socket], line: bytes
) -> None:
    phone, upstream = ends
    with Controller(control) as controller:
        port = controller.attach("a", now_steady(), upstream)
        answer = controller.ask(line + b"\n")
        assert answer["ok"] is False
        assert answer["error"]
        assert list(controller.ask(b'{"op":"stats"}\n')["flows"]) == ["a"]
        phone.sendto(b"plays on", ("127.0.0.1", port))
        assert upstream.recv(100) == b"plays on"


def test_an_endless_request_ends_the_connection_only(control: Path) -> None:
    with Controller(control) as controller:
        assert controller.ask(b"x" * (MAX_LINE_BYTES + 1))["ok"] is False
        assert controller.ended()
    with Controller(control) as controller:
        assert controller.ask(b'{"op":"stats"}\n') == {"ok": True, "flows": {}}


def test_requests_in_one_go_are_answered_in_order(control: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    _, upstream = ends
    with Controller(control) as controller:
        first = controller.ask(b'{"op":"stats"}\nnonsense\n' + Attach("a", now_steady(), 1, upstream.getsockname()).encode())
        assert first == {"ok": True, "flows": {}}
        assert controller.ask(b"")["ok"] is False
        assert controller.ask(b"")["port"] > 0


def test_a_crowd_of_strangers_gets_few_places(control: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    _, upstream = ends
    crowd = [udp(buffer=4096) for _ in range(3 * NEWCOMERS_PER_FRONT)]
    try:
        with Controller(control) as controller:
            port = controller.attach("a", now_steady(), upstream)
            for stranger in crowd:
                stranger.sendto(b"knock", ("127.0.0.1", port))
                upstream.recv(100)
            stats = controller.stats("a")
            assert stats["clients"] == NEWCOMERS_PER_FRONT
            assert stats["displaced"] == len(crowd) - NEWCOMERS_PER_FRONT
            crowd[0].sendto(b"again", ("127.0.0.1", port))  # a displaced one simply is a stranger again
            data, client = upstream.recvfrom(100)
            upstream.sendto(data, client)
            assert crowd[0].recv(100) == b"again"
    finally:
        for stranger in crowd:
            stranger.close()


def test_the_control_socket_is_private(control: Path) -> None:
    assert stat.S_IMODE(control.lstat().st_mode) == 0o600


def test_a_leftover_socket_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "player.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with playing(path), Controller(path) as controller:
        assert controller.ask(b'{"op":"stats"}\n')["ok"]
    assert not path.exists()


def test_a_second_player_does_not_take_the_socket_of_the_first(control: Path) -> None:
    with pytest.raises(ControlSocketError, match="Another path player"):
        PathPlayer(control)
    with Controller(control) as controller:
        assert controller.ask(b'{"op":"stats"}\n')["ok"]


def test_what_is_not_a_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ControlSocketError, match="not a socket"):
        PathPlayer(path)
    assert path.read_text() == "data"


@pytest.mark.parametrize("name", ["missing/player.sock", "x" * 200])
def test_an_impossible_place_for_the_socket_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(ControlSocketError, match="Choose another place with --control"):
        PathPlayer(tmp_path / name)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "player.sock.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ControlSocketError, match="Choose another place with --control"):
        PathPlayer(tmp_path / "player.sock")
    assert not (tmp_path / "elsewhere").exists()
