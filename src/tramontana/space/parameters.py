"""The figures of the thin path model: each one named, with its range, and with a source or the word "assumption"."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tramontana.errors import LocalError


@dataclass(frozen=True, slots=True)
class Parameter:
    """A figure with the range in which it may lie and what it rests on; `source` starts with "assumption" where nobody published it."""

    value: float
    low: float
    high: float
    unit: str
    source: str

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise LocalError(
                f"the value {self.value} {self.unit} lies outside its own range {self.low} to {self.high}: correct one of them"
            )

    @property
    def is_assumption(self) -> bool:
        return self.source.startswith("assumption")


@dataclass(frozen=True, slots=True)
class PathParameters:
    """What the path model of a low-orbit carrier needs beyond geometry. Replace one with `dataclasses.replace`."""

    access_one_way_s: Parameter = Parameter(
        0.009,
        0.0069,
        0.0102,
        "s",
        "fitted (docs/latency.md) on the operator's published median latency of 18 countries, September 2026; one half of them gives "
        "0.0100, the other 0.0086; the range is what single countries ask for, without Iceland and Sweden, which partly use lasers",
    )
    fibre_detour: Parameter = Parameter(
        1.6,
        1.3,
        2.1,
        "× great circle",
        "Bozkurt et al. 2018, arXiv 1811.10737: 1.3 along conduits to 2.1 as measured; 1.6 between is assumed",
    )
    fibre_speed_of_light_share: Parameter = Parameter(
        2 / 3, 0.66, 0.69, "of c", "group index 1.45 to 1.5 of silica single-mode fibre (ITU-T G.652 fibres; 1.468 at 1550 nm is usual)"
    )
    capacity_down_bps: Parameter = Parameter(
        250e6,
        180e6,
        350e6,
        "bit/s",
        "operator's published residential throughput, September 2026: medians 244 to 282 Mbit/s, p20 to p80 180 to 349, in FR, DE, AT, SI; "
        "Italy is not listed",
    )
    capacity_up_bps: Parameter = Parameter(
        37e6, 26e6, 51e6, "bit/s", "same table: medians 35 to 40 Mbit/s, p20 to p80 26 to 51, in FR, DE, AT, SI"
    )
    random_loss: Parameter = Parameter(0.005, 0.0, 0.02, "of packets", "assumption: no authoritative figure for an idle link was found")
    handover_outage_s: Parameter = Parameter(
        0.05, 0.0, 0.5, "s", "assumption: no authoritative figure was found; packets sent in it are lost"
    )

    def assumptions(self) -> tuple[str, ...]:
        """One line for each figure that nobody published, for notes on screen."""
        rows = ((f.name, getattr(self, f.name)) for f in fields(self))
        return tuple(f"{name} {p.value:g} {p.unit} ({p.low:g} to {p.high:g}): {p.source}" for name, p in rows if p.is_assumption)
