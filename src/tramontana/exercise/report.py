"""The report of an exercise as one page that needs no network: fleets side by side, curves, a map with a time slider, every figure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from html import escape
from typing import Final

import numpy as np

from tramontana.exercise.results import Frames, Results, RunRow, TextRow, curve_minutes, frames
from tramontana.exercise.terrestrial import TICK_S
from tramontana.exercise.timeline import Played
from tramontana.space.studies.countries import outlines_within

LINES: Final = ("#6b7280", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""By run; told apart by eyes that see red and green alike, and by dashes."""
DASHES: Final = ("6 4", "", "2 3", "8 3 2 3", "1 3", "10 4")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720.0, 260.0, 60.0, 34.0, 12.0


def page(played: Played, found: Results, simulated: str) -> str:
    """HTML, light or dark as the reader's machine is, for phones too."""
    world = played.ground.world
    seen = frames(played)
    body = (
        f'<p class="badge">SIMULATED</p><h1>{escape(world.head.title)}</h1><p>{escape(world.head.about)}</p>'
        f"<p><strong>Simulated</strong>, {escape(simulated)}. {escape(_ground_in_words(played, found))}</p>"
        f"<h2>Side by side</h2>{_compared(found)}"
        f"<h2>Who was warned when</h2>{_warned(played, found)}"
        f"<h2>The ground network</h2>{_ground(played, found)}"
        f"<h2>Map over time</h2>{_map(played, found, seen)}"
        f"<h2>Texts by precedence</h2><p>Written where no site was heard. Percentiles are over all of them: “never”: fewer arrived.</p>"
        f"{_texts(found)}"
        f"<h2>What was full</h2>{_full(found)}"
        f"<h2>Figures</h2>{_payloads(played)}{_figures(played)}<h2>Sources</h2>{_sources(played)}"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>SIMULATED: {escape(world.head.title)}</title><style>{_STYLE}</style></head><body><main>{body}</main>"
        f"<script>{_script(played, found, seen)}</script></body></html>\n"
    )


def span(seconds: float | None) -> str:
    """A delay for people."""
    if seconds is None:
        return "never"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _ground_in_words(played: Played, found: Results) -> str:
    head, ground = played.ground.world.head, found.ground
    hub, hanging = ground.largest_cascade
    return (
        f"From {head.start:%Y-%m-%d %H:%M} UTC for {head.hours:g} h, seed {played.ground.seed}: {ground.people:,} people, "
        f"{ground.phones:,} phones, {ground.sites:,} synthetic sites. At the worst {max(ground.cut_off):,} phones heard no site; "
        f"{hanging} other sites hang on the hub of {hub}."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    first = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _compared(found: Results) -> str:
    def row(name: str, of: Callable[[RunRow], str]) -> list[str]:
        return [name, *(of(run) for run in found.runs)]

    rows: list[list[str]] = []
    for number, warning in enumerate(found.runs[0].warnings):
        many = f" ({warning.name})" if len(found.runs[0].warnings) > 1 else ""
        rows += [
            row(f"{share} % warned after{many}", lambda run, n=number, s=share: span(run.warnings[n].after_s[s]))  # type: ignore[misc]
            for share in ("50", "90", "99")
        ]
        rows.append(row(f"warned at the end{many}", lambda run, n=number: f"{100 * run.warnings[n].warned:.1f} %"))  # type: ignore[misc]
        rows.append(row(f"warned by satellite{many}", lambda run, n=number: f"{run.warnings[n].by_satellite:,} phones"))  # type: ignore[misc]
    rows += [
        row("people in need heard", lambda run: f"{run.help.heard:,} of {run.help.asked:,} ({_share(run.help.heard, run.help.asked)})"),
        row("first SOS heard, half of them after", lambda run: span(run.help.heard_s["50"])),
        row("first SOS heard, 90 % of them after", lambda run: span(run.help.heard_s["90"])),
        row("taken by an operator, 90 % of them after", lambda run: span(run.help.taken_s["90"])),
        row("with a position", lambda run: f"{run.help.located:,}"),
        row("texts of those cut off delivered", lambda run: _share(*run.of_cut_off())),
        row("busiest cell, busiest minute", lambda run: f"{100 * run.load.fullest_minute:.0f} %" if run.load.carried else "–"),
        row("full with so many times the messages", lambda run: _times(run.load.full_at_times)),
    ]
    return _table(
        ["", *(run.label for run in found.runs)],
        rows,
        "The same world and seed under each fleet; times from approval, or from the first text",
    )


def _axes(x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]]) -> str:
    """Shares 0 to 1 on both axes."""
    parts = []
    for at, text in y_ticks:
        y = _y(at)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    for at, text in x_ticks:
        parts.append(f'<text x="{_x(at):.1f}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(text)}</text>')
    return "".join(parts)


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - 12)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)


