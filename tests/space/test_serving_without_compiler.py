"""Serving and beams as plain Python: NUMBA_DISABLE_JIT=1 gives what the compiled kernels give."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import hashlib, json
import numba, numpy as np
from tramontana.space.beams.assignment import BeamRules, greatest_plan, greedy_plan
from tramontana.space.beams.cells import Pairs
from tramontana.space.ground import mediterranean
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.serving import Scheduler, slot_of
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate

fleet = generate((Shell(550.0, 53.0, 20, 20, 3),), label="small", source="test", name_prefix="S")
ground = mediterranean()
digest = hashlib.sha256()
served = 0
for limit in (False, True):
    scheduler = Scheduler(fleet, ground, Propagator(fleet), PathParameters(), 5, limit_antennas=limit)
    first = slot_of(FILED_EPOCH_UNIX_S)
    satellite, gateway = scheduler.assignments(ground.places, range(first, first + 12))
    served += int(np.count_nonzero(satellite >= 0))
    digest.update(satellite.tobytes() + gateway.tobytes())
random = np.random.default_rng(1)
seen = random.random((60, 12)) < 0.3
pairs = Pairs(np.concatenate([[0], np.cumsum(seen.sum(axis=1))]).astype(np.int64), np.nonzero(seen)[1].astype(np.int32), 12)
plan = greedy_plan(pairs, random.integers(0, 4, 60), BeamRules(6, 3))
best = greatest_plan(plan)
digest.update(plan.used.tobytes() + best.used.tobytes())
totals = [served, plan.total, best.total]
print(json.dumps({"digest": digest.hexdigest(), "totals": totals, "compiled": not numba.config.DISABLE_JIT}))
"""


def test_compiled_and_plain_kernels_agree() -> None:
    answers = []
    for disable in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=os.environ | {"NUMBA_DISABLE_JIT": disable}, capture_output=True, text=True, check=True
        )
        answers.append(json.loads(done.stdout))
    compiled, plain = answers
    assert (compiled.pop("compiled"), plain.pop("compiled")) == (True, False)
    assert compiled == plain
    served, greedy, best = plain["totals"]
    assert served > 100
    assert 0 < greedy <= best
