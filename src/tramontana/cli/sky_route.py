"""`tramontana sky route`: which way traffic goes, where it lands, and what a policy costs."""

from __future__ import annotations

import click
import numpy as np
from matplotlib.axes import Axes

from tramontana.cli.output import Column, Report
from tramontana.cli.sky_chart import LINES, over_time
from tramontana.cli.sky_map import SiteMap
from tramontana.cli.sky_page import Chart, Picture
from tramontana.cli.sky_study import Asked, Setting, spread, study
from tramontana.errors import LocalError
from tramontana.space.ground import Ground, Place, PointOfPresence
from tramontana.space.routing.options import RouterOptions
from tramontana.space.routing.policy import Policy
from tramontana.space.routing.routes import NoRoute, Route
from tramontana.space.studies.routes import Answers, FindRoutes, RouteSummary, join, summarise

_INSTANTS_A_PIECE = 20
_STEP_S = 60.0
_MOST_CURVES = 8


@click.command()
@study
@click.option("--to", "destination", metavar="ID", help="A point of presence or a place; else the point of presence of the best gateway.")
@click.option("--land-in", multiple=True, metavar="CC", help="Countries where traffic may land, ISO 3166-1; may be repeated.")
@click.option("--avoid", multiple=True, metavar="CC", help="Countries where it must not land; may be repeated.")
@click.option("--jurisdiction", multiple=True, metavar="CC", help="Whose law may bind the operators; may be repeated.")
@click.option("--no-lasers", is_flag=True, help="Bent pipe only.")
def route(
    asked: Asked, destination: str | None, land_in: tuple[str, ...], avoid: tuple[str, ...], jurisdiction: tuple[str, ...], no_lasers: bool
) -> None:
    """The shortest way that the policy allows (default: hop by hop at one instant; with --hours over time, every minute)."""
    asked_for_time = asked.when.duration_s is not None or asked.where.track is not None
    setting = asked.setting(duration_s=_STEP_S, step_s=_STEP_S, resolution=4)
    policy = Policy(countries(land_in), countries(avoid) or frozenset(), countries(jurisdiction))
    find = FindRoutes(
        setting.fleet,
        setting.ground,
        setting.sites,
        _destination(setting.ground, destination),
        policy,
        options=RouterOptions(lasers=not no_lasers),
    )
    answers = join(asked.work.run("route", find, setting.instants.pieces(_INSTANTS_A_PIECE)))
    if len(setting.sites) == 1 and not asked_for_time:
        asked.show(_hops(setting, find, answers[0][0]), None)
        return
    result = summarise(answers)
    asked.show(_over_time(setting, find, result), _picture(setting, answers, result))


def countries(codes: tuple[str, ...]) -> frozenset[str] | None:
    """Codes given one by one or with commas between them; None for none."""
    words = frozenset(word.strip().upper() for code in codes for word in code.split(",") if word.strip())
    return words or None


def _destination(ground: Ground, name: str | None) -> Place | PointOfPresence | None:
    if name is None:
        return None
    known: dict[str, Place | PointOfPresence] = {row.id: row for row in ground.places} | {row.id: row for row in ground.points_of_presence}
    if name in known:
        return known[name]
    points = ", ".join(point.id for point in ground.points_of_presence)
    raise LocalError(f"--to {name!r} is neither a point of presence ({points}) nor a place: `tramontana sky places` lists those")


def _model(find: FindRoutes) -> str:
    lasers = f"+grid lasers up to {find.options.laser.longest_range_m.value / 1e3:,.0f} km" if find.options.lasers else "no lasers"
    policy, rules = find.policy, []
    if policy.landing_countries is not None:
        rules.append(f"lands in {', '.join(sorted(policy.landing_countries))} only")
    if policy.avoided_countries:
        rules.append(f"never lands in {', '.join(sorted(policy.avoided_countries))}")
    if policy.jurisdictions is not None:
        rules.append(f"operators under the law of {', '.join(sorted(policy.jurisdictions))}")
    access_ms = find.options.path.access_one_way_s.value * 1e3
    return (
        f"shortest delay at each instant, {lasers}, gateways with antennas to give, {access_ms:g} ms of access (docs/routes.md); "
        f"policy: {'; '.join(rules) or 'none'}"
    )