def _line(points: Iterable[tuple[float, float]], number: int) -> str:
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{LINES[number % 6]}" stroke-width="2" stroke-dasharray="{DASHES[number % 6]}"/>'


def _chart(inside: str, words: str, names: Sequence[str], first: int = 0) -> str:
    legend = "".join(
        f'<li><svg width="34" height="10" aria-hidden="true"><line x1="0" x2="34" y1="5" y2="5" stroke="{LINES[number % 6]}" '
        f'stroke-width="3" '
        f'stroke-dasharray="{DASHES[number % 6]}"/></svg> {escape(name)}</li>'
        for number, name in enumerate(names, first)
    )
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{escape(words)}">{inside}</svg>'
        f'<figcaption><ul class="legend">{legend}</ul></figcaption></figure>'
    )


def _warned(played: Played, found: Results) -> str:
    minutes = curve_minutes(played.ground)
    charts = []
    for number, warning in enumerate(found.runs[0].warnings):
        lowest = min(0.9, max(0.0, min(run.warnings[number].curve[min(2, len(minutes) - 1)] for run in found.runs) - 0.05))
        bottom = np.floor(lowest * 10) / 10
        ticks = [((value - bottom) / (1 - bottom), f"{100 * value:.0f} %") for value in np.linspace(bottom, 1.0, 6).tolist()]
        at = [place / max(1, len(minutes) - 1) for place in range(len(minutes))]
        names = [f"{each} min" if each < 120 else f"{each / 60:g} h" for each in minutes]
        inside = _axes([(x, name) for x, name in zip(at, names, strict=True)][:: 1 if len(at) < 12 else 2], ticks)
        for place, run in enumerate(found.runs):
            curve = run.warnings[number].curve
            inside += _line([(x, max(0.0, (y - bottom) / (1 - bottom))) for x, y in zip(at, curve, strict=True)], place)
        words = "; ".join(f"{run.label}: {100 * run.warnings[number].warned:.1f} % at the end" for run in found.runs)
        plans = found.runs[-1].warnings[number]
        charts.append(
            f"<h3>{escape(warning.name)}</h3><p>{warning.inside:,} phones inside. "
            "Time from approval; steps of the axis are not even.</p>"
            + _chart(inside, f"Share of phones that show the warning. {words}", [run.label for run in found.runs])
            + (
                f"<p>{plans.plans} plans over {escape(found.runs[-1].label)}, {plans.beams:,} beams, "
                f"up to {plans.overspill_km2:,.0f} km² lit outside.</p>"
                if plans.plans
                else ""
            )
        )
    return "".join(charts)


