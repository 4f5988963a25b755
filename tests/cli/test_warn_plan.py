"""`tramontana warn plan`: an area, satellites, and a block of system information for every beam, on no server at all."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tramontana.cell.asn1_directory import directory
from tramontana.cli.main import tramontana

WHERE = ("warn", "plan", "--circle", "42.7,13.3,30", "--design", "starlink-direct-to-cell", "--at", "2026-05-21T12:00Z")


def run(*arguments: str, status: int = 0) -> Result:
    ran = CliRunner().invoke(tramontana, [*WHERE, *arguments])
    assert ran.exit_code == status, f"{arguments}\n{ran.output}\n{ran.exception!r}"
    return ran


@pytest.mark.parametrize(("block", "name", "kind"), [("sib19", "RRCNR", "sib19-v1700"), ("sib31", "RRCLTE", "sib31-v1700")])
def test_every_beam_has_its_block(tmp_path: Path, block: str, name: str, kind: str) -> None:
    table, out = tmp_path / "plan.csv", tmp_path / "blocks"
    said = run("--sib", block, "--out", str(out), "--csv", str(table)).output
    assert "planned, not commanded" in said
    assert re.search(r"Lit three times +100\.0 %", said)
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["file"] for row in rows) == sorted(path.name for path in out.iterdir())
    assert all(float(row["end_error_m"]) < 2.0 for row in rows)
    definitions = getattr(directory(name), "NR_RRC_Definitions" if block == "sib19" else "EUTRA_RRC_Definitions")
    for row in rows:
        pdu = definitions.BCCH_DL_SCH_Message
        pdu.from_uper((out / row["file"]).read_bytes())
        information = pdu.get_val()["message"][1][1]["criticalExtensions"][1]
        assert information["sib-TypeAndInfo"][0][0] == kind


def test_what_cannot_be_planned_is_said(tmp_path: Path) -> None:
    assert "give both or neither" in run("--sib", "sib19", status=2).output
    assert "is not LAT,LON" in run("--gateway", "Rome", status=2).output
    refused = run("--gateway=-42,-167", "--sib", "sib31", "--out", str(tmp_path), status=1)
    assert "the gateway does not see every satellite" in str(refused.exception)
    assert not list(tmp_path.iterdir())
    nowhere = CliRunner().invoke(tramontana, ["warn", "plan", "--design", "starlink-direct-to-cell"])
    assert "say where with --area or --circle" in nowhere.output
