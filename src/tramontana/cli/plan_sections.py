"""Sections of the report on sovereignty, on what is lost, and on the busy hour: tables whose figures lead to how they come about."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from html import escape

from tramontana.cli.plan_losses import dependences
from tramontana.planning.busy_hour import CASES
from tramontana.planning.estimate import Source
from tramontana.planning.laser_landing import LaserLanding, laser_names
from tramontana.planning.losses import Dependence
from tramontana.planning.results import AVAILABLE, CARRIED, LASERS, MEDIAN, OVER_YEARS, SLOW, Found, saturated
from tramontana.planning.study import Study

Links = Mapping[tuple[str, str], tuple[str, float]]
"""By alternative and name of a figure: the anchor of its row, and its value."""


def percent(share: float) -> str:
    """Cut off, not rounded: what fails a minute a year is not 100 %."""
    return "–" if math.isnan(share) else f"{math.floor(share * 1e4 + 1e-9) / 1e2:.2f} %"


def milliseconds(milli: float) -> str:
    return "never" if math.isnan(milli) else f"{milli:.0f} ms"


def slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def source_links(sources: Iterable[Source]) -> str:
    return ", ".join(f'<a href="#source-{escape(source.id)}">{escape(source.id)}</a>' for source in sources)


def table(heads: Iterable[str], rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Heads and cells are HTML; the first of each row is its head."""
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    body = "".join(f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>' for first, cells in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def shared_costs(study: Study) -> str:
    """What a mix pays once though its parts need it each, and who says so."""
    if not study.shared:
        return ""
    rows = (
        (escape(one.title[0].upper() + one.title[1:]), [escape(", ".join(one.lines)), source_links(one.sources), escape(one.note)])
        for one in study.shared
    )
    return f"<h2>Paid once in a mix</h2>{table(['What', 'Lines', 'Source', 'Note'], rows)}"


def sovereignty(study: Study, found: Mapping[str, Found], by_laser: Mapping[str, LaserLanding], links: Links) -> str:
    """Where traffic lands and what landing at home costs, and on whom each part depends."""
    country, text = study.head.country, ""
    if country is not None and found:
        only = f", landing in {country} only"
        heads = ["Alternative", f"Lands in {country}", *(f"{word}{where}" for where in ("", f", {country} only") for word in
                 ("Available", "Median", "99th percentile")), "Added to the median"]  # fmt: skip
        figures = [(f"traffic that lands in {country}", percent), (AVAILABLE, percent), (MEDIAN, milliseconds), (SLOW, milliseconds),
                   (AVAILABLE + only, percent), (MEDIAN + only, milliseconds), (SLOW + only, milliseconds),
                   (f"{MEDIAN}: what landing in {country} only adds", milliseconds)]  # fmt: skip
        text += (
            f"<p>Free choice of gateway beside gateways in {escape(country)} only. Satellites pass traffic on to the ground in view, not "
            "to each other (no lasers): far from home, landing at home may be no service at all.</p>"
            + table(heads, ((_title(study, name), [linked(links, name, figure, shown) for figure, shown in figures]) for name in found))
        )
    if country is not None and by_laser:
        names = laser_names(country)
        shown = (percent, milliseconds, percent, milliseconds, milliseconds)
        heads = [
            "With lasers", f"Shortest route lands in {country}", "Its median", f"Can land in {country}", f"Median, {country} only", "Added",
        ]  # fmt: skip
        text += (
            f"<p>The same where satellites pass traffic on to each other by laser: shortest routes, and the shortest that land in "
            f"{escape(country)}. From afar landing at home becomes possible, at the price of the way there.</p>"
            + table(
                heads,
                (
                    (_title(study, name), [linked(links, name, figure, words) for figure, words in zip(names, shown, strict=True)])
                    for name in by_laser
                ),
            )
        )
    named = dependences(study)
    if named:
        text += "<p>Who operates, builds and launches, and under whose law.</p>" + table(
            ["Part", "Operator", "Factory", "Launch"], ((escape(title), _parties(one)) for title, one in named.items())
        )
    return f'<h2 id="sovereignty">Sovereignty and dependence</h2>{text}' if text else ""


def lost(study: Study, found: Mapping[str, Found], links: Links) -> str:
    """Before and after each loss: availability when complete and over all years, delay, and what is carried."""
    if not study.losses or not found:
        return ""

    def cell(name: str, named: str) -> str:
        whole, years, trip = (linked(links, name, figure + named, shown) for figure, shown in
                              ((AVAILABLE, percent), (OVER_YEARS, percent), (MEDIAN, milliseconds)))  # fmt: skip
        carried = f", {linked(links, name, CARRIED + named, percent)} carried" if (name, CARRIED + named) in links else ""
        text = f"{whole} <small>{years} over all years, {trip}{carried}</small>"
        if (name, AVAILABLE + LASERS + named) not in links:
            return text
        whole, years, trip = (linked(links, name, figure + LASERS + named, shown) for figure, shown in
                              ((AVAILABLE, percent), (OVER_YEARS, percent), (MEDIAN, milliseconds)))  # fmt: skip
        return f"{text}<br><small>with lasers</small> {whole} <small>{years} over all years, {trip}</small>"

    rows = [("Nothing is lost", [cell(name, "") for name in found])]
    for loss in study.losses:
        after = [
            "nothing within the study" if one.after[loss.id] is None else cell(name, f", after: {loss.title}")
            for name, one in found.items()
        ]
        rows.append((escape(loss.title[0].upper() + loss.title[1:]), after))
    return (
        '<h2 id="losses">What is lost</h2>'
        "<p>The same simulation with that part taken away: share of a year that holds when complete, the mean over "
        "all years of the study, the median round trip, and the share of the busy hour carried (likely case). With nothing launched, "
        "satellites in service die by their lifetime, and what is not in service yet comes later. A plane is the one that served most in "
        "this hour. With lasers, a satellite that sees the place but no gateway passes traffic on to one that does, at more delay. "
        "Availability may rise by some hundredths of a percent where what takes over stands higher, or lands under drier sky.</p>"
        + table(["Lost", *(_title(study, name) for name in found)], rows)
    )


def busy_hour(study: Study, found: Mapping[str, Found], links: Links) -> str:
    """What is carried of the demand, and the places that get less than they ask for."""
    demand = study.demand
    if demand is None or demand.busy_bps is None or not found:
        return ""
    names = [f"share of the demand carried, {case}" for case in CASES]
    whole = table(
        ["Alternative", *(f"Carried, {case}" for case in CASES)],
        ((_title(study, name), [linked(links, name, figure, percent) for figure in names]) for name in found),
    )
    asked = demand.busy_bps / 1e6
    less = {(name, case): saturated(one.whole, case) for name, one in found.items() for case in CASES[:2]}

    def less_than(name: str, case: str, row: int) -> str:
        """Leads to the mean over the places, where its method stands."""
        share, figure = percent(float(less[name, case][row])), (name, f"share of the demand carried, {case}")
        return f'<a href="#{links[figure][0]}">{share}</a>' if figure in links else share

    places = table(
        ["Place", "Asks for, Mbit/s", *(_title(study, name) for name in found)],
        (
            (
                escape(place.name),
                [
                    f"{asked[1, row]:,.0f} <small>{_short(asked[0, row])} to {_short(asked[2, row])}</small>",
                    *(f"{less_than(name, 'likely', row)} <small>{less_than(name, 'cautious', row)} cautious</small>" for name in found),
                ],
            )
            for row, place in enumerate(demand.places)
            if asked[:, row].any()  # what moves asks at the first position of its track alone
        ),
    )
    return (
        '<h2 id="busy-hour">Capacity at the busy hour</h2>'
        "<p>All places ask at once, downlink; cautious is the highest demand on the fewest and slowest "
        f"beams. Nobody else is planned for: others are in the share of the beams that the study gives itself.</p>{whole}"
        f"<p>Share of the time in which the cell of a place is saturated (gets less than it asks for): likely, and cautious.</p>{places}"
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _title(study: Study, name: str) -> str:
    return escape(next(one.title for one in study.alternatives if one.id == name))


def _parties(one: Dependence) -> list[str]:
    roles = dict(one.roles())
    return [
        "–"
        if role not in roles
        else f"{escape(roles[role].name)} <small>{escape(' '.join(roles[role].countries))} · "
        + source_links(roles[role].sources)
        + (f"<br>{escape(roles[role].note)}" if roles[role].note else "")
        + "</small>"
        for role in ("operator", "factory", "launch")
    ]


def linked(links: Links, alternative: str, figure: str, shown: Callable[[float], str]) -> str:
    if (alternative, figure) not in links:
        return "–"
    anchor, value = links[alternative, figure]
    return f'<a href="#{anchor}">{shown(value)}</a>'
