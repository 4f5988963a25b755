"""Maps of a study: places or cells coloured by a figure, as PNG and as SVG with a tooltip on every cell."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure

from tramontana.space.fleet import Floats
from tramontana.space.ground import Gateway
from tramontana.space.studies.area import cell_boundary
from tramontana.space.studies.countries import outlines_within, source
from tramontana.space.studies.sites import Sites

SEA, LAND, COAST, INK, ABSENT, GATEWAY = "#e6edf3", "#f7f5ef", "#8a97a3", "#1d2733", "#c9c9c9", "#b3261e"
COLOURS = colormaps["cividis"]  # even to the eye, and to eyes that see red and green alike
_SVG_WIDTH, _LEGEND_HEIGHT = 900.0, 64.0
_MARGIN_SHARE, _LEAST_SPAN_DEG = 0.07, 1.5


@dataclass(frozen=True, eq=False)
class SiteMap:
    """One figure over sites. values: (P,), NaN for none."""

    sites: Sites
    values: Floats
    legend: str
    """What the colours say, with the unit."""
    digits: int
    gateways: tuple[Gateway, ...] = ()
    """Drawn where they lie in the frame."""

    def png(self, title: str, foot: str) -> bytes:
        """A picture of 1,500 pixels width."""
        view = _View.of(self._rings, self.sites)
        figure = Figure(
            figsize=(10, min(max(10 * view.height / view.width, 4), 13) + 1.5), dpi=150, layout="constrained", facecolor="white"
        )
        axes = figure.add_subplot()
        axes.set(xlim=(view.west, view.east), ylim=(view.south, view.north), facecolor=SEA)
        axes.set_aspect(1 / view.stretch)
        land = PolyCollection(list(view.land()), facecolors=LAND, edgecolors=COAST, linewidths=0.6)
        axes.add_collection(land)
        scale = self._scale()
        if self._rings:
            axes.add_collection(
                PolyCollection(self._rings, facecolors=self._colours(scale), edgecolors="white", linewidths=0.15, alpha=0.92)
            )
            axes.add_collection(PolyCollection(list(view.land()), facecolors="none", edgecolors=INK, linewidths=0.5))
        else:
            axes.scatter(
                view.turn(self.sites.longitude_deg), self.sites.latitude_deg, s=70, c=self._colours(scale), edgecolors=INK, zorder=3
            )
            if len(self.sites) <= _MOST_NAMES:
                for name, lon, lat in zip(self.sites.names, view.turn(self.sites.longitude_deg), self.sites.latitude_deg, strict=True):
                    _annotate(axes, name, lon, lat, 4, INK, view)
        for gateway in self.gateways:
            lon, lat = float(view.turn(np.array([gateway.longitude_deg]))[0]), gateway.latitude_deg
            if view.holds(lon, lat):
                axes.plot(lon, lat, marker="^", color=GATEWAY, markersize=7, markeredgecolor="white", linestyle="none", zorder=4)
                _annotate(axes, gateway.name, lon, lat, -9, GATEWAY, view)
        bar = figure.colorbar(_mappable(scale), ax=axes, orientation="horizontal", fraction=0.045, pad=0.03, aspect=45)
        bar.set_label(self.legend)
        axes.set_title("\n".join(textwrap.fill(line, 85) for line in title.splitlines()), loc="left", fontsize=12, color=INK)
        axes.tick_params(labelsize=8, colors=COAST)
        axes.xaxis.set_major_formatter(lambda value, _: _degrees(value, "E", "W"))
        axes.yaxis.set_major_formatter(lambda value, _: _degrees(value, "N", "S"))
        figure.supxlabel(textwrap.fill(f"{foot}; outlines: {source()}", 150), fontsize=7, color="#555", x=0.02, ha="left")
        out = io.BytesIO()
        figure.savefig(out, format="png")
        return out.getvalue()

    def svg(self) -> str:
        """Inline SVG without any reference to the outside."""
        view, scale = _View.of(self._rings, self.sites), self._scale()
        factor = _SVG_WIDTH / view.width
        height = view.height * factor

        def points(ring: Floats) -> str:
            x, y = (ring[:, 0] - view.west) * view.stretch * factor, (view.north - ring[:, 1]) * factor
            return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))

        def centre(lon: float, lat: float) -> tuple[float, float]:
            return (lon - view.west) * view.stretch * factor, (view.north - lat) * factor

        land = [points(ring) for ring in view.land()]
        parts = [
            f'<svg viewBox="0 0 {_SVG_WIDTH:.0f} {height + _LEGEND_HEIGHT:.0f}" role="img" aria-label="{escape(self.legend)}">',
            *self._legend(scale),
            f'<clipPath id="frame"><rect width="{_SVG_WIDTH:.0f}" height="{height:.0f}"/></clipPath>',
            f'<g transform="translate(0 {_LEGEND_HEIGHT:.0f})" clip-path="url(#frame)">',
            f'<rect width="{_SVG_WIDTH:.0f}" height="{height:.0f}" fill="{SEA}"/>',
            *(f'<polygon points="{p}" fill="{LAND}" stroke="{COAST}" stroke-width=".8"/>' for p in land),
        ]
        colours = self._colours(scale)
        if self._rings:
            parts += [
                f'<polygon class="site" points="{points(ring)}" fill="{colour}">{self._tip(row)}</polygon>'
                for row, (ring, colour) in enumerate(zip(self._rings, colours, strict=True))
            ]
            parts += [f'<polygon points="{p}" fill="none" stroke="{INK}" stroke-width=".6" pointer-events="none"/>' for p in land]
        else:
            for row, (lon, lat) in enumerate(
                zip(view.turn(self.sites.longitude_deg).tolist(), self.sites.latitude_deg.tolist(), strict=True)
            ):
                x, y = centre(lon, lat)
                parts.append(
                    f'<circle class="site" cx="{x:.1f}" cy="{y:.1f}" r="7" fill="{colours[row]}" stroke="{INK}">{self._tip(row)}</circle>'
                )
                if len(self.sites) <= _MOST_NAMES:
                    parts.append(f'<text {_beside(x, 10)} y="{y + 4:.1f}" class="name">{escape(self.sites.names[row])}</text>')
        for gateway in self.gateways:
            lon = float(view.turn(np.array([gateway.longitude_deg]))[0])
            if view.holds(lon, gateway.latitude_deg):
                x, y = centre(lon, gateway.latitude_deg)
                parts.append(
                    f'<path d="M{x:.1f},{y - 7:.1f}l6,11h-12z" fill="{GATEWAY}" stroke="#fff"/>'
                    f'<text {_beside(x, 9)} y="{y + 4:.1f}" class="name gateway">{escape(gateway.name)}</text>'
                )
        return "".join([*parts, "</g></svg>"])

    @cached_property
    def _rings(self) -> list[Floats]:
        """Of the cells, all turned to one side of the date line."""
        if self.sites.kind != "cell":
            return []
        middle = _middle_deg(self.sites.longitude_deg)
        rings = [cell_boundary(cell) for cell in self.sites.ids]
        return [ring + np.array([360 * np.round((middle - ring[0, 0]) / 360), 0.0]) for ring in rings]

    def _scale(self) -> Normalize:
        known = self.values[np.isfinite(self.values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        least = 10.0**-self.digits  # below what the legend can tell apart everything has one colour
        if high - low < least:
            low, high = low - least, high + least
        return Normalize(low, high)

    def _colours(self, scale: Normalize) -> list[str]:
        return [to_hex(COLOURS(scale(value))) if np.isfinite(value) else ABSENT for value in self.values.tolist()]

    def _tip(self, row: int) -> str:
        value = self.values[row]
        shown = f"{value:,.{self.digits}f}" if np.isfinite(value) else "none"
        where = f"{self.sites.latitude_deg[row]:.2f}°, {self.sites.longitude_deg[row]:.2f}°"
        return f"<title>{escape(self.sites.names[row])} ({where})\n{escape(self.legend)}: {shown}</title>"

    def _legend(self, scale: Normalize) -> Iterator[str]:
        stops = "".join(f'<stop offset="{k * 5}%" stop-color="{to_hex(COLOURS(k / 20))}"/>' for k in range(21))
        left, width = 20.0, _SVG_WIDTH - 40
        yield f'<linearGradient id="scale">{stops}</linearGradient>'
        yield f'<text x="{left}" y="14" class="tick">{escape(self.legend)}</text>'
        yield f'<rect x="{left}" y="21" width="{width}" height="14" fill="url(#scale)"/>'
        values = np.linspace(float(scale.vmin or 0.0), float(scale.vmax or 0.0), 5).tolist()
        for k, (value, anchor) in enumerate(zip(values, ("start", "middle", "middle", "middle", "end"), strict=True)):
            at = f'x="{left + k / 4 * width:.0f}" y="51"'
            yield f'<text {at} text-anchor="{anchor}" class="tick">{value:,.{self.digits}f}</text>'


_MOST_NAMES = 40


def _beside(x: float, gap: float) -> str:
    """Where a name goes: to the right of its mark, near the right edge to the left of it."""
    return f'x="{x + gap:.1f}"' if x < 0.8 * _SVG_WIDTH else f'x="{x - gap:.1f}" text-anchor="end"'


@dataclass(frozen=True, slots=True)
class _View:
    """The frame of a map, degrees; longitudes may pass 180 where it crosses the date line."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def of(cls, rings: list[Floats], sites: Sites) -> _View:
        points = np.vstack(rings) if rings else np.column_stack([sites.longitude_deg, sites.latitude_deg])
        middle = _middle_deg(points[:, 0])
        longitude = points[:, 0] if rings else middle + (points[:, 0] - middle + 180) % 360 - 180
        width, height = max(np.ptp(longitude), _LEAST_SPAN_DEG), max(np.ptp(points[:, 1]), _LEAST_SPAN_DEG)
        across, up = (longitude.min() + longitude.max()) / 2, (points[:, 1].min() + points[:, 1].max()) / 2
        half_width, half_height = width * (0.5 + _MARGIN_SHARE), height * (0.5 + _MARGIN_SHARE)
        return cls(
            float(across - half_width), float(max(up - half_height, -90)), float(across + half_width), float(min(up + half_height, 90))
        )

    @property
    def stretch(self) -> float:
        """Cosine of the middle latitude: how much narrower a degree of longitude is."""
        return max(float(np.cos(np.radians((self.south + self.north) / 2))), 0.1)

    @property
    def width(self) -> float:
        return (self.east - self.west) * self.stretch

    @property
    def height(self) -> float:
        return self.north - self.south

    def turn(self, longitude_deg: Floats) -> Floats:
        """The same longitudes, by whole turns as near to the middle as can be."""
        middle = (self.west + self.east) / 2
        return np.asarray(middle + (longitude_deg - middle + 180) % 360 - 180, dtype=np.float64)

    def holds(self, longitude_deg: float, latitude_deg: float) -> bool:
        return self.west <= longitude_deg <= self.east and self.south <= latitude_deg <= self.north

    def land(self) -> Iterator[Floats]:
        """Outlines of countries that reach into the frame."""
        for turn in (-360.0, 0.0, 360.0):
            for ring in outlines_within(self.west - turn, self.south, self.east - turn, self.north):
                yield ring + np.array([turn, 0.0])


def _annotate(axes: Axes, text: str, lon: float, lat: float, up: float, colour: str, view: _View) -> None:
    """A name beside a mark, on the side where there is room."""
    left = lon > view.west + 0.8 * (view.east - view.west)
    axes.annotate(
        text,
        (lon, lat),
        xytext=(-6 if left else 6, up),
        textcoords="offset points",
        horizontalalignment="right" if left else "left",
        fontsize=8,
        color=colour,
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        zorder=5,
    )


def _middle_deg(longitude_deg: Floats) -> float:
    """A longitude around which the points lie, also across the date line."""
    angle = np.radians(longitude_deg)
    return float(np.degrees(np.arctan2(np.sin(angle).mean(), np.cos(angle).mean())))


def _degrees(value: float, positive: str, negative: str) -> str:
    turned = (value + 180) % 360 - 180 if positive == "E" else value
    return f"{abs(turned):g}° {positive if turned >= 0 else negative}"


def _mappable(scale: Normalize) -> Any:
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(norm=scale, cmap=COLOURS)
