"""Constellations that can be chosen by name: what operators filed, were granted, published or fly, each table with its source beside it.

None of these is a fleet in orbit: load element sets for that. What nobody published is an assumption and says so in `Design.assumptions`,
which every use shows. Phasing is one: it is that of `shells.usual_phasing` unless a comment says otherwise (tests/space/test_designs.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet
from tramontana.space.shells import (
    FILED_EPOCH_UNIX_S,
    STARLINK_GEN1_AS_FILED,
    STARLINK_GEN1_SOURCE,
    Shell,
    generate,
)

_PHASING = "phasing between planes and the first node of each shell are assumed: nobody filed them"


@dataclass(frozen=True, slots=True)
class Design:
    """A constellation on paper."""

    id: str
    label: str
    """What people see; it ends with what the table is: as filed, as granted, as published, as flown, assumed, as designed."""
    operator: str
    shells: tuple[Shell, ...]
    source: str
    assumptions: tuple[str, ...]
    """What the figures leave open and how it was filled, a sentence each; empty only if nothing is assumed."""
    gateways: tuple[str, ...] = ()
    """Ids of gateways that belong to it, for a ground that knows them."""

    @property
    def satellite_count(self) -> int:
        return sum(shell.satellite_count for shell in self.shells)

    def fleet(self, epoch_unix_s: float = FILED_EPOCH_UNIX_S) -> Fleet:
        """The satellites, circular and without drag, in the same form as real elements."""
        return generate(
            self.shells, label=self.label, source=self.source, name_prefix=self.id.upper().replace("-", " "), epoch_unix_s=epoch_unix_s
        )


def design(design_id: str) -> Design:
    """The built-in design with this id; raises `LocalError` that lists the known ones."""
    try:
        return DESIGNS[design_id]
    except KeyError:
        raise LocalError(f"unknown design {design_id!r}: use one of {', '.join(DESIGNS)}, or a TOML file of your own") from None


# SpaceX, amendment of 18 August 2021 to the Gen2 application (SAT-AMD-20210818-00105), configuration 1: altitude, inclination, planes and
# satellites per plane. FCC 22-91 repeats its sums: 19,440 satellites at 340 to 360 km, 10,080 at 525 to 535 km, 468 at 604 and 614 km,
# 29,988 in all. Planes × satellites of the 525 km and of the two highest shells were read in tables that cite the filing; those of the
# other shells are recalled and agree with the sums.
_GEN2_LOW = (
    Shell(340.0, 53.0, 48, 110, 25),
    Shell(345.0, 46.0, 48, 110, 1),
    Shell(350.0, 38.0, 48, 110, 35),
    Shell(360.0, 96.9, 30, 120, 17),
)
_GEN2_MIDDLE = (Shell(525.0, 53.0, 28, 120, 27), Shell(530.0, 43.0, 28, 120, 11), Shell(535.0, 33.0, 28, 120, 15))
_GEN2_HIGH = (Shell(604.0, 148.0, 12, 12, 1), Shell(614.0, 115.7, 18, 18, 1))

# FCC 22-91, Order and Authorization of 1 December 2022: up to 7,500 satellites at 525 km/53°, 530 km/43° and 535 km/33°; how many in which
# shell it does not say. Later grants (November 2024: those satellites also between 340 and 360 km; January 2026: 7,500 more, 15,000 in all,
# further shells, half by 1 December 2028 and all by December 2031) name no planes that were read, and are not modelled.
_GEN2_GRANTED = tuple(replace(shell, satellites_per_plane=89, phasing=f) for shell, f in zip(_GEN2_MIDDLE, (22, 22, 16), strict=True))

# Element sets of 21 May 2026 (CelesTrak), satellites named "[DTC]": 328 in 26 planes 13.8° apart at 43.00° and 358 km with 11 to 13 each;
# 310 at 53.16° and 360 km in 24 planes 15° apart with 10 to 13 each, and three planes between those with 1 to 6.
_DIRECT_TO_CELL = (Shell(358.0, 43.0, 26, 13, 24), Shell(360.0, 53.16, 24, 13, 12))

# SpaceX, direct-to-cell application of 2022: up to 2,016 payloads on Gen2 satellites, 28 planes of up to 72 at 525 km/53° and 530 km/43°.
# How many in which shell was not read: half of each plane's number in either.
_DIRECT_TO_CELL_FILED = (Shell(525.0, 53.0, 28, 36, 17), Shell(530.0, 43.0, 28, 36, 25))

# SpaceX's application of 17 September 2025 to the FCC: up to 15,000 satellites near 330 km for telephones (altagrove.com, as read); shells
# and planes were not read: half of them at each inclination of today's.
_DIRECT_TO_CELL_FILED_2025 = (Shell(330.0, 53.0, 75, 100, 41), Shell(330.0, 43.0, 75, 100, 11))

# FCC 20-102, Order and Authorization of 29 July 2020 (SAT-LOA-20190704-00057): 3,236 satellites.
_KUIPER = (Shell(630.0, 51.9, 34, 34, 7), Shell(610.0, 42.0, 36, 36, 11), Shell(590.0, 33.0, 28, 28, 17))

# First generation as flown: 588 satellites in 12 planes near 1,200 km, 15.225° apart, 12.525° across the seam (kusat.com/OneWeb/Resources,
# 12 × 49 also by ISRO on its launch of 2023); inclination from the elements of July 2026 (651 sets, 87.9°). Spares are left out; planes
# stand 4 km apart in altitude (1,175 to 1,219 km), which is left out too.
_ONEWEB = (Shell(1200.0, 87.9, 12, 49, 6, pattern="star", plane_spacing_deg=15.225),)

# 66 satellites in 6 planes at 780 km and 86.4°, 31.6° apart, 22° across the seam (satobs.org/seesat/Oct-1999/0202.html gives 31.58° and
# 22.10° as observed); half a slot between neighbours.
_IRIDIUM = (Shell(780.0, 86.4, 6, 11, 3, pattern="star", plane_spacing_deg=31.6),)

# advanced-television.com, 5 January 2026: 264 LEO at about 1,200 km and 18 MEO at 8,000 km (a later request for proposals: 272 LEO);
# service in 2030, all in 2031. Inclinations and planes are not published.
_IRIS2_LEO = (Shell(1200.0, 87.9, 12, 22, 6, pattern="star", name="LEO"),)
_IRIS2_MEO = (Shell(8000.0, 50.0, 3, 6, 0, name="MEO"),)

_GEN2_FILED = (*_GEN2_LOW, *_GEN2_MIDDLE, *_GEN2_HIGH)

DESIGNS: Mapping[str, Design] = MappingProxyType(
    {
        one.id: one
        for one in (
            Design("starlink-gen1", "Starlink Gen1 as filed", "SpaceX", STARLINK_GEN1_AS_FILED, STARLINK_GEN1_SOURCE, (_PHASING,)),
            Design(
                "starlink-gen2",
                "Starlink Gen2 as filed",
                "SpaceX",
                _GEN2_FILED,
                "generated from SAT-AMD-20210818-00105, configuration 1 (sums as in FCC 22-91)",
                (
                    _PHASING,
                    "filed, not granted: 15,000 of the 29,988 are authorised as of January 2026, not all of them in these shells",
                ),
            ),
            Design(
                "starlink-gen2-granted-2022",
                "Starlink Gen2 as granted in 2022",
                "SpaceX",
                _GEN2_GRANTED,
                "generated from FCC 22-91 (1 December 2022), up to 7,500 satellites",
                (
                    _PHASING,
                    "the grant does not divide its 7,500: a third in each shell is assumed, 28 planes as filed, 89 a plane (0 to 120)",
                    "the grants of November 2024 and January 2026 are not in it",
                ),
            ),
            Design(
                "starlink-direct-to-cell",
                "Starlink direct-to-cell as flown in May 2026",
                "SpaceX",
                _DIRECT_TO_CELL,
                "generated from the planes found in CelesTrak element sets of 21 May 2026",
                (
                    "phasing between planes and the first node of each shell are assumed",
                    "every plane is full (650 satellites instead of 638), the three partly filled planes between others are left out",
                ),
            ),
            Design(
                "starlink-direct-to-cell-filed",
                "Starlink direct-to-cell as filed in 2022",
                "SpaceX",
                _DIRECT_TO_CELL_FILED,
                "generated from SpaceX's direct-to-cell application of 2022 to the FCC (scribd.com/document/612879369)",
                (
                    _PHASING,
                    "the filing names up to 2,016 satellites in 28 planes of up to 72 over two shells: 28 planes of 36 in each are assumed",
                ),
            ),
            Design(
                "starlink-direct-to-cell-filed-2025",
                "Starlink direct-to-cell as filed in 2025",
                "SpaceX",
                _DIRECT_TO_CELL_FILED_2025,
                "generated from SpaceX's application of September 2025 to the FCC, by altagrove.com: up to 15,000 satellites near 330 km",
                (
                    _PHASING,
                    "inclinations and planes were not read: 75 planes of 100 at 53° and at 43° are assumed",
                ),
            ),
            Design(
                "oneweb",
                "OneWeb first generation as flown",
                "Eutelsat",
                _ONEWEB,
                "generated from published plane spacing and counts, without spares",
                ("half a slot between neighbouring planes is assumed", "all planes at 1,200 km; they fly 4 km apart, 1,175 to 1,219 km"),
            ),
            Design("kuiper", "Kuiper as filed", "Amazon", _KUIPER, "generated from FCC 20-102 (SAT-LOA-20190704-00057)", (_PHASING,)),
            Design(
                "iridium",
                "Iridium as published",
                "Iridium Communications",
                _IRIDIUM,
                "generated from 66 satellites at 780 km, 86.4°, six planes 31.6° apart, without spares",
                ("half a slot between neighbouring planes is assumed",),
            ),
            Design(
                "iris2",
                "IRIS² as announced, orbits assumed",
                "SpaceRISE",
                (*_IRIS2_LEO, *_IRIS2_MEO),
                "generated from the announced 264 LEO and 18 MEO satellites (advanced-television.com, 5 January 2026)",
                (
                    "LEO: 12 planes of 22 in a polar star at 87.9° are assumed (8 to 18 planes, 50 to 90°; a later request has 272)",
                    "MEO: 3 planes of 6 at 50° are assumed (inclination 0 to 60°)",
                    "phasing is assumed",
                ),
            ),
        )
    }
)
