"""The worlds that come with the product."""

from __future__ import annotations

from importlib import resources

from tramontana.errors import LocalError
from tramontana.exercise.world import World, parse_world

_FOLDER = resources.files("tramontana.exercise") / "worlds"


def names() -> tuple[str, ...]:
    """Of all, sorted."""
    return tuple(sorted(each.name.removesuffix(".toml") for each in _FOLDER.iterdir() if each.name.endswith(".toml")))


def text(name: str) -> str:
    """The file itself, as an example to write one's own by. Raises `LocalError`."""
    if name not in names():
        raise LocalError(f"there is no exercise {name!r}: use one of {', '.join(names())}, or a TOML file of your own")
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def world(name: str) -> World:
    """A built-in world. Raises `LocalError`."""
    return parse_world(text(name), beside)


def tables() -> tuple[str, ...]:
    """Names of the tables beside them."""
    return tuple(each.name for each in _FOLDER.iterdir() if each.name.endswith(".csv"))


def beside(table: str) -> str:
    """One of `tables`."""
    return (_FOLDER / table).read_text(encoding="utf-8")
