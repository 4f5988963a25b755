"""Passphrases of sealed keys: asked for, or read from a file that is its owner's alone."""

from __future__ import annotations

from pathlib import Path

import click

from tramontana.errors import LocalError
from tramontana.private_file import read_private

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the passphrase on its first line, readable by its owner alone; else it is asked for.",
)


def passphrase(file: Path | None, what: str, *, new: bool = False) -> str:
    """Raises `LocalError` for an empty one."""
    if file is not None:
        given = (read_private(file).decode("utf-8").splitlines() or [""])[0]
    else:
        given = click.prompt(f"Passphrase for {what}", hide_input=True, confirmation_prompt=new, err=True)
    if not given:
        raise LocalError("a passphrase cannot be empty: without one, whoever has the file has the key")
    return given
