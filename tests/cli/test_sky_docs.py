"""The page of the sky command and the command agree."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tramontana.cli.sky import STUDIES, sky

PAGE = Path(__file__).parents[2] / "docs" / "sky-command.md"
EVERYWHERE = {"--data", "--help"}


def options_of(name: str) -> set[str]:
    command = sky.get_command(click.Context(sky), name)
    assert command is not None
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


@pytest.mark.parametrize("name", STUDIES)
def test_every_option_is_described(name: str) -> None:
    page = PAGE.read_text()
    assert f"| `{name}` |" in page
    missing = {option for option in options_of(name) - EVERYWHERE if not re.search(rf"{option}\b", page)}
    assert not missing


def test_no_option_is_described_that_does_not_exist() -> None:
    known = set().union(*(options_of(name) for name in STUDIES))
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE.read_text())) <= known


def test_pages_named_exist() -> None:
    for target in re.findall(r"\]\(([a-z-]+\.md)\)", PAGE.read_text()):
        assert (PAGE.parent / target).is_file(), target
