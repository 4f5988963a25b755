"""`tramontana sky coverage`: the share of time with satellites overhead and with a path to the ground, and the gaps."""

from __future__ import annotations

import click
import numpy as np
from matplotlib.axes import Axes

from tramontana.cli.output import Column, Report
from tramontana.cli.sky_chart import LINES, over_time
from tramontana.cli.sky_map import SiteMap
from tramontana.cli.sky_page import Chart, Picture
from tramontana.cli.sky_study import Asked, Setting, spread, study
from tramontana.space.serving import MINIMUM_ELEVATION_DEG
from tramontana.space.studies.coverage import Counted, CountSatellites, gap_s, join

_INSTANTS_A_PIECE = 240
_FIGURES = {
    "served": ("served_percent", "time with a served path, %", 2),
    "in-view": ("in_view_mean", "satellites in view, mean", 1),
    "gap": ("longest_gap_s", "longest gap without a served path, s", 0),
}


@click.command()
@study
@click.option(
    "--min-elevation", type=click.FloatRange(0, 90), default=MINIMUM_ELEVATION_DEG, show_default=True, help="Degrees over the horizon."
)
@click.option("--at-least", type=click.IntRange(1), default=1, show_default=True, help="Satellites in view that count as coverage.")
@click.option("--arc", type=click.FloatRange(0, 60), default=0.0, show_default=True, help="Degrees to keep from the geostationary arc.")
@click.option(
    "--show", "figure", type=click.Choice(list(_FIGURES)), help="What the map shows; else served, or in-view where all is served always."
)
def coverage(asked: Asked, min_elevation: float, at_least: int, arc: float, figure: str | None) -> None:
    """How much of the time satellites are in view and can serve, and how long nobody does (default: 1 hour, every 15 s)."""
    setting = asked.setting(duration_s=3600, step_s=15)
    count = CountSatellites(setting.fleet, setting.ground, setting.sites, min_elevation, at_least, arc)
    counted = join(asked.work.run("coverage", count, setting.instants.pieces(_INSTANTS_A_PIECE)))
    report = _report(setting, counted, count)
    asked.show(report, _picture(setting, report, counted, figure))


def _report(setting: Setting, counted: Counted, count: CountSatellites) -> Report:
    step, at_least = setting.instants.step_s, count.at_least
    arc = f" and {count.arc_avoidance_deg:g}° or more from the geostationary arc" if count.arc_avoidance_deg else ""
    model = (
        f"in view: at {count.minimum_elevation_deg:g}° or higher{arc}; served: in view and at the same time over one of "
        f"{len(setting.ground.gateways)} gateways (bent pipe, no lasers, no limit by beams or antennas); looked at every {step:g} s, "
        "gaps are multiples of that"
    )
    in_view, served = counted.in_view, counted.served
    columns = (
        *setting.site_columns(),
        Column(f"in_view_{at_least}_or_more_percent", in_view.fraction * 100, digits=2),
        Column("served_percent", served.fraction * 100, digits=2),
        Column("in_view_mean", in_view.mean_in_view, digits=1),
        Column("in_view_least", in_view.fewest),
        Column("gaps", served.gaps),
        Column("longest_gap_s", served.longest_gap_s),
        Column("total_gap_s", gap_s(served)),
    )
    summary = (
        ("In view", f"{at_least} or more: {spread(in_view.fraction * 100, 2, '% of the time')}"),
        ("Served", spread(served.fraction * 100, 2, "% of the time")),
        ("Longest gap", spread(served.longest_gap_s, 0, "s without a served path")),
    )
    return Report(f"Coverage: {setting.name}", setting.about(model), columns, summary, setting.site_geometries())


def _picture(setting: Setting, report: Report, counted: Counted, figure: str | None) -> Picture:
    if setting.sites.kind == "track" or len(setting.sites) == 1:
        return Chart(lambda axes: _draw(axes, setting, counted))
    name, legend, digits = _FIGURES[figure or ("in-view" if counted.served.fraction.min() == 1 else "served")]
    values = next(c.values for c in report.columns if c.name == name)
    return SiteMap(setting.sites, np.asarray(values, dtype=np.float64), legend, digits, setting.ground.gateways)


def _draw(axes: Axes, setting: Setting, counted: Counted) -> None:
    times = over_time(axes, setting.instants.times_unix_s)
    in_view, served = counted.series[..., 0]
    axes.fill_between(times, served, step="post", color=LINES[0], alpha=0.35, label="can serve: over a gateway too")
    axes.step(times, in_view, where="post", linewidth=1, color=LINES[1], label="in view")
    axes.set(ylabel="satellites", ylim=(0, None))
    axes.legend(fontsize=8, loc="lower right")
