"""Long work that is stopped goes on where it was: killed in the middle, and on a Dask cluster, with the same results to the bit."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.planning.test_losses import STUDY
from tramontana.cli import plan_draws
from tramontana.cli.kept_work import KeptAnswers
from tramontana.cli.main import tramontana
from tramontana.cli.output import write_whole
from tramontana.cli.sky_options import Work
from tramontana.errors import LocalError
from tramontana.planning.areas import Covered
from tramontana.planning.losses import Serving
from tramontana.planning.sky import SkyDesign, Without
from tramontana.planning.study import StudyText
from tramontana.space.shells import Shell

SKY = SkyDesign(None, (Shell(1200, 48, 6, 8, 1),), ("IT",))
DESIGN = """
[design]
alternative = "national"
altitudes_km = [1100, 1200, 1300]
inclinations_deg = [44, 48]
planes = [4]
satellites_per_plane = [8]
landing = ["IT"]
available = 0.9
round_trip_ms = 60
"""


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with a worker in a process of its own."""
    distributed = pytest.importorskip("distributed", reason="the optional packages of a Dask cluster are not installed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0", protocol="tcp"
    ) as cluster:
        yield cluster.scheduler_address


def run(*arguments: object) -> str:
    answer = CliRunner().invoke(tramontana, ["plan", *map(str, arguments)])
    assert answer.exit_code == 0, (answer.output, answer.exception)
    return answer.stderr


def test_an_answer_is_found_by_what_was_asked_and_read_back_as_it_was(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path / "kept")
    one = kept.path("work", SKY)
    assert one == kept.path("work", SkyDesign(None, (Shell(1200, 48, 6, 8, 1),), ("IT",)))
    others = [("work", Serving(SKY, 1, 2)), ("other work", SKY), ("work", SkyDesign(None, SKY.shells, ("IT",), without=Without(planes=1)))]
    assert len({one, *(kept.path(work, piece) for work, piece in others)}) == 4
    many = [Without(gateways=frozenset(names)) for names in (["a", "b", "c"], ["c", "b", "a"])]
    assert kept.path("work", many[0]) == kept.path("work", many[1])
    assert kept.read(one) == (False, None)
    kept.keep(one, Covered(np.array([0.1, np.nan]), np.array([1.0, 2.0]), np.array([0.3, 4.0])))
    is_there, answer = kept.read(one)
    assert is_there
    assert np.array_equal(answer.served, [0.1, np.nan], equal_nan=True)
    with pytest.raises(TypeError, match="no plain record"):
        kept.path("work", object())
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="choose another folder"):
        KeptAnswers(tmp_path / "file" / "below")


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


@pytest.mark.parametrize("bad", [pickle.dumps(_Evil()), pickle.dumps(Path("x")), b"", b"\x80\x05"])
def test_what_is_no_answer_is_not_taken_for_one(tmp_path: Path, bad: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(command: str) -> int:
        raise AssertionError(command)

    monkeypatch.setattr(os, "system", never)
    kept = KeptAnswers(tmp_path)
    path = kept.path("work", SKY)
    write_whole(path, hashlib.sha256(bad).hexdigest().encode() + b"\n" + bad)
    assert kept.read(path) == (False, None)
    kept.keep(path, [SKY])
    assert kept.read(path) == (True, [SKY])
    path.write_bytes(path.read_bytes()[:-1])  # torn
    assert kept.read(path) == (False, None)


def test_draws_in_blocks_are_those_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "study.toml"
    study.write_text(STUDY.replace("years = 2", "years = 2\ndraws = 30_001", 1))
    for name, block in (("whole", 1_000_000), ("blocks", 7_000)):
        monkeypatch.setattr(plan_draws, "BLOCK", block)
        run("figures", study, "--csv", tmp_path / f"{name}.csv", "--resume", tmp_path / "kept")
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "blocks.csv").read_bytes()


def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path: Path) -> None:
    study, kept, answer = tmp_path / "study.toml", tmp_path / "kept", tmp_path / "a.csv"
    study.write_text(STUDY)
    command = [sys.executable, "-m", "tramontana.cli.main", "plan", "run", str(study), "--resume", str(kept), "--csv", str(answer)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(kept.glob("*.answer")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    before = len(list(kept.glob("*.answer")))
    assert before >= 1
    assert not answer.exists()
    times = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.answer")}
    words = run("run", study, "--resume", kept, "--csv", answer, "--progress")
    after = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.answer")}
    assert times.items() <= after.items()  # nothing was computed twice
    assert len(after) > before
    assert f"service: {before + 1} of {len(after)} pieces" in words
    run("run", study, "--csv", tmp_path / "b.csv")
    assert answer.read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_the_same_on_a_cluster_and_again_from_what_it_left(tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_draws, "BLOCK", 10_000)
    study, kept = tmp_path / "study.toml", tmp_path / "kept"
    study.write_text(STUDY.replace("years = 2", "years = 2\ndraws = 20_000", 1))
    run("figures", study, "--csv", tmp_path / "here.csv")
    run("figures", study, "--csv", tmp_path / "there.csv", "--dask", scheduler, "--resume", kept)
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()
    # All that the cluster did is kept: a scheduler that nobody answers for is not even asked.
    run("figures", study, "--csv", tmp_path / "again.csv", "--resume", kept, "--dask", "tcp://127.0.0.1:1")
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_a_design_in_pieces(tmp_path: Path, scheduler: str) -> None:
    from tests.planning.test_design_search import DESIGN as CONSTELLATION
    from tests.planning.test_study import TINY

    study, kept = tmp_path / "design.toml", tmp_path / "kept"
    study.write_text(TINY + CONSTELLATION.split("[design]")[0] + DESIGN)
    outputs = [
        CliRunner().invoke(tramontana, ["plan", "design", str(study), *options]).stdout
        for options in ([], ["--dask", scheduler, "--resume", str(kept)], ["--resume", str(kept)])
    ]
    assert "Cheapest" in outputs[0]
    assert len(set(outputs)) == 1
    assert len(list(kept.glob("*.answer"))) == 6


def test_a_work_without_a_folder_keeps_nothing() -> None:
    assert Work(1, None, False).kept is None
    assert StudyText("a", {}) == StudyText("a", {})
