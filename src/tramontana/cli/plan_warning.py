"""`tramontana plan warning`: how long a warning takes to reach phones by satellite, by year and after each loss; its part of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

import click
import numpy as np

from tramontana.cli.output import Column, Report
from tramontana.cli.plan_sections import Links, linked, percent, source_links, table
from tramontana.cli.plan_study import Tables, read_study, study_argument, table_options, warned, work_options
from tramontana.cli.sky_options import Work
from tramontana.errors import LocalError
from tramontana.planning.study import Study
from tramontana.planning.warning_time import (
    BETWEEN_STARTS_S,
    HORIZON_S,
    SHARES,
    SHOWN,
    STARTS,
    Reached,
    Warned,
    time_words,
    typical_s,
    within_words,
)
from tramontana.space.beams.held import DWELL_S, MINIMUM_ELEVATION_DEG

_SHOWN = SHARES.index(SHOWN)


@click.command()
@study_argument
@work_options
@table_options
def warning(study: Path, tables: Tables, work: Work) -> None:
    """Show how long each alternative of STUDY takes to warn the people of its areas, in each year and after each loss."""
    read = read_study(study)
    if not read.warned or not any(one.phones for one in read.alternatives):
        raise LocalError(f"{study} warns nobody: give it [warned.…] and an alternative's [alternatives.phones] (docs/planning.md)")
    tables.show(warning_report(read, warned(read, work)))


def warning_report(study: Study, found: Mapping[str, Warned]) -> Report:
    """One row for each alternative, area, year and loss."""
    rows = [
        (name, area.title, lost, str(study.head.first_year + year), number, each)
        for name, one in found.items()
        for lost, years in _states(study, one)
        for year, each in enumerate(years)
        for number, area in enumerate(study.warned)
    ]

    def times(percentile: float, column: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([typical_s(each, percentile)[number, column] for *_, number, each in rows])

    return Report(
        f"Time to warn: {study.head.title}",
        (("Simulated", _words(study)),),
        (
            Column("alternative", [row[0] for row in rows], "text"),
            Column("area", [row[1] for row in rows], "text"),
            Column("lost", [row[2] for row in rows], "text"),
            Column("year", [row[3] for row in rows], "text"),
            Column("reached_percent", np.array([each.share[number].mean() * 100 for *_, number, each in rows]), digits=1),
            *(Column(f"p{share * 100:g}_of_people_median_s", times(50, column), digits=0) for column, share in enumerate(SHARES)),
            Column(f"p{SHARES[_SHOWN] * 100:g}_of_people_nine_starts_of_ten_s", times(90, _SHOWN), digits=0),
        ),
    )


def warning_columns(study: Study, found: Mapping[str, Warned]) -> Iterator[Column]:
    """For the table of alternatives: the first area, when most serves."""
    if found:
        values = [typical_s(found[one.id].whole(), 50)[0, _SHOWN] if one.id in found else np.nan for one in study.alternatives]
        yield Column(f"warned_{SHARES[_SHOWN] * 100:g}_percent_s", np.array(values), digits=0)


def warning_section(study: Study, found: Mapping[str, Warned], links: Links) -> str:
    """By area and alternative: how long until so many are covered; in which years; after each loss."""
    if not study.warned:
        return ""
    text = ""
    for number, area in enumerate(study.warned):
        heads = [
            "Alternative",
            "Years",
            within_words().capitalize(),
            *(f"{share * 100:g} % of the people" for share in SHARES),
            "Nine starts of ten",
        ]
        rows = []
        for one in study.alternatives:
            if one.id not in found:
                rows.append((escape(one.title), ["–", "nobody: no satellites that phones hear", *["never"] * (len(SHARES) + 1)]))
                continue
            names = [f"{time_words(share)}, {area.title}" for share in SHARES]
            cells = [linked(links, one.id, name, duration) for name in (*names, f"{names[_SHOWN]}, nine starts of ten")]
            reach = linked(links, one.id, f"{within_words()}, {area.title}", percent)
            rows.append(
                (escape(one.title), [_years(study, found[one.id], number), reach, *(cell if cell != "–" else "never" for cell in cells)])
            )
        people = f"{area.people.sum():,.0f} people in {len(area.people)} municipalities"
        about = f"{people}, each covered {area.times} times. {source_links(area.sources)}"
        text += f"<h3>{escape(area.title)}</h3><p>{about}</p>{table(heads, rows)}"
        if study.losses and found:
            text += "<p>What is left after each loss, in the year in which most is.</p>"
            text += table(["Lost", *(escape(_title(study, name)) for name in found)], list(_losses(study, found, links, number)))
    words = _words(study)
    return f'<h2 id="warning">Time to warn, direct to phones</h2><p>{words[0].upper() + words[1:]}.</p>{text}'


def duration(seconds: float) -> str:
    return "never" if not np.isfinite(seconds) else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _losses(study: Study, found: Mapping[str, Warned], links: Links, number: int) -> Iterator[tuple[str, list[str]]]:
    area = study.warned[number]
    for loss in study.losses:
        named = f", {area.title}, after: {loss.title}"
        cells = []
        for name, one in found.items():
            reach = linked(links, name, f"{within_words()}{named}", percent)
            median = linked(links, name, f"{time_words(SHARES[_SHOWN])}{named}", duration)
            years = _span(study, one.after[loss.id], number)
            cells.append("nobody" if years is None else f"{reach} <small>{SHOWN * 100:g} % in {median}, {years}</small>")
        yield escape(loss.title[0].upper() + loss.title[1:]), cells


def _states(study: Study, one: Warned) -> Iterator[tuple[str, tuple[Reached, ...]]]:
    yield "–", one.by_year
    for loss in study.losses:
        yield loss.title, one.after[loss.id]


def _years(study: Study, one: Warned, number: int) -> str:
    return _span(study, one.by_year, number) or "–"


def _span(study: Study, years: tuple[Reached, ...], number: int) -> str | None:
    """`2026 to 2030`; None where nobody is reached in any."""
    reaching = [year for year, each in enumerate(years) if each.share[number].any()]
    return f"{study.head.first_year + reaching[0]} to {study.head.first_year + reaching[-1]}" if reaching else None


def _title(study: Study, name: str) -> str:
    return next(one.title for one in study.alternatives if one.id == name)


def _words(study: Study) -> str:
    return (
        f"simulated: beams held on cells for {DWELL_S:g} s, from {MINIMUM_ELEVATION_DEG:g}° of elevation on, each cell by another "
        f"satellite than before where one stands there; median over {STARTS} starts {BETWEEN_STARTS_S / 60:.0f} min apart, at most "
        f"{HORIZON_S / 60:g} min each. Outdoors, switched on, on the operator's network: how many phones that are was not published"
    )
