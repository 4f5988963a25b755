"""The controller's state machine against a peer that loses, refuses and restarts; and the octets of CBSP."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cell.cbsp_peer import Peer, framed
from tramontana.cell import broadcast_network, cbsp
from tramontana.cell.cbsp import ALL_CELLS, BadCbsp, Cause, Cell, MessageType
from tramontana.cell.cell_broadcast import SerialNumber, encode
from tramontana.cell.controller import KEEP_ALIVE_S, Broadcast, CellState, Controller
from tramontana.errors import LocalError

CELLS = tuple(Cell(23, number) for number in range(1, 5))
FIRST = SerialNumber(7)


def broadcast(
    text: str = "Allontanarsi dalla costa", serial: SerialNumber = FIRST, cells: tuple[Cell, ...] = CELLS, lasts_s: float = 86400.0
) -> Broadcast:
    return Broadcast(4370, serial, encode(text, "it"), frozenset(cells), 10.0, lasts_s)


def settle(controller: Controller, peer: Peer, now: float) -> None:
    while octets := controller.octets_to_send():
        controller.receive(peer.receive(octets), now)


def is_quiet(controller: Controller, peer: Peer, now: float) -> bool:
    """Nothing is asked any more, however long one waits."""
    heard = len(peer.heard)
    for _ in range(3):
        now += 61.0
        controller.handle_timer(now)
        settle(controller, peer, now)
    return len(peer.heard) == heard


def air(peer: Peer) -> dict[Cell, int]:
    """The one serial number in each cell."""
    assert len({cell for cell, _, _ in peer.air}) == len(peer.air)
    return {cell: serial for cell, _, serial in peer.air}


def test_written_replaced_and_killed_in_every_cell() -> None:
    controller, peer = Controller(), Peer()
    controller.connected(0.0)
    controller.desire([broadcast()], 0.0)
    settle(controller, peer, 0.0)
    assert air(peer) == dict.fromkeys(CELLS, FIRST.value)
    controller.desire([broadcast("Pericolo cessato a nord", FIRST.updated(), CELLS[:3])], 1.0)
    settle(controller, peer, 1.0)
    assert air(peer) == dict.fromkeys(CELLS[:3], FIRST.updated().value)
    assert [asked.old for asked in peer.heard] == [None, FIRST.value, FIRST.value]
    controller.desire([], 2.0)
    settle(controller, peer, 2.0)
    assert not peer.air
    assert is_quiet(controller, peer, 2.0)
    last = {report.cell: report.state for report in controller.reports()}
    assert last == dict.fromkeys(CELLS, CellState.OFF_AIR)


def test_a_cell_that_refuses_is_asked_again_and_the_others_are_served() -> None:
    controller, peer = Controller(), Peer(refuses={CELLS[0]: Cause.CELL_MEMORY_EXCEEDED})
    controller.connected(0.0)
    controller.desire([broadcast()], 0.0)
    settle(controller, peer, 0.0)
    assert set(air(peer)) == set(CELLS[1:])
    failed = [report for report in controller.reports() if report.state is CellState.FAILED]
    assert [(report.cell, report.reason) for report in failed] == [(CELLS[0], "cell memory exceeded")]
    peer.refuses.clear()
    now = controller.next_timer()
    assert now is not None
    controller.handle_timer(now)
    settle(controller, peer, now)
    assert set(air(peer)) == set(CELLS)
    assert is_quiet(controller, peer, now)


def test_a_controller_that_lost_its_memory_gets_everything_again() -> None:
    controller, peer = Controller(), Peer()
    controller.connected(0.0)
    controller.desire([broadcast()], 0.0)
    settle(controller, peer, 0.0)
    controller.receive(peer.restart(), 5.0)
    settle(controller, peer, 5.0)
    assert set(air(peer)) == set(CELLS)


def test_what_was_killed_while_the_controller_was_away_does_not_stay_on_the_air() -> None:
    controller, peer = Controller(), Peer()
    controller.connected(0.0)
    controller.desire([broadcast()], 0.0)
    settle(controller, peer, 0.0)
    controller.disconnected()
    controller.desire([], 1.0)
    assert controller.octets_to_send() == b""
    controller.connected(2.0)
    settle(controller, peer, 2.0)
    assert not peer.air


def test_a_new_process_takes_over_what_an_older_one_put_on_the_air() -> None:
    peer = Peer(air={(cell, 4370, FIRST.value) for cell in CELLS})
    controller = Controller()
    controller.desire([broadcast("nuovo", FIRST.updated())], 0.0, still_there={(4370, 7): {cell: [FIRST] for cell in CELLS}})
    controller.connected(0.0)
    settle(controller, peer, 0.0)
    assert air(peer) == dict.fromkeys(CELLS, FIRST.updated().value)


def test_a_controller_that_never_hears_of_us_again_stops_near_the_end() -> None:
    controller, peer = Controller(), Peer()
    controller.connected(0.0)
    controller.desire([broadcast(lasts_s=100.0)], 0.0)
    settle(controller, peer, 0.0)
    period_s = 5 * cbsp.REPETITION_UNIT_S  # 10 s in units of the standard
    assert [(asked.type, asked.broadcasts) for asked in peer.heard] == [(MessageType.WRITE_REPLACE, math.ceil(100.0 / period_s))]
    controller.desire([broadcast(lasts_s=60.0)], 40.0)  # the same warning, looked at again
    controller.receive(peer.restart(), 40.0)
    settle(controller, peer, 40.0)
    assert peer.heard[-1].broadcasts == math.ceil(60.0 / period_s)
    long = cbsp.WriteReplace(4370, FIRST, CELLS, encode("x", "it"), 2.0, 1e9)
    assert long.broadcasts == 65535


def test_what_is_over_leaves_the_air_though_nobody_says_so() -> None:
    controller, peer = Controller(), Peer()
    controller.connected(0.0)
    controller.desire([broadcast(lasts_s=5.0)], 0.0)
    settle(controller, peer, 0.0)
    assert controller.next_timer() == 5.0
    controller.handle_timer(5.0)
    settle(controller, peer, 5.0)
    assert not peer.air
    controller.desire([broadcast(serial=FIRST.updated(), lasts_s=0.0)], 6.0)
    settle(controller, peer, 6.0)
    assert not peer.air


def test_a_silent_controller_is_noticed() -> None:
    controller = Controller()
    controller.connected(0.0)
    now = 0.0
    while not controller.is_silent(now):
        timer = controller.next_timer()
        assert timer is not None
        now = timer
        assert now < 4 * KEEP_ALIVE_S
        controller.handle_timer(now)
    assert controller.octets_to_send().count(cbsp.KeepAlive(10).encode()) == 3


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("desire"), st.integers(0, 15), st.sets(st.sampled_from(CELLS))),
        st.tuples(st.just("withdraw"), st.just(0), st.just(set())),
        st.tuples(st.just("lose connection"), st.just(0), st.just(set())),
        st.tuples(st.just("lose octets"), st.just(0), st.just(set())),
        st.tuples(st.just("restart"), st.just(0), st.just(set())),
        st.tuples(st.just("refuse"), st.sampled_from([0x03, 0x06, 0x0A]), st.sets(st.sampled_from(CELLS))),
        st.tuples(st.just("wait"), st.integers(1, 40), st.just(set())),
    ),
    max_size=25,
)


@settings(max_examples=150)
@given(STEPS)
def test_whatever_happens_the_air_is_in_the_end_as_desired(steps: list[tuple[str, int, set[Cell]]]) -> None:
    controller, peer, now = Controller(), Peer(), 0.0
    controller.connected(now)
    desired: Broadcast | None = None
    revision = FIRST
    for what, number, cells in steps:
        if what == "desire" and cells:
            revision = revision.updated()
            desired = broadcast(f"testo {number}", revision, tuple(cells))
            controller.desire([desired], now)
        elif what == "withdraw":
            desired = None
            controller.desire([], now)
        elif what == "lose connection":
            controller.octets_to_send()
            controller.disconnected()
            peer = Peer(peer.air, peer.refuses)
            controller.connected(now)
        elif what == "lose octets":
            peer.receive(controller.octets_to_send())  # done, but the answer is lost
        elif what == "restart":
            controller.receive(peer.restart(), now)
        elif what == "refuse":
            peer.refuses = dict.fromkeys(cells, number)
        elif what == "wait":
            now += number
            controller.handle_timer(now)
        if number % 2:
            settle(controller, peer, now)
    peer.refuses = {}
    for _ in range(20):
        settle(controller, peer, now)
        now += 61.0
        controller.handle_timer(now)
    assert is_quiet(controller, peer, now)
    assert air(peer) == ({} if desired is None else dict.fromkeys(desired.cells, desired.serial.value))


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    reader = cbsp.Reader()
    try:
        reader.receive(octets)
    except BadCbsp:
        return


@given(st.sampled_from(MessageType), st.binary(max_size=120))
def test_any_body_is_read_or_refused(kind: MessageType, body: bytes) -> None:
    try:
        cbsp.parse(framed(kind, body))
    except BadCbsp:
        return


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_a_stream_may_be_cut_anywhere(sizes: list[int]) -> None:
    stream = framed(MessageType.KEEP_ALIVE_COMPLETE, b"") * 3 + Peer().restart() + framed(MessageType.RESET_COMPLETE, b"\x04\x00\x01\x06")
    reader, found, at = cbsp.Reader(), [], 0
    for size in sizes:
        found += reader.receive(stream[at : at + size])
        at += size
    found += reader.receive(stream[at:])
    assert len(found) == 5


def test_cells_are_named_as_the_standard_wants() -> None:
    assert cbsp.encode_cells([ALL_CELLS]).hex() == "04000106"
    assert cbsp.encode_cells([Cell(1, 6969)]).hex() == "0400050100011b39"
    assert Cell.parse("23-6969") == Cell(23, 6969)
    for wrong in ("23", "23-x", "23-70000", "-5"):
        with pytest.raises(LocalError):
            Cell.parse(wrong)
    with pytest.raises(LocalError):
        cbsp.encode_cells([])


def test_more_cells_than_a_message_names_are_refused_when_they_are_loaded() -> None:
    def table(cells: int) -> str:
        rows = ",".join(f'{{id="{number // 60000}-{number % 60000}",latitude=1,longitude=1}}' for number in range(cells))
        return f'[[controller]]\nname="x"\nhost="h"\ncell=[{rows}]'

    [site] = broadcast_network.parse(table(cbsp.MOST_CELLS)).controllers
    cbsp.encode_cells(site.cells)
    with pytest.raises(LocalError, match="at most 16,383"):
        broadcast_network.parse(table(cbsp.MOST_CELLS + 1))
