"""Passphrases of sealed keys: asked for, or read from a file that is its owner's alone."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tramontana.errors import LocalError
from tramontana.private_file import read_private

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the passphrase on its first line, readable by its owner alone; else it is asked for.",
)

passphrase_fd_option = click.option(
    "--passphrase-fd",
    type=click.IntRange(0),
    metavar="NUMBER",
    help="File descriptor to read the passphrase from, to the end of its first line.",
)


def passphrase(file: Path | None, what: str, *, new: bool = False, descriptor: int | None = None) -> str:
    """Raises `LocalError` for an empty one, or a descriptor that is none."""
    if descriptor is not None:
        try:
            with os.fdopen(descriptor, encoding="utf-8") as opened:
                given = (opened.readline().splitlines() or [""])[0]
        except OSError as error:
            raise LocalError(
                f"descriptor {descriptor} cannot be read ({error.strerror}): open it, for example with {descriptor}<FILE"
            ) from error
    elif file is not None:
        given = (read_private(file).decode("utf-8").splitlines() or [""])[0]
    else:
        given = click.prompt(f"Passphrase for {what}", hide_input=True, confirmation_prompt=new, err=True)
    if not given:
        raise LocalError("a passphrase cannot be empty: without one, whoever has the file has the key")
    return given
