"""Adaptive coding and modulation: from a signal-to-noise ratio to bits per symbol.

DVB-S2 (ETSI EN 302 307-1, table 13) and DVB-S2X (ETSI EN 302 307-2 V1.1.1, clause 6), normal FECFRAME of 64 800 bits without
pilots: ideal Es/N0 for quasi-error-free reception over the linear AWGN channel. Starlink's own waveform is not DVB-S2; it stands in
for it here, as any modern code within a decibel of it would.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class ModCod(NamedTuple):
    """One step: what it carries and the least Es/N0 at which it is quasi-error-free on an ideal receiver."""

    name: str
    bits_per_symbol: float
    es_n0_db: float


_S2 = (
    ModCod("QPSK 1/4", 0.490243, -2.35),
    ModCod("QPSK 1/3", 0.656448, -1.24),
    ModCod("QPSK 2/5", 0.789412, -0.30),
    ModCod("QPSK 1/2", 0.988858, 1.00),
    ModCod("QPSK 3/5", 1.188304, 2.23),
    ModCod("QPSK 2/3", 1.322253, 3.10),
    ModCod("QPSK 3/4", 1.487473, 4.03),
    ModCod("QPSK 4/5", 1.587196, 4.68),
    ModCod("QPSK 5/6", 1.654663, 5.18),
    ModCod("QPSK 8/9", 1.766451, 6.20),
    ModCod("QPSK 9/10", 1.788612, 6.42),
    ModCod("8PSK 3/5", 1.779991, 5.50),
    ModCod("8PSK 2/3", 1.980636, 6.62),
    ModCod("8PSK 3/4", 2.228124, 7.91),
    ModCod("8PSK 5/6", 2.478562, 9.35),
    ModCod("8PSK 8/9", 2.646012, 10.69),
    ModCod("8PSK 9/10", 2.679207, 10.98),
    ModCod("16APSK 2/3", 2.637201, 8.97),
    ModCod("16APSK 3/4", 2.966728, 10.21),
    ModCod("16APSK 4/5", 3.165623, 11.03),
    ModCod("16APSK 5/6", 3.300184, 11.61),
    ModCod("16APSK 8/9", 3.523143, 12.89),
    ModCod("16APSK 9/10", 3.567342, 13.13),
    ModCod("32APSK 3/4", 3.703295, 12.73),
    ModCod("32APSK 4/5", 3.951571, 13.64),
    ModCod("32APSK 5/6", 4.119540, 14.28),
    ModCod("32APSK 8/9", 4.397854, 15.69),
    ModCod("32APSK 9/10", 4.453027, 16.05),
)

# Two public transcriptions of the table were compared; where they differ (32APSK 2/3-L, 64APSK 5/6: 0.07 %) the lower figure, that of
# a BCH code correcting 12 errors, is taken.
_S2X = (
    ModCod("QPSK 2/9", 0.434841, -2.85),
    ModCod("QPSK 13/45", 0.567805, -2.03),
    ModCod("QPSK 9/20", 0.889135, 0.22),
    ModCod("QPSK 11/20", 1.088581, 1.45),
    ModCod("8APSK 5/9-L", 1.647211, 4.73),
    ModCod("8APSK 26/45-L", 1.713601, 5.13),
    ModCod("8PSK 23/36", 1.896173, 6.12),
    ModCod("8PSK 25/36", 2.062148, 7.02),
    ModCod("8PSK 13/18", 2.145136, 7.49),
    ModCod("16APSK 1/2-L", 1.972253, 5.97),
    ModCod("16APSK 8/15-L", 2.104850, 6.55),
    ModCod("16APSK 5/9-L", 2.193247, 6.84),
    ModCod("16APSK 26/45", 2.281645, 7.51),
    ModCod("16APSK 3/5", 2.370043, 7.80),
    ModCod("16APSK 3/5-L", 2.370043, 7.41),
    ModCod("16APSK 28/45", 2.458441, 8.10),
    ModCod("16APSK 23/36", 2.524739, 8.38),
    ModCod("16APSK 2/3-L", 2.635236, 8.43),
    ModCod("16APSK 25/36", 2.745734, 9.27),
    ModCod("16APSK 13/18", 2.856231, 9.71),
    ModCod("16APSK 7/9", 3.077225, 10.65),
    ModCod("16APSK 77/90", 3.386618, 11.99),
    ModCod("32APSK 2/3-L", 3.289502, 11.10),
    ModCod("32APSK 32/45", 3.510192, 11.75),
    ModCod("32APSK 11/15", 3.620536, 12.17),
    ModCod("32APSK 7/9", 3.841226, 13.05),
    ModCod("64APSK 32/45-L", 4.206428, 13.98),
    ModCod("64APSK 11/15", 4.338659, 14.81),
    ModCod("64APSK 7/9", 4.603122, 15.47),
    ModCod("64APSK 4/5", 4.735354, 15.87),
    ModCod("64APSK 5/6", 4.933701, 16.55),
    ModCod("128APSK 3/4", 5.163248, 17.73),
    ModCod("128APSK 7/9", 5.355556, 18.53),
    ModCod("256APSK 29/45-L", 5.065690, 16.98),
    ModCod("256APSK 2/3-L", 5.241514, 17.24),
    ModCod("256APSK 31/45-L", 5.417338, 18.10),
    ModCod("256APSK 32/45", 5.593162, 18.59),
    ModCod("256APSK 11/15-L", 5.768987, 18.84),
    ModCod("256APSK 3/4", 5.900855, 19.57),
)

ALL_MODCODS = (*_S2, *_S2X)


def _ladder() -> tuple[ModCod, ...]:
    """By rising threshold, only those that carry more than every more robust one."""
    kept: list[ModCod] = []
    for step in sorted(ALL_MODCODS, key=lambda m: (m.es_n0_db, -m.bits_per_symbol)):
        if not kept or step.bits_per_symbol > kept[-1].bits_per_symbol:
            kept.append(step)
    return tuple(kept)


MODCODS = _ladder()
"""The steps that adaptive coding uses: threshold and efficiency both strictly increase."""

_THRESHOLDS_DB = np.array([m.es_n0_db for m in MODCODS])
_BITS = np.array([0.0, *(m.bits_per_symbol for m in MODCODS)])


def bits_per_symbol(es_n0_db: ArrayLike) -> Floats:
    """What the best step carries at an Es/N0 (implementation margin already taken off), 0 below the most robust; NaN gives 0."""
    es_n0 = np.nan_to_num(np.asarray(es_n0_db, dtype=np.float64), nan=-np.inf)
    return np.asarray(_BITS[np.searchsorted(_THRESHOLDS_DB, es_n0, side="right")])


def required_es_n0_db(bits: float) -> float:
    """Es/N0 of the first step that carries at least so much; infinite if none does."""
    index = int(np.searchsorted(_BITS[1:], bits, side="left"))
    return float(_THRESHOLDS_DB[index]) if index < len(MODCODS) else float("inf")
