"""The report of a study as one page that needs no network: ranges side by side, what drives them, and every figure down to its source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Final

import numpy as np
from matplotlib.figure import Figure as Drawing

from tramontana.cli.plan_areas import Coverage, areas_section
from tramontana.cli.plan_draws import Drawn
from tramontana.cli.plan_pareto import pareto_section
from tramontana.cli.plan_sections import (
    Links,
    busy_hour,
    linked,
    lost,
    milliseconds,
    percent,
    shared_costs,
    slug,
    source_links,
    sovereignty,
    table,
)
from tramontana.cli.plan_study import Findings, results_of
from tramontana.cli.plan_warning import warning_section
from tramontana.cli.sky_chart import LINES, plain_text
from tramontana.cli.sky_page import svg_of
from tramontana.control.reports import GENERATOR
from tramontana.planning.estimate import Source
from tramontana.planning.figure import Draws, Driver, Figure, Input, Simulated, Values, ancestry, drivers, evaluate
from tramontana.planning.measures import LEAST_BPS, MeasureSky, Service
from tramontana.planning.results import AVAILABLE, MEDIAN, OVER_YEARS
from tramontana.planning.study import Alternative, Study
from tramontana.planning.units import counted, shown

PERCENTILES: Final = (10, 50, 90)
MILLION: Final = 1e6
MOST_DRIVERS: Final = 8


def study_page(study: Study, findings: Findings, seas: Coverage | None, drawn: Drawn) -> str:
    """HTML that prints. Every result is a link to its formula, every input to its source."""
    results, values, found = drawn.results, drawn.values, findings.service
    last = study.head.first_year + study.head.years - 1
    currency = study.head.currency
    about = f"{study.head.first_year} to {last}, in {currency} of {study.head.price_year}. Ranges are the {draws_in_words(study)}."
    with plain_text():
        ranges = svg_of(_ranges(study, values))
        parts = "".join(_alternative(study, one, results[one.id], values) for one in study.alternatives)
    links = {
        (one.id, figure.words): (_anchor(one, figure), float(np.median(values[figure])))
        for one in study.alternatives
        for figure in results[one.id]
    }
    measured = {name: one.whole for name, one in found.items()}
    with plain_text():
        pareto = pareto_section(study, values, links)
    body = (
        f"<h1>{escape(study.head.title)}</h1><p>{escape(about)}</p>"
        f'<figure id="costs" role="img" aria-label="{escape(_ranges_in_words(study, values))}">{ranges}</figure>'
        f"{_table(study, values, measured, links)}{_reported(study)}{pareto}{shared_costs(study)}{_service(study, measured, links)}"
        f"{sovereignty(study, found, findings.by_laser, links)}{lost(study, found, links)}{busy_hour(study, found, links)}"
        f"{areas_section(study, seas)}"
        f"{warning_section(study, findings.warned, links)}{parts}"
        f"<h2>Inputs</h2>{_inputs(study.inputs)}<h2>Sources</h2>{_sources(study.sources)}"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"{GENERATOR}<title>{escape(study.head.title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def number(value: float) -> str:
    """Four digits for people; large ones in millions, without powers of ten."""
    scaled, word = (value / MILLION, " million") if abs(value) >= MILLION else (value, "")
    return (f"{scaled:,.0f}" if abs(scaled) >= 1000 else f"{scaled:.4g}") + word


def range_in_words(values: Values) -> str:
    """By year the middle of the draws; else the middle and from where to where."""
    if values.shape[1] > 1:
        return "by year " + ", ".join(number(value) for value in np.median(values, axis=0))
    low, middle, high = np.percentile(values, PERCENTILES)
    return number(middle) if low == high else f"{number(middle)} (from {number(low)} to {number(high)})"


def draws_in_words(study: Study) -> str:
    return f"10th, 50th and 90th percentile of {study.head.draws:,} draws; every input between the bounds that the study gives it"


def service_in_words(study: Study) -> str:
    """What the measures of service rest on, for the label of every output."""
    if study.demand is None:
        return "not measured: the study has no places"
    hours = MeasureSky(study.demand).duration_s / 3600
    return (
        f"simulated over {hours:g} h for {len(study.demand.places)} places, weighted by their need: served is the time with a satellite "
        f"and a gateway; available is the share of an average year in which {LEAST_BPS / 1e6:g} Mbit/s get through rain and handovers "
        "(ITU-R P.618), in the year from which an alternative is complete; round trip to the point of presence. An alternative without "
        "satellites, or whose orbits nobody published, has none"
    )


def _table(study: Study, values: Mapping[Figure, Values], measured: Mapping[str, Service], links: Links) -> str:
    currency = escape(study.head.currency)
    heads = ["Alternative", f"Present value, million {currency}", f"Paid, million {currency}"]
    if study.alternatives[0].per_user is not None:
        heads.append(f"By user and year, {currency}")
    if study.demand is not None:
        heads += ["Serves from, complete from", "Available when complete, simulated", "Over all years", "Round trip, simulated"]
    rows = []
    for one in study.alternatives:
        cells = []
        for figure, scale in zip(results_of(one), (MILLION, MILLION, 1.0), strict=False):
            low, middle, high = np.percentile(values[figure], PERCENTILES) / scale
            cells.append(f'<a href="#{_anchor(one, figure)}">{middle:,.0f}</a> <small>{low:,.0f} to {high:,.0f}</small>')
        if study.demand is not None and one.id in measured:
            found = measured[one.id]
            cells += [
                f"{study.head.first_year + found.first - 1}, {study.head.first_year + found.complete_from - 1}",
                linked(links, one.id, AVAILABLE, percent),
                linked(links, one.id, OVER_YEARS, percent),
                linked(links, one.id, MEDIAN, milliseconds),
            ]
        elif study.demand is not None:
            cells += ["–"] * 4
        rows.append((f'<a href="#{escape(one.id)}">{escape(one.title)}</a>', cells))
    return table(heads, rows)


def _reported(study: Study) -> str:
    """What was reported of the case: each fact with the input that holds it."""
    if not study.reported:
        return ""
    rows = []
    for one in study.reported:
        given, of = one.input.estimate, shown(one.input.unit)
        bounds = "" if given.low == given.high else f" <small>{number(given.low)} to {number(given.high)}</small>"
        words = "" if of == "1" else f" by {of[2:]}" if of.startswith("1/") else f" {counted(of, given.likely)}"
        value = f'<a href="#{_input_anchor(one.input)}">{number(given.likely)}{escape(words)}</a>{bounds}'
        note = escape(one.note or "shown there")
        made = escape(one.note) if one.output is None else f'<a href="#{escape(one.output)}">{note}</a>'
        rows.append((escape(one.fact[0].upper() + one.fact[1:]), [value, source_links(given.sources), made]))
    return f"<h2>As reported</h2>{table(['Reported', 'As an input', 'Source', 'What the study makes of it'], rows)}"


def _service(study: Study, measured: Mapping[str, Service], links: Links) -> str:
    """By place: the share of a year that holds, and the median round trip."""
    if study.demand is None or not measured:
        return ""
    titles = {one.id: one.title for one in study.alternatives}

    def cell(name: str, row: int) -> str:
        """Each leads to the mean over the places, where its method stands."""
        found = measured[name].complete
        available, trip = percent(found.available[row]), milliseconds(found.round_trip_s[row] * 1e3)
        if (name, AVAILABLE) in links:
            available = f'<a href="#{links[name, AVAILABLE][0]}">{available}</a>'
        if (name, MEDIAN) in links:
            trip = f'<a href="#{links[name, MEDIAN][0]}">{trip}</a>'
        return f"{available} <small>{trip}</small>"

    rows = ((escape(place.name), [cell(name, row) for name in measured]) for row, place in enumerate(study.demand.places))
    words = service_in_words(study)
    return f'<h2 id="places">Service by place, simulated</h2><p>{escape(words[0].upper() + words[1:])}.</p>' + table(
        ["Place", *(escape(titles[name]) for name in measured)], rows
    )


def _alternative(study: Study, one: Alternative, results: list[Figure], values: Mapping[Figure, Values]) -> str:
    # Turned round twice: the first result comes first, and each stands above what it is made of.
    all_of_it = ancestry(results[::-1])
    figures = [figure for figure in all_of_it if figure.name is not None and (figure.operands or isinstance(figure, Simulated))]
    tornado, words = _tornado(study, one)
    drawing = (
        f'<figure role="img" aria-label="{escape(words)}">{svg_of(tornado)}</figure>' if tornado is not None else f"<p>{escape(words)}</p>"
    )
    rows = "".join(_figure(one, figure, values[figure]) for figure in reversed(figures))
    return (
        f'<section id="{escape(one.id)}"><h2>{escape(one.title)}</h2>{drawing}'
        '<details open><summary>How it comes about</summary><div class="scroll"><table class="formulas"><tbody>'
        f"{rows}</tbody></table></div></details></section>"
    )


def _figure(one: Alternative, figure: Figure, values: Values) -> str:
    of = shown(figure.unit)
    return (
        f'<tr id="{_anchor(one, figure)}"><th scope="row">{escape(figure.words)}</th>'
        f"<td>= {_linked(one, figure)}</td><td><small>{escape(range_in_words(values))} {escape('' if of == '1' else of)}</small></td></tr>"
    )


def _linked(one: Alternative, figure: Figure) -> str:
    """Its formula, with every named figure in it as a link to that figure's own row."""
    named = {escape(part.words): _anchor(one, part) for part in _named_parts(figure)}
    formula = escape(figure.formula)
    if not named:
        return formula
    longest_first = sorted(named, key=len, reverse=True)
    pattern = "|".join(re.escape(words) for words in longest_first)
    return re.sub(pattern, lambda found: f'<a href="#{named[found.group()]}">{found.group()}</a>', formula)


