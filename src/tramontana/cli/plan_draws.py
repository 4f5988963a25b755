"""The draws of a study, in blocks that may be evaluated side by side: every figure that its tables and pages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tramontana.cli.plan_study import Findings, all_results, results_of
from tramontana.cli.sky_options import Work
from tramontana.planning.figure import Draws, Figure, Values, ancestry, evaluate
from tramontana.planning.study import Study, StudyText, parse_study

BLOCK = 50_000
"""Draws: half a second of work, so that a block is worth its way."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Figures and what the draws make of them."""

    results: Mapping[str, list[Figure]]
    """By alternative."""
    values: Mapping[Figure, Values]
    """Of those, and of all that they are made of."""


@dataclass(frozen=True, slots=True)
class EvaluateDraws:
    """The work of one block, picklable: formulas do not travel, so the study is read again where the work is done."""

    origin: StudyText
    findings: Findings | None
    """None: costs alone."""
    seed: int

    def __call__(self, block: range) -> list[Values]:
        """By figure, in the order of `ancestry`."""
        roots = _roots(_results(parse_study(self.origin.text, self.origin.files), self.findings))
        values = evaluate(roots, Draws.random(roots, len(block), self.seed, block.start))
        return [values[figure] for figure in ancestry(roots)]


def drawn(study: Study, findings: Findings | None, work: Work) -> Drawn:
    """All results of a study; without findings, its costs alone. The numbers are the same however the blocks are shared out."""
    results, count = _results(study, findings), study.head.draws
    roots = _roots(results)
    if count <= BLOCK:
        return Drawn(results, evaluate(roots, Draws.random(roots, count, study.head.seed)))
    blocks = [range(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
    parts = work.run("draws", EvaluateDraws(study.origin, findings, study.head.seed), blocks)
    return Drawn(results, {figure: _joined(each) for figure, each in zip(ancestry(roots), zip(*parts, strict=True), strict=True)})


def _results(study: Study, findings: Findings | None) -> dict[str, list[Figure]]:
    return {one.id: results_of(one) if findings is None else all_results(study, one, findings) for one in study.alternatives}


def _roots(results: Mapping[str, list[Figure]]) -> list[Figure]:
    return [figure for each in results.values() for figure in each]


def _joined(blocks: tuple[Values, ...]) -> Values:
    """What no draw changes has one row in every block, and in the whole."""
    return blocks[0] if all(len(block) == 1 for block in blocks) else np.concatenate(blocks)
