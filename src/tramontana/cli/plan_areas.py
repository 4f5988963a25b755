"""`tramontana plan areas`: coverage and gaps by sea area and by municipality, and the maps of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import click
import numpy as np

from tramontana.cli.output import Column, Report
from tramontana.cli.plan_sections import percent, source_links, table
from tramontana.cli.plan_study import Tables, read_study, study_argument, table_options, text_of, work_options
from tramontana.cli.sky_map import SiteMap
from tramontana.cli.sky_options import Work
from tramontana.errors import LocalError
from tramontana.planning.areas import DURATION_S, STEP_S, Covered, CoverSites, joined, together
from tramontana.planning.study import Study
from tramontana.space.serving import MINIMUM_ELEVATION_DEG
from tramontana.space.studies.area import cells_of
from tramontana.space.studies.countries import Polygon
from tramontana.space.studies.sites import Sites, parse_place_list

RESOLUTION = 3
"""H3 cells of about 12,400 km²: some thirty in a middling sea."""


@dataclass(frozen=True, eq=False, slots=True)
class Coverage:
    """Of each area, by alternative. An alternative with several skies is shown complete."""

    titles: tuple[str, ...]
    sites: tuple[Sites, ...]
    by_alternative: Mapping[str, tuple[Covered, ...]]


@click.command()
@study_argument
@work_options
@table_options
@click.option(
    "--place-list", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.csv", help="Municipalities: columns id, name, lat, lon."
)
def areas(study: Path, place_list: Path | None, tables: Tables, work: Work) -> None:
    """Show coverage and gaps of STUDY's sea areas, and of every municipality of a list."""
    read = read_study(study)
    places = None if place_list is None else parse_place_list(text_of(place_list), name=place_list.name)
    if not read.areas and places is None:
        raise LocalError(f"{study} names no areas: give it [areas.…] (docs/planning.md), or a list of municipalities with --place-list")
    found = covered(read, work, places)
    tables.show(areas_report(read, found, places))


def covered(study: Study, work: Work, places: Sites | None = None) -> Coverage:
    """All areas of a study, and a list of places where given; every sky is propagated once."""
    sites = [cells_of([Polygon(area.ring)], RESOLUTION) for area in study.areas]
    titles = [area.title for area in study.areas]
    if places is not None:
        sites, titles = [*sites, places], [*titles, "Municipalities"]
    whole, spans = joined(sites)
    skies = list(dict.fromkeys(serving.sky for one in study.alternatives for serving in one.skies))
    found = dict(zip(skies, work.run("areas", CoverSites(whole), skies), strict=True))
    by_alternative = {}
    for one in study.alternatives:
        if one.skies:
            every = together([found[serving.sky] for serving in one.skies])
            by_alternative[one.id] = tuple(Covered(every.served[span], every.longest_gap_s[span], every.satellites[span]) for span in spans)
    return Coverage(tuple(titles), tuple(sites), by_alternative)


def areas_report(study: Study, found: Coverage, places: Sites | None) -> Report:
    """One row for each area and alternative; municipalities one by one."""
    rows: list[tuple[str, str, float, float, float, float]] = []
    for name, parts in found.by_alternative.items():
        for number, (title, part) in enumerate(zip(found.titles, parts, strict=True)):
            if places is not None and number == len(parts) - 1:
                served, gaps, satellites = part.served.tolist(), part.longest_gap_s.tolist(), part.satellites.tolist()
                each = zip(places.names, served, gaps, satellites, strict=True)
                rows += [(name, place, share, share, gap, count) for place, share, gap, count in each]
            else:
                rows.append(
                    (
                        name,
                        title,
                        float(part.served.mean()),
                        float(part.served.min()),
                        float(part.longest_gap_s.max()),
                        float(part.satellites.min()),
                    )
                )
    return Report(
        f"Coverage by area: {study.head.title}",
        (("Simulated", _words()),),
        (
            Column("alternative", [row[0] for row in rows], "text"),
            Column("area", [row[1] for row in rows], "text"),
            Column("served_percent", np.array([row[2] for row in rows]) * 100, digits=2),
            Column("worst_cell_percent", np.array([row[3] for row in rows]) * 100, digits=2),
            Column("longest_gap_s", np.array([row[4] for row in rows]), digits=0),
            Column("worst_cell_satellites", np.array([row[5] for row in rows]), digits=1),
        ),
    )


def areas_section(study: Study, found: Coverage | None) -> str:
    """Table and one map for each alternative with a sky."""
    if found is None or not found.by_alternative:
        return ""
    titles = {one.id: one.title for one in study.alternatives}
    heads = ["Sea area", *(escape(titles[name]) for name in found.by_alternative)]
    rows = [
        (
            f"{escape(area.title)} <small>{source_links(area.sources)}</small>",
            [_cell(parts[number]) for parts in found.by_alternative.values()],
        )
        for number, area in enumerate(study.areas)
    ]
    maps = "".join(
        f"<figure><figcaption>{escape(titles[name])}</figcaption>{_map(found.sites, parts, number)}</figure>"
        for number, (name, parts) in enumerate(found.by_alternative.items())
    )
    about = "In brackets: the worst cell, and the longest gap of any. Maps: each on a scale of its own"
    return f'<h2 id="seas">Seas</h2><p>{_words()}. {about}.</p>{table(heads, rows)}{maps}'


def _map(sites: Sequence[Sites], parts: Sequence[Covered], number: int) -> str:
    """Cells that two seas share are drawn once, as the first of them has it."""
    ids = [cell for site in sites for cell in site.ids]
    _, first = np.unique(ids, return_index=True)
    latitude, longitude = (np.concatenate([getattr(site, axis) for site in sites])[first] for axis in ("latitude_deg", "longitude_deg"))
    cells = [ids[index] for index in first]
    whole = Sites.of(ids=cells, names=cells, kind="cell", latitude_deg=latitude, longitude_deg=longitude)
    # The share of the time is 100 % nearly everywhere, and a map of it has one colour; how many satellites can serve differs.
    satellites = np.concatenate([part.satellites for part in parts])[first]
    drawn = SiteMap(whole, satellites, "Satellites that can serve at a time, mean", 1).svg()
    return drawn.replace('id="frame"', f'id="frame{number}"').replace("url(#frame)", f"url(#frame{number})")


def _cell(part: Covered) -> str:
    gap = float(part.longest_gap_s.max())
    return f"{percent(float(part.served.mean()))} <small>({percent(float(part.served.min()))}, {gap:,.0f} s)</small>"


def _words() -> str:
    return (
        f"Share of {DURATION_S / 3600:g} h with a satellite that stands {MINIMUM_ELEVATION_DEG:g}° or more over the place, "
        f"and over a gateway where it may land, every {STEP_S:g} s, in H3 cells of resolution {RESOLUTION}; without rain; "
        "a mix is shown complete, its outages independent"
    )