def _named_parts(figure: Figure) -> Iterator[Figure]:
    """The named figures that its formula shows: operands, and those of operands without a name."""
    for operand in figure.operands:
        if operand.name is None:
            yield from _named_parts(operand)
        elif operand.operands or isinstance(operand, Input | Simulated):
            yield operand


def _anchor(one: Alternative, figure: Figure) -> str:
    return _input_anchor(figure) if isinstance(figure, Input) else f"{one.id}-figure-{slug(figure.words)}"


def _input_anchor(figure: Input) -> str:
    return f"input-{slug(figure.words)}"


def _inputs(inputs: Mapping[str, Input]) -> str:
    rows = ""
    for name, figure in sorted(inputs.items()):
        given = figure.estimate
        of = shown(given.unit)
        bounds = "certain" if given.low == given.high else f"{number(given.low)} to {number(given.high)}"
        rows += (
            f'<tr id="input-{slug(name)}"><th scope="row">{escape(name)}</th>'
            f'<td class="number">{number(given.likely)}</td><td>{bounds}</td>'
            f"<td>{escape('' if of == '1' else of)}</td><td>{source_links(given.sources)}</td>"
            f"<td>{escape(given.note)}</td></tr>"
        )
    head = "".join(f'<th scope="col">{word}</th>' for word in ("Input", "Likely", "From, to", "Unit", "Source", "Note"))
    return f'<div class="scroll"><table class="wrapped"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _sources(sources: Mapping[str, Source]) -> str:
    lines = (
        f'<li id="source-{escape(source.id)}"><b>{escape(source.id)}</b>: {escape(source.title)}, {escape(source.date)}. '
        f'<a href="{escape(source.url)}" rel="noopener noreferrer" target="_blank">{escape(source.url)}</a></li>'
        for source in sources.values()
    )
    return f"<ul>{''.join(lines)}</ul>"