def _ground(played: Played, found: Results) -> str:
    ground = found.ground
    names = {"lost": "sites lost", "power": "sites without power", "backhaul": "sites without a way to the core"}
    curves = [(names[cause], counts) for cause, counts in ground.out.items()]
    most = max(1, *(max(counts) for _, counts in curves))
    length = len(ground.cut_off)
    every = max(1, length // 180)
    hours = played.ground.world.head.hours
    ticks = [(share, f"{share * hours:g} h") for share in (0, 0.25, 0.5, 0.75, 1.0)]
    inside = _axes(ticks, [(share, f"{share * most:.0f}") for share in (0, 0.5, 1.0)])
    for number, (_, counts) in enumerate(curves):
        inside += _line([(place / length, counts[place] / most) for place in range(0, length, every)], number)
    first = _chart(
        inside, "Sites out by cause: " + ", ".join(f"{name} at most {max(counts)}" for name, counts in curves), [name for name, _ in curves]
    )
    top = max(1, *ground.cut_off)
    inside = _axes(ticks, [(share, f"{share * top:,.0f}") for share in (0, 0.5, 1.0)])
    inside += _line([(place / length, ground.cut_off[place] / top) for place in range(0, length, every)], 3)
    second = _chart(
        inside, f"Phones that hear no site: at most {top:,}, {ground.cut_off[-1]:,} at the end", ["phones that hear no site"], 3
    )
    return f"<p>{ground.repairs} repairs by crews within the exercise.</p>{first}{second}"


def _map(played: Played, found: Results, seen: Frames) -> str:
    places = played.ground.world.places
    west, east = float(places.longitude_deg.min()), float(places.longitude_deg.max())
    south, north = float(places.latitude_deg.min()), float(places.latitude_deg.max())
    stretch = float(np.cos(np.radians((south + north) / 2)))
    scale = 600.0 / max((east - west) * stretch, north - south, 0.05)
    width, height = (east - west) * stretch * scale + 80, (north - south) * scale + 80
    margin = 80 / scale
    land = "".join(
        '<path class="land" d="M'
        + "L".join(f"{40 + (lon - west) * stretch * scale:.1f},{40 + (north - lat) * scale:.1f}" for lon, lat in ring.tolist())
        + 'Z"/>'
        for ring in outlines_within(west - margin, south - margin, east + margin, north + margin)
    )
    dots = "".join(
        f'<circle data-town="{town}" cx="{40 + (lon - west) * stretch * scale:.1f}" cy="{40 + (north - lat) * scale:.1f}" '
        f'r="{max(4.0, min(24.0, 0.085 * people**0.5)):.1f}"><title>{escape(name)}: {people:,} people</title></circle>'
        for town, (lon, lat, people, name) in enumerate(
            zip(places.longitude_deg.tolist(), places.latitude_deg.tolist(), places.population.tolist(), places.names, strict=True)
        )
    )
    choices = '<option value="cut">Phones that hear no site</option>' + "".join(
        f'<option value="{escape(run.id)}">Warned, {escape(run.label)}</option>' for run in found.runs
    )
    return (
        '<p><label>Shows <select id="what">' + choices + "</select></label></p>"
        f'<p><label for="time">Time: <output id="now"></output></label><br>'
        f'<input id="time" type="range" min="0" max="{seen.at_s.size - 1}" value="0" step="1"> '
        '<button id="play" type="button" aria-pressed="false">Play</button></p>'
        '<p id="words" role="status"></p>'
        f'<figure><svg id="map" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="Municipalities, coloured by share">{land}{dots}</svg>'
        '<figcaption>0 % <span class="scale"></span> 100 %; grey: outside of the warning. A ring: no mains power. '
        "Circles grow with people.</figcaption></figure>"
    )


def _script(played: Played, found: Results, seen: Frames) -> str:
    start = played.ground.world.head.start
    data = {
        "times": [(start + timedelta(seconds=float(at))).strftime("%d %b %H:%M UTC") for at in seen.at_s.tolist()],
        "cut": seen.cut_off.tolist(),
        "dark": [[int(value) for value in row] for row in seen.dark.tolist()],
        "phones": [found.ground.cut_off[min(int(at // TICK_S), len(found.ground.cut_off) - 1)] for at in seen.at_s.tolist()],
        "all": {run.id: [round(100 * float(np.mean(run.warned_s[0] <= at)), 1) for at in seen.at_s.tolist()] for run in played.runs},
        "warned": {run: rows.tolist() for run, rows in seen.warned.items()},
    }
    return "const D=" + json.dumps(data, separators=(",", ":")).replace("</", "<\\/") + ";" + _CODE


def _texts(found: Results) -> str:
    def key(row: TextRow) -> tuple[str, str]:
        return row.kind, row.precedence

    rows: list[list[str]] = []
    for row in found.runs[0].texts if found.runs else ():
        if not row.cut_off or row.kind == "answer":
            continue
        for run in found.runs:
            mine = next((each for each in run.texts if each.cut_off and key(each) == key(row)), None)
            if mine is None:
                continue
            name = "SOS" if mine.kind == "sos" else mine.precedence + (" (officials)" if mine.kind == "official" else " (public)")
            rows.append(
                [
                    name,
                    run.label,
                    f"{mine.written:,}",
                    _share(mine.delivered, mine.written),
                    *(span(mine.after_s[share]) for share in ("50", "90", "99")),
                    f"{mine.expired:,}",
                    f"{mine.waiting:,}",
                    f"{mine.refused:,}",
                ]
            )
    head = [
        "precedence",
        "satellites",
        "written",
        "delivered",
        "50 % within",
        "90 % within",
        "99 % within",
        "expired",
        "waiting",
        "refused",
    ]
    return _table(head, rows, "Texts of those cut off")


def _full(found: Results) -> str:
    rows = []
    for run in found.runs:
        load = run.load
        rows.append(
            [
                run.label,
                f"{load.carried:,}",
                f"{load.cell_per_s:.0f}" if load.cell_per_s is not None else "–",
                f"{100 * load.indoors:.0f} %" if load.indoors is not None else "–",
                f"{100 * load.fullest_minute:.0f} %" if load.carried else "–",
                _times(load.full_at_times),
                f"{load.beam_minutes_saturated:,}",
                f"{load.most_waiting:,}",
                span(load.longest_told_s) if load.longest_told_s is not None else "–",
                f"{100 * load.without_satellite:.1f} %",
                f"{load.pre_empted:,}",
                f"{load.sites_overflowed:,} ({load.site_minutes_overflowed:,} min)",
            ]
        )
    head = [
        "satellites",
        "messages over beams",
        "a cell carries, messages/s",
        "indoor places reached",
        "busiest cell and minute",
        "full with so many times the messages",
        "cell-minutes above 90 %",
        "most waiting for a cell",
        "longest wait told",
        "without a satellite",
        "pre-empted",
        "sites that overflowed",
    ]
    return _table(head, rows, "Beams and sites") + (
        f"<p>{found.runs[0].load.beams} cells have people. Busy is a share of time: what goes to a phone indoors takes longer.</p>"
    )


def _times(times: float | None) -> str:
    if times is None:
        return "–"
    return "full" if times <= 1.05 else f"{times:.2g} times" if times < 100 else "over 100 times"


def _payloads(played: Played) -> str:
    rows = [
        [run.label, name, f"{figure.value:g} {figure.unit}", f"{figure.low:g} to {figure.high:g}", figure.source]
        for run in played.runs
        if run.payload is not None
        for name, figure in (("channels in a cell", run.payload.channels), ("stronger than measured by", run.payload.gain_db))
    ]
    return _table(["satellites", "figure", "value", "range", "source"], rows, "What the satellites bring") if rows else ""


def _figures(played: Played) -> str:
    rows = [
        [name.replace("_", " "), f"{figure.value:g} {figure.unit}", f"{figure.low:g} to {figure.high:g}", figure.source]
        for name, figure in played.ground.world.figures.table()
    ]
    return _table(["figure", "value", "range", "source"], rows, "What the world rests on")


def _sources(played: Played) -> str:
    def item(title: str, url: str, rest: str) -> str:
        name = f'<a href="{escape(url)}">{escape(title)}</a>' if url.startswith("https://") else escape(title)
        return f"<li>{name}{escape(f' ({rest})' if rest else '')}</li>"

    entries = played.ground.world.sources.values()
    return "<ul>" + "".join(item(each.title, each.url, "; ".join(filter(None, (each.licence, each.note)))) for each in entries) + "</ul>"


_CODE = """
const $=id=>document.getElementById(id),dots=[...document.querySelectorAll('#map circle')];
const stops=[[253,231,200],[230,120,60],[110,20,60]];
function colour(p){if(p<0)return'#9aa0a6';const x=p/100*2,i=Math.min(1,Math.floor(x)),f=x-i;
return'rgb('+stops[i].map((a,k)=>Math.round(a+(stops[i+1][k]-a)*f)).join(',')+')'}
function draw(){const f=+$('time').value,w=$('what').value,rows=w==='cut'?D.cut[f]:D.warned[w][f];
dots.forEach((d,n)=>{d.style.fill=colour(rows[n]);d.classList.toggle('dark',!!D.dark[f][n])});
$('now').textContent=D.times[f];$('time').setAttribute('aria-valuetext',D.times[f]);
$('words').textContent=w==='cut'?
D.phones[f].toLocaleString('en')+' phones hear no site.':D.all[w][f]+' % of the phones in the area show the warning.'}
let timer=0;function stop(){clearInterval(timer);timer=0;$('play').textContent='Play';$('play').setAttribute('aria-pressed','false')}
$('play').onclick=()=>{if(timer)return stop();if(+$('time').value>=+$('time').max)$('time').value=0;
$('play').textContent='Stop';$('play').setAttribute('aria-pressed','true');
timer=setInterval(()=>{if(+$('time').value>=+$('time').max)return stop();$('time').value=+$('time').value+1;draw()},250)};
$('time').oninput=draw;$('what').onchange=draw;draw();
""".replace("\n", "")

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2733;--paper:#fff;--line:#d5dbe1;--soft:#f2f5f8;--sea:#e6edf3}
@media(prefers-color-scheme:dark){:root{--ink:#e7ebef;--paper:#14191f;--line:#3a444e;--soft:#1f262d;--sea:#1b242c}a{color:#8ab8ff}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:66rem;margin:0 auto;padding:1rem}
h1{font-size:1.7rem;line-height:1.2}h2{margin-top:2.2rem;font-size:1.25rem}h3{font-size:1rem}
.badge{display:inline-block;margin:0;padding:.2rem .7rem;background:#b3261e;color:#fff;font-weight:700;letter-spacing:.08em}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.3rem 0;opacity:.85}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{background:var(--soft)}
figure{margin:1rem 0}svg{max-width:100%;height:auto;font:12px system-ui,sans-serif}figure>svg{width:100%}
svg text{fill:var(--ink)}.grid{stroke:var(--line)}
.legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.3rem 1.2rem}
#map{background:var(--sea);max-height:80vh}#map .land{fill:var(--paper);stroke:var(--line)}
#map circle{stroke:#555;stroke-width:.6}#map circle.dark{stroke:var(--ink);stroke-width:2.6}
.scale{display:inline-block;width:8rem;height:.8rem;vertical-align:middle;background:linear-gradient(90deg,rgb(253,231,200),rgb(230,120,60),rgb(110,20,60))}
input[type=range]{width:min(100%,40rem)}select{max-width:100%}select,button{font:inherit;padding:.3rem .6rem}
:focus-visible{outline:3px solid #0072b2;outline-offset:2px}
@media print{.scroll{overflow:visible}input,button,select{display:none}}
""".replace("\n", "")
