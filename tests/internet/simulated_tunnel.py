"""A tunnel under a virtual clock: probes and other traffic share the queues of an emulated link, as on a real one."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.emulation.sample_profiles import START, steady
from tramontana.emulation.link import HEADER_BYTES, Direction, Link
from tramontana.internet.probe import Echo, Health, Probe, ProbeBudget, Responder, TunnelProbe
from tramontana.path_profile import PathProfile

PACKET = 1200
CLOCK_OFFSET_S = 1234.5
"""The gateway's clock is another one."""


@dataclass
class SimulatedTunnel:
    """Steps of a millisecond. `upload_bps` and `download_bps` are offered, and hit the queue as they come."""

    profile: PathProfile = field(default_factory=lambda: steady(delay_s=0.02, bps=10e6))
    queue_bytes: int = 512 * 1024
    seed: int = 1
    budget: ProbeBudget | None = None
    upload_bps: float = 0.0
    download_bps: float = 0.0
    cut_up: bool = False
    cut_down: bool = False
    now: float = START
    log: list[tuple[float, Health]] = field(default_factory=list)
    probes: int = 0

    def __post_init__(self) -> None:
        self.up: Link[bytes] = Link(self.profile, Direction.UP, self.seed, queue_limit_bytes=self.queue_bytes)
        self.down: Link[bytes] = Link(self.profile, Direction.DOWN, self.seed + 1, queue_limit_bytes=self.queue_bytes)
        self.site = TunnelProbe(0.0, budget=self.budget)
        self.gateway = Responder()
        self.sent = self.received = self.gateway_sent = self.gateway_received = 0
        self._owed_up = self._owed_down = 0.0

    def play(self, profile: PathProfile) -> None:
        self.up.set_profile(profile)
        self.down.set_profile(profile)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000)):
            self._millisecond()

    @property
    def t(self) -> float:
        return self.now - START

    @property
    def health(self) -> Health:
        return self.log[-1][1]

    def seen(self) -> set[Health]:
        return {health for _, health in self.log}

    def _millisecond(self) -> None:
        self.now += 0.001
        t = self.t
        self._owed_up += self.upload_bps / 8000
        self._owed_down += self.download_bps / 8000
        while self._owed_up >= PACKET:
            self._owed_up -= PACKET
            self._send_up(bytes(PACKET))
        while self._owed_down >= PACKET:
            self._owed_down -= PACKET
            self._send_down(bytes(PACKET))
        for packet in self.up.release(self.now):
            self.gateway_received += len(packet)
            if len(packet) != PACKET:
                probe = Probe.parse(packet)
                echo = self.gateway.echo(probe, t + CLOCK_OFFSET_S, self.gateway_received, self.gateway_sent, 7)
                self._send_down(echo.encode())
        for packet in self.down.release(self.now):
            self.received += len(packet)
            if len(packet) != PACKET:
                self.site.handle_counters(self.received, self.sent, t)
                self.site.handle_echo(Echo.parse(packet), t)
        if t >= self.site.next_probe_at:
            self.site.handle_counters(self.received, self.sent, t)
            self.probes += 1
            self._send_up(self.site.probe(t, self.sent).encode())
        self.log.append((t, self.site.health(t)))

    def _send_up(self, packet: bytes) -> None:
        self.sent += len(packet)
        if not self.cut_up:
            self.up.handle_packet(packet, len(packet) - HEADER_BYTES, self.now)

    def _send_down(self, packet: bytes) -> None:
        self.gateway_sent += len(packet)
        if not self.cut_down:
            self.down.handle_packet(packet, len(packet) - HEADER_BYTES, self.now)
