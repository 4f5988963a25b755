"""`tramontana sky latency`: the delay from each place to the point of presence, under the seeded 15 s scheduler."""

from __future__ import annotations

import click
import numpy as np
from matplotlib.axes import Axes

from tramontana.cli.output import Column, Report
from tramontana.cli.sky_chart import LINES
from tramontana.cli.sky_map import SiteMap
from tramontana.cli.sky_page import Chart, Picture
from tramontana.cli.sky_study import Asked, Setting, spread, study
from tramontana.space.studies.latency import PERCENTILES, Latency, Serve, Served, cut, join, slots_of, summarise

SLOTS_A_PIECE = 120
_MOST_CURVES = 8


@click.command()
@study
def latency(asked: Asked) -> None:
    """One-way delay and round trip to the point of presence: median, 5th, 95th and 99th percentile (default: 1 hour)."""
    setting = asked.setting(duration_s=3600, step_s=15)
    serve = Serve(setting.fleet, setting.ground, setting.sites, setting.seed)
    served = join(asked.work.run("latency", serve, cut(slots_of(setting.instants), SLOTS_A_PIECE)))
    result = summarise(served)
    asked.show(_report(setting, serve, result), _picture(setting, served, result))


def _report(setting: Setting, serve: Serve, result: Latency) -> Report:
    access = serve.parameters.access_one_way_s
    model = (
        "bent pipe over the satellite that a seeded choice gives each 15 s slot (measured elevations, docs/space.md), middle of each slot: "
        f"user link + feeder link + fibre from gateway to point of presence + {access.value * 1e3:g} ms of access ({access.source}); "
        "round trip is twice that; no rain, no load, nothing beyond the point of presence"
    )
    one_way = result.one_way_s
    columns = (
        *setting.site_columns(),
        Column("served_percent", result.served_share * 100, digits=2),
        *(Column(f"one_way_{_word(p)}_ms", one_way[p] * 1e3, digits=1) for p in PERCENTILES),
        *(Column(f"round_trip_{_word(p)}_ms", one_way[p] * 2e3, digits=1) for p in PERCENTILES),
        Column("mean_slot_change_ms", result.mean_jump_s * 1e3, digits=2),
        Column("handovers_per_hour", result.handovers_per_hour, digits=0),
    )
    summary = (
        ("Round trip", f"{spread(one_way[50] * 2e3, 1, 'ms')} (median of each place)"),
        ("p95", spread(one_way[95] * 2e3, 1, "ms")),
        ("Served", spread(result.served_share * 100, 2, "% of the slots")),
    )
    return Report(f"Latency: {setting.name}", setting.about(model), columns, summary, setting.site_geometries())


def _word(percentile: int) -> str:
    return "median" if percentile == 50 else f"p{percentile}"


def _picture(setting: Setting, served: Served, result: Latency) -> Picture | None:
    if setting.sites.kind == "cell":
        legend = "round trip to the point of presence, median, ms"
        return SiteMap(setting.sites, result.one_way_s[50] * 2e3, legend, 1, setting.ground.gateways)
    return Chart(lambda axes: _draw(axes, setting, served)) if np.isfinite(served.one_way_delay_s).any() else None


def _draw(axes: Axes, setting: Setting, served: Served) -> None:
    for site, name in enumerate(setting.sites.names[:_MOST_CURVES]):
        delay = np.sort(served.one_way_delay_s[site][np.isfinite(served.one_way_delay_s[site])]) * 2e3
        if delay.size:
            axes.step(delay, np.arange(1, delay.size + 1) / delay.size * 100, where="post", label=name, color=LINES[site % len(LINES)])
    axes.set(xlabel="round trip to the point of presence, ms", ylabel="share of the slots at or below, %", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
