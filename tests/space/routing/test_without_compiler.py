"""The kernels as plain Python: NUMBA_DISABLE_JIT=1 gives what the compiled ones give, to the last bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import hashlib, json
import numba
from tramontana.space.ground import mediterranean
from tramontana.space.routing.failures import Failures
from tramontana.space.routing.router import Router
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate

fleet = generate((Shell(550.0, 53.0, 10, 8, 3),), label="small", source="test", name_prefix="S")
ground = mediterranean()
router = Router(fleet, ground)
digest = hashlib.sha256()
texts = []
for at in (FILED_EPOCH_UNIX_S, FILED_EPOCH_UNIX_S + 1000.0):
    failures = Failures(satellites=frozenset({3}), lasers=frozenset({(0, 1)}))
    for array in (
        router.lasers(at).delay_s,
        router.distances(at, [*ground.places[:5], *ground.gateways[:3], 4]),
        router.distances(at, ground.places[:3], failures),
        *router.forwarding(at, ground.places),
    ):
        digest.update(array.tobytes())
    for place in ground.places[::4]:
        texts.append(str(router.route(place, None, at)))
        texts.append(str(router.disjoint_routes(place, ground.places[0], at, 3)))
print(json.dumps({"digest": digest.hexdigest(), "routes": texts, "compiled": not numba.config.DISABLE_JIT}))
"""


def test_compiled_and_plain_kernels_agree() -> None:
    answers = []
    for switched_off in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": switched_off}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300, check=True)
        answers.append(json.loads(done.stdout))
    compiled, plain = answers
    assert compiled.pop("compiled") is True
    assert plain.pop("compiled") is False
    assert compiled == plain
    assert any("→" in text for text in plain["routes"])
