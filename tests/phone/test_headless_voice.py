"""Voice of the headless phone without a network: redundancy, sealed frames, playout, what is measured, messages and short code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.keys.mls.world import GROUP_ID, NOW, SeededRng
from tramontana.cli.phone_metrics import MetricsFile
from tramontana.device import messages
from tramontana.device.messages import MalformedMessage
from tramontana.keys.identity import DeviceKey
from tramontana.keys.mls.client import Client
from tramontana.keys.mls.nodes import Credential
from tramontana.keys.mls.outcomes import EpochKeys
from tramontana.phone.headless import signalling
from tramontana.phone.headless.frames import COPY_AGE_FRAMES, FRAME_S, FRAME_TICKS, FrameGate, PayloadTypes
from tramontana.phone.headless.measurement import Measurement, Meter, mouth_to_ear_s
from tramontana.phone.headless.playout import Playout
from tramontana.phone.headless.red import MAX_BLOCK_BYTES, MAX_OFFSET, Block, MalformedRed, encode_red, parse_red
from tramontana.phone.headless.short_code import commit_to, reveal_matches, short_code
from tramontana.phone.headless.signalling import Answer, Busy, Cancel, Candidate, Candidates, Decline, End, Invite, Message, Reveal, Ringing
from tramontana.precedence import Precedence

CALL = "c" * 32
RED = PayloadTypes(111, 63, sends_red=True)


class Anybody:
    def accepts(self, credential: Credential, signature_key: bytes, replaces: Credential | None) -> bool:
        return True


def keys(seed: str = "a") -> EpochKeys:
    client = Client(DeviceKey.generate(), Credential.basic(b"x"), Anybody(), rng=SeededRng(seed))
    return client.create(GROUP_ID, NOW).keys()


def gates(types: PayloadTypes = RED) -> tuple[FrameGate, FrameGate]:
    """A sender and a receiver of what he sends (both in leaf 0: only one of the directions is used)."""
    sender, receiver, both = FrameGate(types), FrameGate(types), keys()
    sender.use_keys(both, CALL, 7)
    receiver.use_keys(both, CALL, both.own_leaf)
    return sender, receiver


@given(st.lists(st.tuples(st.integers(0, 127), st.integers(1, MAX_OFFSET), st.binary(max_size=40)), max_size=3), st.binary(max_size=40))
def test_redundant_payloads_come_back(older: list[tuple[int, int, bytes]], newest: bytes) -> None:
    blocks = [*(Block(*each) for each in older), Block(111, 0, newest)]
    assert parse_red(encode_red(blocks)) == blocks


@given(st.binary(max_size=60))
def test_whatever_comes_as_a_redundant_payload_is_read_or_refused(payload: bytes) -> None:
    try:
        assert encode_red(parse_red(payload)) is not None
    except MalformedRed:
        return


def test_blocks_that_the_format_cannot_carry() -> None:
    with pytest.raises(MalformedRed):
        encode_red([Block(111, MAX_OFFSET + 1, b""), Block(111, 0, b"")])
    with pytest.raises(MalformedRed):
        encode_red([Block(111, 1, bytes(MAX_BLOCK_BYTES + 1)), Block(111, 0, b"")])


def test_no_key_no_frame() -> None:
    gate = FrameGate(RED)
    assert gate.seal(b"speech") is None
    assert gate.open(b"noise", 63, 0) == []
    assert (gate.counts.sealed, gate.counts.refused) == (0, 1)


def test_frames_come_back_with_copies_and_what_is_changed_is_dropped() -> None:
    sender, receiver = gates()
    sealed = [sender.seal(bytes([at]) * 20) for at in range(10)]
    heard: dict[int, bytes] = {}
    for at, payload in enumerate(sealed):
        assert payload is not None
        assert bytes([at]) * 20 not in payload
        if at not in (2, 3):  # lost on the way
            heard.update(receiver.open(payload, 63, (at * FRAME_TICKS) % (1 << 32)))
    assert [heard[at * FRAME_TICKS] for at in range(10)] == [bytes([at]) * 20 for at in range(10)]
    assert COPY_AGE_FRAMES * FRAME_TICKS <= MAX_OFFSET
    payload = sender.seal(b"one more")
    assert payload is not None
    assert receiver.open(bytes([*payload[:-1], payload[-1] ^ 1]), 63, 0) == []
    assert receiver.open(payload, 63, 0)
    assert receiver.open(payload, 63, 0) == []  # a repeat
    assert receiver.counts.refused == 2
    with pytest.raises(ValueError, match="already"):
        sender.use_keys(keys(), CALL, 7)


def test_plain_opus_where_the_other_has_no_redundancy() -> None:
    sender, receiver = gates(PayloadTypes(111))
    payload = sender.seal(b"speech")
    assert payload is not None
    assert receiver.open(payload, 111, 960) == [(960, b"speech")]


@given(st.permutations(range(12)), st.sets(st.integers(1, 11), max_size=4), st.integers(0, (1 << 32) - 1))
def test_playout_gives_every_frame_once_in_order_and_a_gap_for_what_is_lost(order: list[int], lost: set[int], start: int) -> None:
    playout = Playout(0.4)
    playout.push(start, b"0", 10.0)
    for at in order:
        if at not in lost:
            playout.push((start + at * FRAME_TICKS) % (1 << 32), str(at).encode(), 10.0 + at * FRAME_S)
    played = playout.pull(10.0 + 12 * FRAME_S + 0.4)
    expected = [None if at in lost else str(at).encode() for at in range(12)]
    assert played[:12] == expected
    assert playout.pull(10.0 + 12 * FRAME_S + 0.4) == []


def test_playout_waits_its_time_and_leaves_out_what_is_late() -> None:
    playout = Playout(0.4)
    playout.push(0, b"0", 10.0)
    assert playout.pull(10.39) == []
    playout.push(2 * FRAME_TICKS, b"2", 10.04)
    assert playout.pull(10.43) == [b"0", None]
    playout.push(FRAME_TICKS, b"1", 10.43)
    assert playout.pull(10.45) == [b"2"]


def test_playout_follows_a_clock_that_runs_faster() -> None:
    """Half a thousandth fast: after an hour the sender is 1.8 s ahead, and the listener is still 400 ms behind."""
    playout, now, played = Playout(0.4), 0.0, 0
    for at in range(0, 180_000):
        now = at * FRAME_S / 1.0005
        playout.push(at * FRAME_TICKS % (1 << 32), b"x", now)
        if at % 500 == 0:
            pulled = playout.pull(now)
            assert None not in pulled
            played += len(pulled)
    assert abs(180_000 - played) < 600


def test_what_is_measured() -> None:
    meter = Meter()
    for at in range(100):
        if at not in (50, 51, 70):
            meter.packet((65_500 + at) % 65_536, at * FRAME_TICKS, at * FRAME_S + (0.010 if at % 2 else 0.0))
    meter.played([b"x", None, None, b"x", None, b"x", b"x", b"x"])
    result = meter.result()
    assert result.packets == 97
    assert result.loss == pytest.approx(0.03)
    assert result.jitter_s == pytest.approx(0.010, rel=0.1)
    assert (result.gaps, result.gap_share) == (2, 3 / 8)
    assert result.longest_gap_s == pytest.approx(0.04)
    assert mouth_to_ear_s(0.1, 0.4) == pytest.approx(0.4765)
    empty = Meter().result()
    assert (empty.loss, empty.gap_share) == (None, None)


def test_every_figure_of_a_measurement_says_how_it_came_about() -> None:
    shown = Measurement(1.0, "Bruno", "answered", True, 0.812, None, 0.4, Meter().result()).document()
    figures = {name: value for name, value in shown.items() if isinstance(value, dict)}
    assert set(figures) == {"set_up", "packets", "loss", "jitter", "round_trip", "delay", "gaps", "played"}
    assert all(value["label"].startswith(("measured", "computed")) for value in figures.values())
    assert shown["radio_path"] == "simulated"
    assert shown["set_up"]["ms"] == 812.0
    assert shown["delay"]["ms"] is None  # not made up
    assert json.loads(json.dumps(shown)) == shown


def test_a_metrics_file_has_the_last_measurement_and_says_nothing_that_was_not_measured(tmp_path: Path) -> None:
    file, written = MetricsFile(tmp_path / "calls.prom"), tmp_path / "calls.prom"
    file.take(Measurement(1.0, 'The "Bruno"', "unanswered", None, None, None, 0.4, None))
    unanswered = written.read_text()
    labels = r'to="The \"Bruno\"",radio_path="unknown"'
    assert f"tramontana_call_answered{{{labels}}} 0\n" in unanswered
    assert "loss" not in unanswered
    assert "set_up" not in unanswered
    meter = Meter()
    for at in (0, 1, 3):
        meter.packet(at, at * FRAME_TICKS, at * FRAME_S)
    file.take(Measurement(2.0, 'The "Bruno"', "answered", True, 0.812, 0.1, 0.4, meter.result()))
    shown = dict(line.rsplit(" ", 1) for line in written.read_text().splitlines() if not line.startswith("#"))
    labels = labels.replace("unknown", "simulated")
    assert shown[f"tramontana_call_set_up_seconds{{{labels}}}"] == "0.812"
    assert shown[f"tramontana_call_loss_ratio{{{labels}}}"] == "0.25"
    assert shown[r'tramontana_call_measurements_total{to="The \"Bruno\"",outcome="answered"}'] == "1"
    assert shown[r'tramontana_call_measurements_total{to="The \"Bruno\"",outcome="unanswered"}'] == "1"
    assert [each.name for each in tmp_path.iterdir()] == ["calls.prom"]


def test_the_short_code_and_its_commitment() -> None:
    """Six digits of the exporter; that the browser has the same is seen in a call (tests/system/test_headless_phone.py)."""
    nonces = bytes(16), bytes(range(16))
    both = keys()
    number = int.from_bytes(both.export("tramontana short code", bytes.fromhex(CALL) + nonces[0] + nonces[1], 4), "big")
    assert short_code(both, CALL, *nonces) == f"{number % 10**6:06d}"
    assert reveal_matches(commit_to(nonces[1]), nonces[1])
    assert not reveal_matches(commit_to(nonces[1]), nonces[0])


MESSAGES: list[Message] = [
    Invite("v=0", bytes(range(32)), Precedence.FLASH), Ringing(), Answer("v=0", bytes(16)), Reveal(bytes(range(16))),
    Candidates((Candidate("candidate:1 1 udp 1 127.0.0.1 9 typ relay", "0", 0), Candidate("", None, None))),
    Decline(), Busy(), Busy(True), Cancel(),
    End("hang_up"), End("preempted", Precedence.FLASH), End("preempted"),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_of_a_call_come_back(message: Message) -> None:
    assert signalling.parse(messages.parse(signalling.encode(CALL, message))) == (CALL, message)


@pytest.mark.parametrize(
    "fields",
    [
        {"call_id": "short", "step": "ringing"},
        {"call_id": CALL, "step": "invite", "sdp": "v=0", "commitment": "AA==", "precedence": "routine"},
        {"call_id": CALL, "step": "invite", "sdp": "v=0", "commitment": "A" * 44, "precedence": "loud"},
        {"call_id": CALL, "step": "invite", "sdp": "x" * 64_001, "commitment": "A" * 43 + "=", "precedence": "routine"},
        {"call_id": CALL, "step": "answer", "sdp": 1, "nonce": "A" * 22 + "=="},
        {"call_id": CALL, "step": "candidate", "candidates": [1]},
        {"call_id": CALL, "step": "candidate", "candidates": [{"candidate": "x"}] * 65},
    ],
)
def test_messages_that_break_the_format_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(MalformedMessage):
        signalling.parse({"type": "call", **fields})


def test_an_unknown_step_is_ignored_and_no_bytes_break_the_parser() -> None:
    assert signalling.parse({"type": "call", "call_id": CALL, "step": "path"}) is None
    for plaintext in (b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"type":1}'):
        with pytest.raises(MalformedMessage):
            messages.parse(plaintext)