def _ranges(study: Study, values: Mapping[Figure, Values]) -> Drawing:
    alternatives = study.alternatives[::-1]  # the first on top
    drawing = Drawing(figsize=(10, 1.2 + 0.55 * len(alternatives)), layout="constrained", facecolor="white")
    axes = drawing.add_subplot()
    for row, one in enumerate(alternatives):
        low, middle, high = np.percentile(values[one.costs.present_value], PERCENTILES) / MILLION
        axes.plot([low, high], [row, row], color=LINES[0], linewidth=9, solid_capstyle="butt", alpha=0.45)
        axes.plot([middle], [row], marker="|", markersize=16, markeredgewidth=3, color=LINES[0])
    axes.set_yticks(range(len(alternatives)), [one.title for one in alternatives])
    axes.set_ylim(-0.6, len(alternatives) - 0.4)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"Present value of the cost, million {study.head.currency}: 10th to 90th percentile, mark at the 50th")
    axes.grid(axis="x", alpha=0.3)
    return drawing


def _ranges_in_words(study: Study, values: Mapping[Figure, Values]) -> str:
    def words(one: Alternative) -> str:
        low, middle, high = np.percentile(values[one.costs.present_value], PERCENTILES) / MILLION
        return f"{one.title}: {middle:,.0f}, from {low:,.0f} to {high:,.0f}"

    return f"Present value in million {study.head.currency}. " + "; ".join(words(one) for one in study.alternatives)


