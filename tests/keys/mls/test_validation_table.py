"""docs/mls-validation.md against the code: whatever it names exists, and every refusal that the core can make is shown by a test."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from tramontana.keys.mls import errors

ROOT = Path(__file__).parents[3]
ROWS = [
    tuple(re.findall(r"`([a-z_]+\.[A-Za-z_.]+)` \| `([a-z_]+)\.([a-z_]+)` \|$", line)[0])
    for line in (ROOT / "docs/mls-validation.md").read_text().splitlines()
    if line.startswith("| §")
]


def test_the_table_is_there() -> None:
    assert len(ROWS) >= 50


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[2]}")
def test_the_function_and_the_test_exist(row: tuple[str, str, str]) -> None:
    function, file, test = row
    module, _, name = function.partition(".")
    found: object = importlib.import_module(f"tramontana.keys.mls.{module}")
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
    tree = ast.parse((Path(__file__).parent / f"{file}.py").read_text())
    assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_refusal_is_shown() -> None:
    names = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.MessageRefused)}
    used = (Path(__file__).parent / "test_refusals.py").read_text()
    assert {name for name in names if used.count(name) < 2} == set()
