"""What `tramontana phone measure` leaves for a monitoring system: a file in the text format of Prometheus, whole at every instant."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tramontana.cli.output import write_whole
from tramontana.internet.metrics import Family, exposition
from tramontana.phone.headless.measurement import mouth_to_ear_s

if TYPE_CHECKING:
    from tramontana.phone.headless.measurement import Measurement

PREFIX = "tramontana_call"


class MetricsFile:
    """For the textfile collector of a node exporter, say. Replaced after every measurement."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: Counter[tuple[str, str]] = Counter()

    def take(self, taken: Measurement) -> None:
        """Raises `LocalError` where the file cannot be written."""
        self._outcomes[taken.to, taken.outcome] += 1
        write_whole(self._path, exposition(self._families(taken)).encode())

    def _families(self, taken: Measurement) -> list[Family]:
        path = {None: "unknown", True: "simulated", False: "real"}[taken.is_simulated]
        labels = {"to": taken.to, "radio_path": path}
        heard = taken.heard

        def gauge(name: str, text: str, value: float | None) -> Family:
            return Family(f"{PREFIX}_{name}", "gauge", text, () if value is None else ((labels, float(value)),))

        made = tuple(({"to": to, "outcome": outcome}, float(count)) for (to, outcome), count in sorted(self._outcomes.items()))
        return [
            Family(f"{PREFIX}_measurements_total", "counter", "Measurements since the monitor began.", made),
            gauge("measured_timestamp_seconds", "When the last measurement began.", taken.at),
            gauge("answered", "Whether the last one was answered.", taken.outcome == "answered"),
            gauge("set_up_seconds", "Measured: from dialling to the first sound that decrypted.", taken.set_up_s),
            gauge("round_trip_seconds", "Measured: from phone to phone and back, by RTCP reports.", taken.round_trip_s),
            gauge("delay_seconds", "Computed: from mouth to ear.", mouth_to_ear_s(taken.round_trip_s, taken.playout_s)),
            gauge("packets", "Measured: packets received.", None if heard is None else heard.packets),
            gauge("loss_ratio", "Measured: packets missing, before redundancy.", None if heard is None else heard.loss),
            gauge("jitter_seconds", "Measured: interarrival jitter (RFC 3550).", None if heard is None else heard.jitter_s),
            gauge("gaps", "Measured: gaps in what was heard.", None if heard is None else heard.gaps),
            gauge("gap_ratio", "Measured: share of what was heard that is gaps.", None if heard is None else heard.gap_share),
            gauge("longest_gap_seconds", "Measured.", None if heard is None else heard.longest_gap_s),
        ]
