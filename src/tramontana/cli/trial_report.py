"""The report of a trial: figures, verdicts and plots as a page that needs no network, and the same for programs.

Beside them stands what the space engine says of that place and time.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tramontana.carriers.catalogue import carrier as carrier_by_id
from tramontana.carriers.paths import path_profile
from tramontana.cli.output import Column, Report
from tramontana.cli.sky_chart import LINES, over_time, plain_text
from tramontana.cli.sky_page import page, svg_of
from tramontana.errors import LocalError
from tramontana.internet.trial import Record, Run, Way
from tramontana.internet.trial_verdict import Figures, Floats, Probes, figures, judge, matched
from tramontana.space.ground import Place
from tramontana.space.sky import Sky

PIECE_S: Final = 3600.0
MOST_POINTS: Final = 1500
"""Of a curve: more are drawn as the band between the least and the greatest of neighbours."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the path model says of the measured seconds; each array (N,), one a second."""

    source: str
    at_unix_s: Floats
    round_trip_s: Floats
    down_bps: Floats
    up_bps: Floats
    handovers_unix_s: Floats
    outage_s: float


def predict(record: Record, run: Run, sky: Sky) -> Prediction | None:
    """The forecast for the run's place and carrier over all its seconds; None if neither was named. Raises `LocalError`."""
    if not run.place or not run.carrier or not record.seconds:
        return None
    place, carrier = place_of(run.place, sky), carrier_by_id(run.carrier)
    seconds = np.array([second.at_unix_s for second in record.seconds])
    rows: list[tuple[float, float, float]] = []
    handovers: list[float] = []
    outage_s, source = 0.0, ""
    for piece in np.unique(seconds // PIECE_S):
        mine = seconds[seconds // PIECE_S == piece]
        path = path_profile(carrier, place, sky, float(mine[0]), float(mine[-1] - mine[0]) + 1.0)
        source = path.source
        for at in mine.tolist():
            state = path.at(at + 0.5)
            rows.append((2 * state.one_way_delay_s, state.capacity_down_bps, state.capacity_up_bps))
        measured = set(np.floor(mine).tolist())
        handovers += [at for at in path.handover_unix_s.tolist() if math.floor(at) in measured]
        outage_s += float(np.sum(path.outage_end_unix_s - path.outage_start_unix_s))
    columns = np.array(rows)
    return Prediction(source, seconds, columns[:, 0], columns[:, 1], columns[:, 2], np.array(handovers), outage_s)


def place_of(text: str, sky: Sky) -> Place:
    """A known place by id, or ``LAT,LON`` in degrees. Raises `LocalError`."""
    if "," not in text:
        return sky.ground.place(text)
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError:
        raise LocalError(f"the place {text!r} is neither an id of `sky places` nor LAT,LON in degrees") from None
    return Place(text, text, "", "city", latitude, longitude)


def compared(found: Figures, record: Record, prediction: Prediction) -> dict[str, Any]:
    """Measured beside forecast. Differences are measured less forecast."""
    medians = second_medians(record)
    difference = medians - prediction.round_trip_s
    known = np.isfinite(difference)
    return {
        "source": prediction.source,
        "round_trip_difference_ms_p50": _milliseconds(np.percentile(difference[known], 50)) if known.any() else None,
        "round_trip_difference_ms_p10": _milliseconds(np.percentile(difference[known], 10)) if known.any() else None,
        "round_trip_difference_ms_p90": _milliseconds(np.percentile(difference[known], 90)) if known.any() else None,
        "handovers_seen": len(found.handovers_unix_s),
        "handovers_forecast": int(prediction.handovers_unix_s.shape[0]),
        "handovers_seen_where_forecast": matched(found.handovers_unix_s, prediction.handovers_unix_s),
        "outage_s_measured": sum(outage.seconds for outage in found.outages),
        "outage_s_forecast": prediction.outage_s,
        "down_mbps_forecast_p50": float(np.median(prediction.down_bps)) / 1e6,
        "up_mbps_forecast_p50": float(np.median(prediction.up_bps)) / 1e6,
    }


def second_medians(record: Record) -> Floats:
    """(N,) seconds: the median round trip of each second; NaN where nothing came back or the line was loaded."""
    medians = [
        float(np.median([trip for trip in second.round_trips_s if trip is not None]))
        if not second.loaded and any(trip is not None for trip in second.round_trips_s)
        else math.nan
        for second in record.seconds
    ]
    return np.array(medians, dtype=np.float64)


def as_json(record: Record, prediction: Prediction | None) -> str:
    """Figures and verdicts for programs; what is not known is null."""
    found, run = figures(record), record.runs[-1]
    document = {
        "line": run.line,
        "endpoint": run.endpoint,
        "place": run.place or None,
        "carrier": run.carrier or None,
        "target": asdict(run.target),
        "runs": len(record.runs),
        "measured_s": found.measured_s,
        "probes": found.sent,
        "lost": found.lost,
        "loss_outside_outages": _known(found.loss_outside_outages),
        "availability": _known(found.availability),
        "outages": [{"start_unix_s": outage.start_unix_s, "seconds": outage.seconds} for outage in found.outages],
        "round_trip_ms": {name: _milliseconds(value) for name, value in found.round_trip_s.items()},
        "round_trip_under_load_ms": {name: _milliseconds(value) for name, value in found.loaded_round_trip_s.items()},
        "handovers_unix_s": found.handovers_unix_s,
        "down_mbps": (found.down_bps / 1e6).round(2).tolist(),
        "up_mbps": (found.up_bps / 1e6).round(2).tolist(),
        "forecast": compared(found, record, prediction) if prediction else None,
        "judgements": [asdict(judgement) for judgement in judge(found, run.target)],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_page(record: Record, prediction: Prediction | None) -> str:
    """The report for people, one file of HTML."""
    report = report_of(record, prediction)
    with plain_text():
        return page(report, _Plots(record, figures(record), prediction))


def report_of(record: Record, prediction: Prediction | None) -> Report:
    """Verdicts, figures, and a row for every hour."""
    found, run = figures(record), record.runs[-1]
    about = [
        ("Line", f"{run.line} to {run.endpoint}" + (f", {run.carrier} at {run.place}" if run.carrier else "")),
        ("Measured", f"{_span(found.measured_s)} in {len(record.runs)} run{'s' * (len(record.runs) != 1)}"),
        *((judgement.verdict.value.capitalize(), f"{judgement.promise}: {judgement.measured}") for judgement in judge(found, run.target)),
    ]
    trip, loaded = found.round_trip_s, found.loaded_round_trip_s
    summary = [
        ("Round trip", _trips(trip)),
        ("Under load", f"{_trips(loaded)} while a throughput test filled the line"),
        ("Loss", f"{found.lost} of {found.sent} probes; outside outages {_percent(found.loss_outside_outages)}"),
        (
            "Outages",
            f"{len(found.outages)}, longest {max((outage.seconds for outage in found.outages), default=0):.1f} s, "
            f"together {sum(outage.seconds for outage in found.outages):.1f} s",
        ),
        ("Handovers seen", f"{len(found.handovers_unix_s)} steps of the round trip"),
    ]
    if prediction:
        beside = compared(found, record, prediction)
        middle = beside["round_trip_difference_ms_p50"]
        summary += [
            ("Forecast", f"{prediction.source}, computed afterwards for the measured seconds"),
            (
                "Beside it",
                ("nothing to compare" if middle is None else f"round trip {middle:+.1f} ms against the forecast (median)")
                + f"; {beside['handovers_seen_where_forecast']} of {beside['handovers_seen']} handovers seen were forecast within 2.5 s, "
                f"{beside['handovers_forecast']} were forecast; outages {beside['outage_s_forecast']:.1f} s forecast; rates "
                f"{beside['down_mbps_forecast_p50']:.0f} down, {beside['up_mbps_forecast_p50']:.0f} up Mbit/s forecast",
            ),
        ]
    return Report(f"Trial of {run.line}", tuple(about), _hours(record), tuple(summary))


def _hours(record: Record) -> tuple[Column, ...]:
    probes = Probes.of(record)
    hours = np.unique(probes.at_unix_s // PIECE_S)
    rows = []
    for hour in hours:
        mine = probes.at_unix_s // PIECE_S == hour
        trips = probes.round_trip_s[mine]
        idle = trips[np.isfinite(trips) & ~probes.loaded[mine]]
        rates = [[t.bps / 1e6 for t in record.throughputs if t.at_unix_s // PIECE_S == hour and t.way is way] for way in Way]
        quantiles = np.percentile(idle, [50, 95, 99]) * 1e3 if idle.shape[0] else np.full(3, np.nan)
        rows.append(
            [hour * PIECE_S, trips.shape[0], np.count_nonzero(np.isnan(trips)), *quantiles, *(np.median(r or [np.nan]) for r in rates)]
        )
    columns = np.array(rows, dtype=np.float64).reshape(-1, 8).T
    return (
        Column("hour_utc", columns[0], "instant"),
        Column("probes", columns[1], digits=0),
        Column("lost", columns[2], digits=0),
        Column("p50_ms", columns[3], digits=1),
        Column("p95_ms", columns[4], digits=1),
        Column("p99_ms", columns[5], digits=1),
        Column("down_mbps", columns[6], digits=1),
        Column("up_mbps", columns[7], digits=1),
    )


@dataclass(frozen=True, eq=False)
class _Plots:
    """Round trip over time, its distribution, throughput: three plots of one picture."""

    record: Record
    found: Figures
    prediction: Prediction | None

    def svg(self) -> str:
        return svg_of(self._figure())

    def png(self, title: str, foot: str) -> bytes:
        figure = self._figure()
        figure.suptitle(title)
        figure.supxlabel(foot, fontsize=7)
        out = io.BytesIO()
        figure.savefig(out, format="png")
        return out.getvalue()

    def _figure(self) -> Figure:
        figure = Figure(figsize=(10, 11), dpi=150, layout="constrained", facecolor="white")
        over, spread, rates = figure.subplots(3, 1, height_ratios=(3, 2, 2))
        self._over_time(over)
        self._distribution(spread)
        self._throughput(rates)
        return figure

    def _over_time(self, axes: Axes) -> None:
        at = np.array([second.at_unix_s for second in self.record.seconds])
        least, middle, most, bins = _banded(at, second_medians(self.record) * 1e3)
        times = over_time(axes, bins)
        axes.fill_between(times, least, most, color=LINES[0], alpha=0.25, linewidth=0)
        axes.plot(times, middle, color=LINES[0], linewidth=0.8, label="measured")
        if self.prediction:
            _, predicted, _, bins = _banded(self.prediction.at_unix_s, self.prediction.round_trip_s * 1e3)
            axes.plot(over_time(axes, bins), predicted, color=LINES[1], linewidth=0.8, label="forecast")
        for outage in self.found.outages:
            edges = over_time(axes, np.array([outage.start_unix_s, outage.end_unix_s]))
            axes.axvspan(edges[0], edges[1], color=LINES[5], alpha=0.4, linewidth=0.5)
        axes.axhline(self.record.runs[-1].target.round_trip_s * 1e3, color="#555", linewidth=0.8, linestyle="--", label="target")
        if self.found.outages:
            axes.plot([], [], color=LINES[5], alpha=0.4, linewidth=4, label="outage")
        axes.set(ylabel="round trip, ms", ylim=(0, None), title="Round trip, median of each second")
        axes.legend(fontsize=8, loc="upper right")

    def _distribution(self, axes: Axes) -> None:
        probes = Probes.of(self.record)
        for name, mask, colour in (("idle", ~probes.loaded, LINES[0]), ("under load", probes.loaded, LINES[3])):
            trips = np.sort(probes.round_trip_s[mask & np.isfinite(probes.round_trip_s)]) * 1e3
            if trips.shape[0]:
                share = np.linspace(0, 100, min(trips.shape[0], MOST_POINTS))
                axes.plot(np.percentile(trips, share), share, color=colour, linewidth=1, label=name)
        axes.grid(alpha=0.3)
        axes.set(xlabel="round trip, ms", ylabel="percent of probes below", title="Distribution of the round trip")
        axes.legend(fontsize=8, loc="lower right")

    def _throughput(self, axes: Axes) -> None:
        target = self.record.runs[-1].target
        for way, colour, promised in ((Way.DOWN, LINES[0], target.down_bps), (Way.UP, LINES[2], target.up_bps)):
            tests = [test for test in self.record.throughputs if test.way is way]
            times = over_time(axes, np.array([test.at_unix_s for test in tests], dtype=np.float64))
            axes.plot(times, [test.bps / 1e6 for test in tests], "o-", color=colour, markersize=3, linewidth=0.6, label=way.value)
            axes.axhline(promised / 1e6, color=colour, linewidth=0.8, linestyle="--", label=f"target {way.value}")
        axes.set(ylabel="Mbit/s", ylim=(0, None), title="Throughput tests")
        axes.legend(fontsize=8, loc="upper right", ncols=2)


def _banded(at: Floats, values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Least, middle and greatest of at most `MOST_POINTS` groups of neighbours, and their instants; NaN where nothing is known."""
    if not at.shape[0]:
        return values, values, values, at
    groups = [np.array(group) for group in np.array_split(np.arange(at.shape[0]), min(MOST_POINTS, at.shape[0]))]
    bands = [np.nanpercentile(values[g], [0, 50, 100]) if np.isfinite(values[g]).any() else np.full(3, np.nan) for g in groups]
    least, middle, most = np.array(bands).T
    return least, middle, most, np.array([at[g[0]] for g in groups])


def _trips(trips: dict[str, float]) -> str:
    if math.isnan(trips["p50"]):
        return "none measured"
    return ", ".join(f"{name} {value * 1e3:.1f} ms" for name, value in trips.items())


def _percent(value: float) -> str:
    return "not known" if math.isnan(value) else f"{value:.3%}"


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _milliseconds(value: Any) -> float | None:
    return None if math.isnan(value) else round(float(value) * 1e3, 2)
