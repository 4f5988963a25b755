"""The command itself: every subcommand that it names is there, and help is cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from tramontana.cli.main import COMMANDS, tramontana


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_help_names_is_there(name: str) -> None:
    answer = CliRunner().invoke(tramontana, [name, "--help"])
    assert answer.exit_code == 0, answer.output
    assert f"Usage: tramontana {name}" in answer.output


def test_help_has_one_line_for_each_and_imports_none_of_them() -> None:
    ask = (
        "import sys; from tramontana.cli.main import tramontana; tramontana.main(['--help'], standalone_mode=False); "
        "print([module for module in ('numpy', 'fastapi') if module in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, timeout=60).stdout
    lines = answer.splitlines()
    assert lines[-1] == "[]"
    for name, (_, line) in COMMANDS.items():
        assert any(words.split() == [name, *line.split()] for words in lines), name


def test_a_command_that_does_not_exist_is_named() -> None:
    answer = CliRunner().invoke(tramontana, ["telegraph"])
    assert answer.exit_code == 2
    assert "telegraph" in answer.output
