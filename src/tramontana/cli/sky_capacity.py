"""`tramontana sky capacity`: what cells get when all of them ask at once."""

from __future__ import annotations

import click
import numpy as np
from matplotlib.axes import Axes

from tramontana.cli.output import Column, Report
from tramontana.cli.sky_chart import LINES, over_time
from tramontana.cli.sky_map import SiteMap
from tramontana.cli.sky_page import Chart, Picture
from tramontana.cli.sky_study import Asked, Setting, spread, study
from tramontana.space.beams.assignment import BeamRules
from tramontana.space.beams.capacity import EFFICIENCY_BPS_PER_HZ
from tramontana.space.links import KU_USER_DOWN, capacity_bps, slant_range_m
from tramontana.space.serving import MINIMUM_ELEVATION_DEG
from tramontana.space.studies.capacity import Load, Loaded, PlanBeams, join

_INSTANTS_A_PIECE = 30
_RULES = BeamRules()
_DEMAND_MBPS = 1000.0


@click.command()
@study
@click.option(
    "--demand-mbps",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEMAND_MBPS,
    show_default=True,
    help="What every cell asks for at the same time, downlink (an assumption: set it).",
)
@click.option("--beams", type=click.IntRange(1), default=_RULES.beams_per_satellite, show_default=True, help="Of a satellite, downlink.")
@click.option("--channels", type=click.IntRange(1, 64), default=_RULES.channels, show_default=True, help="At most so many beams a cell.")
@click.option(
    "--efficiency",
    type=click.FloatRange(0.1, 10),
    default=EFFICIENCY_BPS_PER_HZ.value,
    show_default=True,
    help="bit/s/Hz of a beam: 0.52 to 8.33 are claimed.",
)
@click.option(
    "--min-elevation", type=click.FloatRange(0, 90), default=MINIMUM_ELEVATION_DEG, show_default=True, help="Degrees over the horizon."
)
@click.option("--rings", type=click.IntRange(0, 60), default=10, show_default=True, help="Of cells around a place that ask as well.")
def capacity(asked: Asked, demand_mbps: float, beams: int, channels: int, efficiency: float, min_elevation: float, rings: int) -> None:
    """What each cell gets when every cell asks at once (default: 1 hour, every minute)."""
    setting = asked.setting(duration_s=3600, step_s=60)
    load = Load.of(setting.sites, demand_mbps * 1e6, resolution=asked.where.resolution or 5, rings=rings)
    plan = PlanBeams(setting.fleet, setting.ground, load, min_elevation, BeamRules(beams, channels), efficiency)
    loaded = join(asked.work.run("capacity", plan, setting.instants.pieces(_INSTANTS_A_PIECE)))
    report = _report(setting, plan, loaded, demand_mbps)
    asked.show(report, _picture(setting, plan, loaded, demand_mbps))


def _report(setting: Setting, plan: PlanBeams, loaded: Loaded, demand_mbps: float) -> Report:
    figure, rules = EFFICIENCY_BPS_PER_HZ, plan.rules
    rate = loaded.beams * (plan.beam_bps / 1e6)
    share = np.minimum(1, rate / demand_mbps)
    model = (
        f"{len(plan.load.cells):,} cells ask for {demand_mbps:,.0f} Mbit/s each at once, {rules.beams_per_satellite} beams a satellite, "
        f"{rules.channels} channels a cell, {plan.beam_bps / 1e6:,.0f} Mbit/s a beam at {plan.efficiency_bps_per_hz:g} bit/s/Hz "
        f"(range {figure.low:g} to {figure.high:g}, {figure.source}; a clear sky at 45° gives {_link_efficiency():.1f} by docs/links.md); "
        "greedy plan at each instant, satellites over a gateway only, nobody "
        "outside these cells asks, feeder links carry everything"
    )
    columns = (
        *setting.site_columns(),
        Column("capacity_mean_mbps", rate.mean(axis=0), digits=0),
        Column("capacity_p5_mbps", np.percentile(rate, 5, axis=0), digits=0),
        Column("beams_mean", loaded.beams.mean(axis=0), digits=2),
        Column("served_share_percent", share.mean(axis=0) * 100, digits=1),
        Column("fully_served_time_percent", (rate >= demand_mbps).mean(axis=0) * 100, digits=1),
        Column("without_beam_time_percent", (loaded.beams == 0).mean(axis=0) * 100, digits=2),
    )
    summary = (
        (
            "Demand",
            f"{demand_mbps * len(plan.load.cells) / 1e3:,.1f} Gbit/s in all, served {spread(loaded.all_share * 100, 1, '%')} over time",
        ),
        ("Capacity", f"{spread(loaded.all_bps / 1e9, 1, 'Gbit/s')} over time"),
        ("Plan", f"{loaded.bound_share.min() * 100:.1f} % or more of the beams of the best possible plan (maximum flow)"),
    )
    return Report(f"Capacity: {setting.name}", setting.about(model), columns, summary, setting.site_geometries())


def _link_efficiency() -> float:
    """bit/s/Hz of the Ku user downlink from 550 km at 45° under a clear sky, after the link budget: to compare with what was asked for."""
    rate_bps = float(capacity_bps(KU_USER_DOWN, 45.0, slant_range_m(550e3, 45.0), 0.0))
    return rate_bps / KU_USER_DOWN.bandwidth_hz.value


def _picture(setting: Setting, plan: PlanBeams, loaded: Loaded, demand_mbps: float) -> Picture:
    if setting.sites.kind == "cell":
        mean = loaded.beams.mean(axis=0) * plan.beam_bps / 1e6
        return SiteMap(setting.sites, mean, f"capacity a cell at {demand_mbps:,.0f} Mbit/s asked, mean, Mbit/s", 0, setting.ground.gateways)
    return Chart(lambda axes: _draw(axes, setting, plan, loaded))


def _draw(axes: Axes, setting: Setting, plan: PlanBeams, loaded: Loaded) -> None:
    times = over_time(axes, setting.instants.times_unix_s)
    for site, name in enumerate(setting.sites.names[: len(LINES)]):
        axes.step(times, loaded.beams[:, site] * plan.beam_bps / 1e6, where="post", linewidth=1.2, label=name, color=LINES[site])
    axes.set(ylabel="capacity of the cell, Mbit/s", ylim=(0, None))
    axes.legend(fontsize=8)
