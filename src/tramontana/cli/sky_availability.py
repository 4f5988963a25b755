"""`tramontana sky availability`: the share of a year in which a path holds, from coverage, rain and handovers."""

from __future__ import annotations

import click
import numpy as np
from matplotlib.axes import Axes

from tramontana.cli.output import Column, Report
from tramontana.cli.sky_chart import LINES
from tramontana.cli.sky_latency import SLOTS_A_PIECE
from tramontana.cli.sky_map import SiteMap
from tramontana.cli.sky_page import Chart, Picture
from tramontana.cli.sky_study import Asked, Setting, spread, study
from tramontana.space.studies.availability import HOURS_A_YEAR, Availability, availability_of
from tramontana.space.studies.latency import Serve, cut, join, slots_of

_MOST_BARS = 40


@click.command()
@study
@click.option(
    "--percent", type=click.FloatRange(50, 99.999), default=99.9, show_default=True, help="Of the time, for attenuation and rate."
)
@click.option(
    "--least-mbps",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="What one carrier must carry at least.",
)
def availability(asked: Asked, percent: float, least_mbps: float) -> None:
    """How much of an average year a path holds: coverage × rain at the place × rain at the gateway × handovers (default: 1 hour of sky)."""
    setting = asked.setting(duration_s=3600, step_s=15, resolution=4)
    serve = Serve(setting.fleet, setting.ground, setting.sites, setting.seed)
    served = join(asked.work.run("availability", serve, cut(slots_of(setting.instants), SLOTS_A_PIECE)))
    result = availability_of(served, setting.sites, setting.ground, serve.parameters, least_bps=least_mbps * 1e6, percent=percent)
    asked.show(_report(setting, serve, result, percent, least_mbps), _picture(setting, result))


def _report(setting: Setting, serve: Serve, result: Availability, percent: float, least_mbps: float) -> Report:
    outage = serve.parameters.handover_outage_s
    model = (
        "coverage by the seeded 15 s scheduler over the time above; rain, gas, cloud and scintillation of an average year by P.618-13 "
        f"at the elevations of service, Ku user and Ka feeder link, each carrier at {least_mbps:g} Mbit/s or more, no change of gateway "
        f"in its rain; {outage.value:g} s lost at each handover ({outage.source}); docs/links.md has the budgets and their assumptions"
    )
    columns = (
        *setting.site_columns(),
        Column("available_percent", result.all * 100, digits=3),
        Column("unavailable_hours_per_year", (1 - result.all) * HOURS_A_YEAR, digits=1),
        Column("covered_percent", result.served * 100, digits=3),
        Column("user_link_percent", result.user_hop * 100, digits=4),
        Column("feeder_link_percent", result.feeder_hop * 100, digits=4),
        Column("outside_handovers_percent", result.handover * 100, digits=3),
        Column("user_attenuation_db", result.attenuation_db, digits=1),
        Column("user_carrier_down_mbps", result.carrier_down_bps / 1e6, digits=0),
    )
    summary = (
        ("Available", spread(result.all * 100, 3, "% of a year")),
        ("Attenuation", f"{spread(result.attenuation_db, 1, 'dB')}, exceeded {100 - percent:.3g} % of the time on the user downlink"),
    )
    return Report(f"Availability: {setting.name}", setting.about(model), columns, summary, setting.site_geometries())


def _picture(setting: Setting, result: Availability) -> Picture:
    if setting.sites.kind == "cell":
        lost = 1 - result.served * np.nan_to_num(result.user_hop) * np.nan_to_num(result.feeder_hop)
        legend = "hours a year without a usable path for want of coverage or for rain (handovers apart)"
        return SiteMap(setting.sites, lost * HOURS_A_YEAR, legend, 2, setting.ground.gateways)
    return Chart(lambda axes: _draw(axes, setting, result))


def _draw(axes: Axes, setting: Setting, result: Availability) -> None:
    """What takes how many hours a year, bar by bar."""
    names = setting.sites.names[:_MOST_BARS]
    left = np.zeros(len(names))
    parts = (("no coverage", result.served), ("rain at the place", result.user_hop), ("rain at the gateway", result.feeder_hop))
    for colour, (word, share) in zip(LINES, (*parts, ("handovers", result.handover)), strict=False):
        hours = (1 - np.nan_to_num(share[: len(names)], nan=1.0)) * HOURS_A_YEAR
        axes.barh(names, hours, left=left, label=word, color=colour, height=0.6)
        left += hours
    axes.invert_yaxis()
    axes.set_xlabel("hours a year (each cause by itself)")
    axes.grid(alpha=0.3, axis="x")
    axes.legend(fontsize=8)
