"""Charts and pages of a study. A page is one file that needs no network: style, picture and table are in it."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Protocol

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tramontana.cli.output import Report

MOST_TABLE_ROWS = 5_000


class Drawn(Protocol):
    """What a page can show."""

    def svg(self) -> str: ...


class Picture(Drawn, Protocol):
    """What a study can draw."""

    def png(self, title: str, foot: str) -> bytes: ...


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart that draws itself on axes."""

    draw: Callable[[Axes], None]
    polar: bool = False

    def png(self, title: str, foot: str) -> bytes:
        """A picture of 1,500 pixels width."""
        figure = self._figure()
        figure.axes[0].set_title("\n".join(textwrap.fill(line, 85) for line in title.splitlines()), loc="left", fontsize=12)
        figure.supxlabel(textwrap.fill(foot, 150), fontsize=7, color="#555", x=0.02, ha="left")
        out = io.BytesIO()
        figure.savefig(out, format="png")
        return out.getvalue()

    def svg(self) -> str:
        """Inline SVG without any reference to the outside."""
        return svg_of(self._figure())

    def _figure(self) -> Figure:
        figure = Figure(figsize=(10, 8 if self.polar else 5.6), dpi=150, layout="constrained", facecolor="white")
        axes = figure.add_subplot(projection="polar" if self.polar else None)
        self.draw(axes)
        return figure


def svg_of(figure: Figure) -> str:
    """Inline SVG of a figure, without any reference to the outside."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tramontana"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawing = out.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    # Names that nothing refers to are the same in every drawing, and a page may hold several.
    return re.sub(r' id="([^"]*)"', lambda found: found.group() if f"#{found.group(1)}" in drawing else "", drawing)


def page(report: Report, picture: Drawn | None) -> str:
    """The report as a page: label, summary, picture, table (its first `MOST_TABLE_ROWS` rows)."""
    shown = min(report.count, MOST_TABLE_ROWS)
    head = "".join(f'<th class="{c.kind}">{escape(c.name)}</th>' for c in report.columns)
    rows = "".join(
        "<tr>" + "".join(f'<td class="{c.kind}">{escape(c.shown(row))}</td>' for c in report.columns) + "</tr>" for row in range(shown)
    )
    more = f"<p>The first {shown:,} of {report.count:,} rows.</p>" if shown < report.count else ""
    facts = [
        f"<dl>{''.join(f'<dt>{escape(word)}</dt><dd>{escape(text)}</dd>' for word, text in pairs)}</dl>"
        for pairs in (report.about, report.summary)
        if pairs
    ]
    drawing = f"<figure>{picture.svg()}</figure>" if picture else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head><body><h1>{escape(report.title)}</h1>"
        f"{facts[0] if facts else ''}{drawing}{''.join(facts[1:])}{more}"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></body></html>\n'
    )


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;background:#fff;max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0 0 1rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0 0 1rem}
dt{font-weight:600}dd{margin:0}
figure{margin:0 0 1rem}svg{width:100%;height:auto;max-height:90vh}
.site{stroke:#fff;stroke-width:.2}.site:hover{stroke:#000;stroke-width:2}
.name{font-size:12px;paint-order:stroke;stroke:#fff;stroke-width:3px}.gateway{fill:#b3261e}.tick{font-size:13px}
.scroll{overflow:auto;max-height:40rem;border:1px solid #d5dbe1}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .7rem;border-bottom:1px solid #e6e9ec;text-align:left;white-space:nowrap}
th{position:sticky;top:0;background:#f2f5f8}.number{text-align:right}
@media print{.scroll{max-height:none;overflow:visible}}
""".replace("\n", "")
