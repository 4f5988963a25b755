"""A constellation of one's own: what a file may say, and what is said about files with faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.space.design_file import LARGEST_FILE_BYTES, DesignFileError, parse_design, read_design
from tramontana.space.fleet import FleetError
from tramontana.space.shells import usual_phasing

GOOD = """
name = "Tricolore"
operator = "a ministry"
source = "feasibility study, 2026"
gateways = ["fucino", "matera"]

[[shell]]
name = "inclined"
altitude_km = 600
inclination_deg = 45.5
planes = 8
satellites_per_plane = 12
phasing = 3
first_node_deg = 10

[[shell]]
altitude_km = 800
inclination_deg = 90
planes = 4
satellites_per_plane = 6
pattern = "star"
"""
SHELL = "name = 'x'\n[[shell]]\naltitude_km = 600\ninclination_deg = 45\nplanes = 8\nsatellites_per_plane = 12\n"


def test_a_file_becomes_a_design_and_a_fleet(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(GOOD, encoding="utf-8")
    own = read_design(path)
    assert own.label == "Tricolore as designed"
    assert own.gateways == ("fucino", "matera")
    assert own.satellite_count == 8 * 12 + 4 * 6
    assert [shell.phasing for shell in own.shells] == [3, 2]
    assert own.assumptions == ("shell 2: phasing 2 is assumed",)
    fleet = own.fleet()
    assert len(fleet) == 120
    assert fleet.source == "feasibility study, 2026"
    assert np.unique(fleet.raan_deg[:96]).tolist() == [10, 55, 100, 145, 190, 235, 280, 325]
    assert np.unique(fleet.raan_deg[96:]).tolist() == [0, 45, 90, 135]


def test_the_example_of_the_documentation_is_valid() -> None:
    text = (Path(__file__).parents[2] / "docs" / "space.md").read_text(encoding="utf-8")
    section = text[text.index("## A constellation of your own") :]
    example = section.split("```toml\n")[1].split("```")[0]
    assert parse_design(example).satellite_count > 0


def test_phasing_that_is_left_out_is_the_usual_one() -> None:
    own = parse_design(SHELL, where="own.toml")
    assert own.shells[0].phasing == usual_phasing(own.shells[0])
    assert own.assumptions == (f"shell 1: phasing {own.shells[0].phasing} is assumed",)
    assert own.source == "generated from own.toml"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "name is missing; give 1 to 64 shells"),
        ("name = 'x'\nshell = 5", "each under a line \\[\\[shell\\]\\]"),
        ("name = 'x'\nshell = [1, 2]", "each under a line"),
        ("name = ", "is not TOML"),
        (SHELL + "altitude = 5", "shell 1: unknown key 'altitude', did you mean 'altitude_km'"),
        (SHELL.replace("600", "'high'"), "altitude_km must be a number from 160 to 45000, not 'high'"),
        (SHELL.replace("600", "nan"), "altitude_km must be a number"),
        (SHELL.replace("600", "inf"), "altitude_km must be a number"),
        (SHELL.replace("600", "true"), "altitude_km must be a number"),
        (SHELL.replace("600", "100"), "altitude_km must be a number from 160"),
        (SHELL.replace("= 45", "= 200"), "inclination_deg must be a number from 0 to 180, not 200"),
        (SHELL.replace("planes = 8", "planes = 8.5"), "planes must be a whole number"),
        (SHELL.replace("planes = 8", "planes = 0"), "planes must be a whole number from 1 to 1000, not 0"),
        (SHELL.replace("planes = 8\n", ""), "shell 1: planes is missing"),
        (SHELL + "phasing = 8", "phasing must be a whole number from 0 to 7, not 8"),
        (SHELL + "pattern = 'ring'", "pattern must be"),
        (SHELL.replace("planes = 8", "planes = 1000").replace("= 12", "= 5000"), "5,000,000 satellites are more than 100,000"),
        ((SHELL + SHELL[SHELL.index("[[") :]).replace("= 12", "= 5000").replace("planes = 8", "planes = 19"), "190,000 satellites"),
        ("name = ''\n" + SHELL[SHELL.index("[[") :], "name must be a line"),
        ("name = 'a\\nb'\n" + SHELL[SHELL.index("[[") :].replace("'", ""), "shells|name"),
        ("gateways = ['a', 'a']\n" + SHELL, "names one id twice"),
        ("gateways = 'a'\n" + SHELL, "gateways must be a list"),
        ("colour = 'red'\n" + SHELL, "unknown key 'colour', use name"),
    ],
)
def test_faults_are_named(text: str, says: str) -> None:
    if "a\\nb" in text:
        text = text.replace("'a\\nb'", '"a\\nb"')
        says = "name must be a line"
    with pytest.raises(DesignFileError, match=says):
        parse_design(text)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(DesignFileError) as caught:
        parse_design("[[shell]]\naltitude_km = 1\n[[shell]]\nplanes = 'x'", where="own.toml")
    text = str(caught.value)
    assert text.startswith("own.toml: ")
    for fault in ("name is missing", "shell 1: altitude_km must", "shell 1: planes is missing", "shell 2: planes must"):
        assert fault in text


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DesignFileError, match="No such file"):
        read_design(tmp_path / "none.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (LARGEST_FILE_BYTES + 1))
    with pytest.raises(DesignFileError, match="larger than"):
        read_design(tmp_path / "large.toml")
    (tmp_path / "odd.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(DesignFileError, match="not UTF-8"):
        read_design(tmp_path / "odd.toml")


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    for candidate in (text, SHELL + text):
        try:
            own = parse_design(candidate)
        except DesignFileError:
            continue
        try:
            assert len(own.fleet()) == own.satellite_count
        except FleetError:
            pytest.fail("a design that was accepted makes no fleet")
