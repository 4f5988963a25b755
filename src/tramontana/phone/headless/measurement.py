"""What a call was like, from its packets and its playout: what the network operator's monitor says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tramontana.phone.headless.frames import FRAME_S, TICKS_PER_SECOND

ENCODER_S = 0.0265
"""One Opus frame in the encoder, and its look-ahead of 6.5 ms (RFC 6716 §2)."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Shares from 0 to 1, times in seconds; None where nothing could be measured."""

    packets: int
    loss: float | None
    jitter_s: float
    played_s: float
    gap_share: float | None
    gaps: int
    longest_gap_s: float


class Meter:
    """Fed with every packet of one stream and with everything that is played."""

    def __init__(self) -> None:
        self._received = 0
        self._first: int | None = None
        self._highest = 0
        self._transit: float | None = None
        self._last_timestamp = 0
        self._jitter_s = 0.0
        self._frames = self._missing = self._gaps = self._longest = self._run = 0

    def packet(self, sequence_number: int, timestamp: int, now: float) -> None:
        """One RTP packet: its numbers of 16 and 32 bits."""
        self._received += 1
        if self._first is None:
            self._first = self._highest = sequence_number
        else:
            self._highest += max(0, (sequence_number - self._highest + 0x8000) % 0x10000 - 0x8000)
        if self._transit is not None:  # RFC 3550 §6.4.1
            sent_apart_s = ((timestamp - self._last_timestamp + (1 << 31)) % (1 << 32) - (1 << 31)) / TICKS_PER_SECOND
            self._jitter_s += (abs(now - self._transit - sent_apart_s) - self._jitter_s) / 16
        self._transit, self._last_timestamp = now, timestamp

    def played(self, frames: Iterable[bytes | None]) -> None:
        """What the playout gave."""
        for frame in frames:
            self._frames += 1
            if frame is not None:
                self._run = 0
                continue
            self._missing += 1
            self._gaps += self._run == 0
            self._run += 1
            self._longest = max(self._longest, self._run)

    def result(self) -> Heard:
        expected = 0 if self._first is None else self._highest - self._first + 1
        return Heard(
            self._received,
            max(0.0, 1 - self._received / expected) if expected else None,
            self._jitter_s,
            self._frames * FRAME_S,
            self._missing / self._frames if self._frames else None,
            self._gaps,
            self._longest * FRAME_S,
        )


FORMAT = "tramontana measurement 1"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One call of the monitor. Times in seconds, `at` in POSIX seconds; None where nothing could be measured."""

    at: float
    to: str
    outcome: str
    is_simulated: bool | None
    set_up_s: float | None
    round_trip_s: float | None
    playout_s: float
    heard: Heard | None
    fault: str | None = None

    def document(self) -> dict[str, Any]:
        """For a line of JSON: every figure with its unit, and with how it came about."""
        heard, playout_ms = self.heard, round(1e3 * self.playout_s)
        path = {None: "unknown", True: "simulated", False: "real"}[self.is_simulated]
        late = f"measured: frames of 20 ms that had not come {playout_ms} ms after the quickest way"
        return {
            "format": FORMAT,
            "at": round(self.at, 3),
            "to": self.to,
            "outcome": self.outcome,
            "fault": self.fault,
            "radio_path": path,
            "set_up": {"ms": _ms(self.set_up_s), "label": "measured: from dialling to the first sound that decrypted"},
            "packets": {"count": heard.packets if heard else 0, "label": "measured: received"},
            "loss": {
                "share": _share(heard.loss if heard else None),
                "label": "measured: packets missing in the sequence numbers (RFC 3550)",
            },
            "jitter": {"ms": _ms(heard.jitter_s if heard else None), "label": "measured: interarrival jitter (RFC 3550 §6.4.1)"},
            "round_trip": {"ms": _ms(self.round_trip_s), "label": "measured: by RTCP reports, from phone to phone and back"},
            "delay": {
                "ms": _ms(mouth_to_ear_s(self.round_trip_s, self.playout_s)),
                "label": f"computed: half of the round trip, {playout_ms} ms of playout, and the encoder",
            },
            "gaps": {
                "count": heard.gaps if heard else 0,
                "share": _share(heard.gap_share if heard else None),
                "longest_ms": _ms(heard.longest_gap_s if heard else None),
                "label": late,
            },
            "played": {"s": round(heard.played_s, 2) if heard else 0.0, "label": "measured"},
        }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1e3 * seconds, 1)


def _share(share: float | None) -> float | None:
    return None if share is None else round(share, 5)


def mouth_to_ear_s(round_trip_s: float | None, playout_s: float) -> float | None:
    """Half of the round trip, the playout and the encoder: computed, since no clock is at both ends."""
    return None if round_trip_s is None else round_trip_s / 2 + playout_s + ENCODER_S
