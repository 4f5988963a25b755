"""Probes of a tunnel: what is dead, what is only full, what is lossy, and what probing costs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulation.sample_profiles import steady
from tests.internet.simulated_tunnel import SimulatedTunnel
from tramontana.internet.flow_class import URGENT, FlowClass
from tramontana.internet.probe import (
    CARRYING_S,
    ECHO_TYPE,
    IDLE_S,
    METERED,
    PROBE_TYPE,
    ROUND_OCTETS,
    STANDBY_S,
    Echo,
    Health,
    MalformedDatagram,
    Probe,
    ProbeBudget,
    TunnelProbe,
)

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


def carrying(tunnel: SimulatedTunnel, *, upload_bps: float = 0.0, download_bps: float = 400e3) -> SimulatedTunnel:
    """A tunnel that is alive and carries for three seconds."""
    tunnel.upload_bps, tunnel.download_bps = upload_bps, download_bps
    tunnel.site.set_carrying(True, 0.0)
    tunnel.run(3.0)
    assert tunnel.health is Health.ALIVE
    return tunnel


def dead_after(tunnel: SimulatedTunnel, seconds: float = 4.0) -> float:
    """Seconds from now until the tunnel counts as dead."""
    cut = tunnel.t
    before = len(tunnel.log)
    tunnel.run(seconds)
    return next(t for t, health in tunnel.log[before:] if health is Health.DEAD) - cut


@given(U64, U32, st.frozensets(st.sampled_from(URGENT)))
def test_probes_read_back_as_written(sent_us: int, shape_kbps: int, copies: frozenset[FlowClass]) -> None:
    probe = Probe(sent_us, shape_kbps, copies)
    assert Probe.parse(probe.encode()) == probe


@given(U64, U64, U32, U64, U64, U64)
def test_echoes_read_back_as_written(sent: int, received: int, count: int, rx: int, tx: int, switch: int) -> None:
    echo = Echo(sent, received, count, rx, tx, switch)
    assert Echo.parse(echo.encode()) == echo


@given(st.binary(max_size=80))
def test_other_datagrams_are_refused_by_name(datagram: bytes) -> None:
    for kind, sample in ((Probe, Probe(0)), (Echo, Echo(0, 0, 0, 0, 0, 0))):
        if len(datagram) != len(sample.encode()) or datagram[0] not in (PROBE_TYPE, ECHO_TYPE):
            with pytest.raises(MalformedDatagram, match="octets are no"):
                kind.parse(datagram)


def test_a_tunnel_is_proven_by_echoes_in_a_row_and_its_delay_is_measured() -> None:
    tunnel = SimulatedTunnel()
    tunnel.run(2.0)
    assert [h for i, (_, h) in enumerate(tunnel.log) if i == 0 or h is not tunnel.log[i - 1][1]] == [Health.UNPROVEN, Health.ALIVE]
    estimate = tunnel.site.estimate(tunnel.t)
    assert estimate.srtt_s == pytest.approx(0.040, abs=0.003)
    assert (estimate.loss, estimate.switch_sequence) == (0.0, 7)


def test_a_tunnel_without_a_single_echo_never_counts_as_alive() -> None:
    tunnel = SimulatedTunnel(cut_up=True)
    tunnel.run(8.0)
    assert Health.ALIVE not in tunnel.seen()
    assert tunnel.health is Health.DEAD


@pytest.mark.parametrize("way", ["cut_up", "cut_down", "both"])
def test_a_cut_is_noticed_within_the_bound(way: str) -> None:
    tunnel = carrying(SimulatedTunnel())
    estimate = tunnel.site.estimate(tunnel.t)
    assert estimate.srtt_s is not None
    tunnel.cut_up = way != "cut_down"
    tunnel.cut_down = way != "cut_up"
    if way == "cut_up":  # what the other side sends on its own would speak for the link, for a while
        tunnel.download_bps = 0.0
    bound = 0.060 + estimate.srtt_s + 4 * estimate.rttvar_s + 2 * CARRYING_S  # the last probe, and the clock that the driver looks at
    assert dead_after(tunnel) <= bound


def test_a_link_that_brings_but_does_not_take_is_dead_too_though_later() -> None:
    tunnel = carrying(SimulatedTunnel(), download_bps=4e6)
    tunnel.cut_up = True
    assert 1.0 < dead_after(tunnel) < 2.5


def test_suspicion_comes_before_death_and_goes_when_echoes_return() -> None:
    tunnel = carrying(SimulatedTunnel())
    tunnel.cut_up = tunnel.cut_down = True
    tunnel.run(0.025)  # one or two probes
    tunnel.cut_up = tunnel.cut_down = False
    tunnel.run(0.5)
    assert Health.SUSPECT in tunnel.seen()
    assert tunnel.health is Health.ALIVE
    assert Health.DEAD not in tunnel.seen()


@pytest.mark.parametrize(("up", "down"), [(40e6, 0.0), (0.0, 40e6), (40e6, 40e6), (11e6, 0.0)])
@pytest.mark.parametrize("queue_bytes", [64 * 1024, 1024 * 1024])
def test_our_own_queue_is_never_taken_for_a_dead_link(up: float, down: float, queue_bytes: int) -> None:
    """A buffer of 0.8 s at 10 Mbit/s that fills at once: the round trip grows from 40 ms to almost a second."""
    tunnel = carrying(SimulatedTunnel(queue_bytes=queue_bytes))
    before = len(tunnel.log)
    tunnel.upload_bps, tunnel.download_bps = up, down
    tunnel.run(0.7 * queue_bytes * 8 / max(up + 1 - 10e6, down + 1 - 10e6))  # not yet full: nothing is lost
    tunnel.upload_bps, tunnel.download_bps = min(up, 9.5e6), min(down, 9.5e6)
    tunnel.run(3.0)
    assert Health.DEAD not in {health for _, health in tunnel.log[before:]}


def test_a_cut_under_a_full_queue_is_still_noticed() -> None:
    tunnel = carrying(SimulatedTunnel(queue_bytes=256 * 1024))
    tunnel.upload_bps = 12e6
    tunnel.run(0.6)
    tunnel.cut_up = tunnel.cut_down = True
    assert dead_after(tunnel) < 1.5


def test_capacity_is_known_once_a_direction_was_full_and_not_before() -> None:
    tunnel = carrying(SimulatedTunnel(), upload_bps=2e6)
    part = tunnel.site.estimate(tunnel.t)
    assert not part.capacity_up.measured_full
    assert part.capacity_up.bps == pytest.approx(2e6, rel=0.05)
    tunnel.upload_bps, tunnel.download_bps = 10.5e6, 10.5e6
    tunnel.run(3.0)
    full = tunnel.site.estimate(tunnel.t)
    for capacity in (full.capacity_up, full.capacity_down):
        assert capacity.measured_full
        assert capacity.bps == pytest.approx(10e6, rel=0.05)
    assert full.queue_up_s > 0.05
    assert full.queue_down_s > 0.05


def test_loss_is_measured_both_ways_and_the_way_up_alone() -> None:
    tunnel = carrying(SimulatedTunnel(profile=steady(delay_s=0.02, bps=10e6, loss=0.1)), upload_bps=400e3)
    tunnel.run(10.0)
    estimate = tunnel.site.estimate(tunnel.t)
    assert estimate.loss == pytest.approx(0.19, abs=0.12)
    assert estimate.loss_up == pytest.approx(0.1, abs=0.08)
    assert estimate.samples >= 90


@pytest.mark.parametrize("loss", [0.005, 0.02, 0.05])
def test_random_loss_is_not_death(loss: float) -> None:
    tunnel = carrying(SimulatedTunnel(profile=steady(delay_s=0.02, bps=10e6, loss=loss)))
    before = len(tunnel.log)
    tunnel.run(30.0)
    assert Health.DEAD not in {health for _, health in tunnel.log[before:]}


def test_a_dead_tunnel_comes_back_by_itself() -> None:
    tunnel = carrying(SimulatedTunnel())
    tunnel.cut_up = tunnel.cut_down = True
    tunnel.run(5.0)
    assert tunnel.health is Health.DEAD
    tunnel.cut_up = tunnel.cut_down = False
    tunnel.run(1.5)
    assert tunnel.log[-1][1] is Health.ALIVE


def test_probes_are_as_frequent_as_the_tunnel_matters() -> None:
    standby = SimulatedTunnel()
    standby.run(2.0)
    busy, idle = SimulatedTunnel(), SimulatedTunnel()
    for tunnel in (busy, idle):
        tunnel.run(2.0)
        tunnel.site.set_carrying(True, tunnel.t)
    busy.download_bps = 400e3
    counts = []
    for tunnel in (standby, idle, busy):
        tunnel.run(3.0)
        before = tunnel.probes
        tunnel.run(2.0)
        counts.append(tunnel.probes - before)
    assert counts == [pytest.approx(2.0 / interval, rel=0.1) for interval in (STANDBY_S, IDLE_S, CARRYING_S)]


@settings(max_examples=6, deadline=None)
@given(st.floats(5e6, 200e6), st.sampled_from([0.0, 0.01, 0.05]), st.booleans(), st.sampled_from([0.0, 300e3]))
def test_a_metered_link_is_probed_within_its_budget(octets_a_day: float, share: float, carries: bool, bps: float) -> None:
    budget = ProbeBudget(octets_a_day, share, store_octets=20_000.0)
    tunnel = SimulatedTunnel(budget=budget, download_bps=bps)
    tunnel.site.set_carrying(carries, 0.0)
    tunnel.run(20.0)
    income = budget.store_octets + 20.0 * octets_a_day / 86_400 + share * (tunnel.received + tunnel.sent)
    assert tunnel.probes * ROUND_OCTETS <= income + 2 * ROUND_OCTETS


def test_a_metered_link_that_carries_is_probed_fast_while_traffic_pays_for_it() -> None:
    tunnel = carrying(SimulatedTunnel(budget=METERED), download_bps=8e6)
    before = tunnel.probes
    tunnel.run(2.0)
    assert tunnel.probes - before == pytest.approx(2.0 / CARRYING_S, rel=0.1)


def test_answers_to_other_probes_count_for_nothing() -> None:
    site = TunnelProbe(0.0)
    probe = site.probe(0.0, 0)
    for number in range(1, 10):
        site.handle_echo(Echo(probe.sent_us + number, 0, 1, 0, 0, 0), 0.04)
    assert site.estimate(0.04).srtt_s is None
    for _ in range(10):  # the same one again and again is one answer
        site.handle_echo(Echo(probe.sent_us, 0, 1, 0, 0, 0), 0.04)
    assert site.health(0.04) is Health.UNPROVEN