def _hops(setting: Setting, find: FindRoutes, answer: Route | NoRoute) -> Report:
    """One route, hop by hop."""
    about, title = setting.about(_model(find)), f"Route: {setting.name}"
    if isinstance(answer, NoRoute):
        longest = answer.unconstrained_delay_s
        without = () if longest is None else (("Without policy", f"{longest * 1e3:.1f} ms one way"),)
        return Report(title, about, (Column("hop", [], "text"),), (("No route", answer.reason), *without))
    hops = answer.hops
    columns = (
        Column("hop", np.arange(len(hops))),
        Column("kind", [hop.kind for hop in hops], "text"),
        Column("id", [hop.id for hop in hops], "text"),
        Column("delay_ms", np.array([hop.delay_s for hop in hops]) * 1e3, digits=3),
        Column("delay_so_far_ms", np.cumsum([hop.delay_s for hop in hops]) * 1e3, digits=3),
    )
    summary = (
        ("One way", f"{answer.delay_s * 1e3:.1f} ms, of which access {answer.access_s * 1e3:.1f} ms"),
        ("Satellites", f"{len(answer.satellites)}, lasers {len(answer.lasers)}"),
        ("Lands in", ", ".join(answer.landed_countries) or "nowhere: from terminal to terminal"),
        ("Policy costs", f"{answer.policy_cost_s * 1e3:.1f} ms"),
    )
    return Report(title, about, columns, summary)


def _over_time(setting: Setting, find: FindRoutes, result: RouteSummary) -> Report:
    columns = (
        *setting.site_columns(),
        Column("routed_percent", result.routed_share * 100, digits=1),
        Column("forbidden_percent", result.forbidden_share * 100, digits=1),
        Column("one_way_median_ms", result.delay_median_s * 1e3, digits=1),
        Column("one_way_p95_ms", result.delay_p95_s * 1e3, digits=1),
        Column("satellites_median", result.satellites_median, digits=1),
        Column("bent_pipe_percent", result.bent_pipe_share * 100, digits=1),
        Column("policy_cost_median_ms", result.policy_cost_median_s * 1e3, digits=1),
        Column("policy_cost_greatest_ms", result.policy_cost_greatest_s * 1e3, digits=1),
        Column("landed_countries", result.landed, "text"),
    )
    summary = (
        ("One way", f"{spread(result.delay_median_s * 1e3, 1, 'ms')} (median of each place)"),
        ("Routed", spread(result.routed_share * 100, 1, "% of the instants")),
        ("Policy costs", f"{spread(result.policy_cost_median_s * 1e3, 1, 'ms')} (median of each place)"),
    )
    return Report(f"Routes: {setting.name}", setting.about(_model(find)), columns, summary, setting.site_geometries())


def _picture(setting: Setting, answers: Answers, result: RouteSummary) -> Picture:
    if setting.sites.kind == "cell":
        return SiteMap(setting.sites, result.delay_median_s * 1e3, "one-way delay, median, ms", 1, setting.ground.gateways)
    return Chart(lambda axes: _draw(axes, setting, answers))


def _draw(axes: Axes, setting: Setting, answers: Answers) -> None:
    times = over_time(axes, setting.instants.times_unix_s)
    for site, name in enumerate(setting.sites.names[:_MOST_CURVES]):
        column = [row[site] for row in answers]
        delay = [answer.delay_s * 1e3 if isinstance(answer, Route) else np.nan for answer in column]
        axes.plot(times, delay, marker=".", linewidth=1, label=name, color=LINES[site % len(LINES)])
    axes.set(ylabel="one-way delay, ms")
    axes.legend(fontsize=8)