def _tornado(study: Study, one: Alternative) -> tuple[Drawing | None, str]:
    found = [driver for driver in drivers(one.costs.present_value) if driver.swing > 0][:MOST_DRIVERS]
    if not found:
        return None, "No input of it is uncertain."
    likely = float(evaluate([one.costs.present_value], Draws.likely([one.costs.present_value]))[one.costs.present_value].item()) / MILLION
    drawing = Drawing(figsize=(10, 1.1 + 0.4 * len(found)), layout="constrained", facecolor="white")
    axes = drawing.add_subplot()
    for row, driver in enumerate(reversed(found)):
        for end, colour in ((driver.at_low, LINES[2]), (driver.at_high, LINES[1])):
            axes.barh(row, end / MILLION - likely, left=likely, color=colour, height=0.6, alpha=0.8)
    axes.axvline(likely, color="#333", linewidth=1)
    axes.set_yticks(range(len(found)), [driver.input.words for driver in reversed(found)])
    axes.set_xlabel(f"Present value, million {study.head.currency}, when one input alone is at its low (green) or high (orange) bound")
    axes.grid(axis="x", alpha=0.3)
    return drawing, _in_words(found, study.head.currency)


def _in_words(found: Iterable[Driver], currency: str) -> str:
    return f"What moves the present value, million {currency}: " + "; ".join(
        f"{driver.input.words} from {driver.at_low / MILLION:,.0f} to {driver.at_high / MILLION:,.0f}" for driver in found
    )


_STYLE: Final = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;color:#1d2733;background:#fff;margin:2rem auto;padding:0 1rem;max-width:1100px}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .6rem}h2{font-size:1.2rem;margin:2rem 0 .6rem}
figure{margin:1rem 0}.legend,.site{stroke:none}svg{width:100%;height:auto}
a{color:#0b4f9c}a:focus-visible,summary:focus-visible{outline:3px solid #0b4f9c;outline-offset:2px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .7rem;border-bottom:1px solid #e1e5e9;text-align:left;vertical-align:top}
thead th{background:#f2f5f8}tbody th{font-weight:600}
.number{text-align:right;white-space:nowrap}small{color:#4a5663}
.formulas th{width:27%}.formulas td:last-child{width:20%}tr:target,li:target{background:#fff4cf}
summary{cursor:pointer;padding:.3rem 0}li{margin:.3rem 0;overflow-wrap:anywhere}
@media(max-width:700px){figure{overflow-x:auto}figure svg{min-width:40rem}.formulas :is(th,td,td:last-child){display:block;width:auto}
.formulas :is(th,td:nth-child(2)){border:0;padding-bottom:0}}
@media print{html{font-size:11px}body{margin:0;max-width:none;font-size:1rem}figure,tr{break-inside:avoid}
h2,h3,h2+p,h3+p,p:has(+.scroll),summary{break-after:avoid}
.formulas{font-size:8.5px;line-height:1.3}.formulas :is(th,td){padding:.2rem .5rem}
figure svg{max-height:115mm}
a{color:inherit;text-decoration:none}.scroll{overflow:visible}}
""".replace("\n", "")
