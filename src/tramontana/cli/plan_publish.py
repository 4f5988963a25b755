"""`tramontana plan publish`: gives a report to the server of a data directory, for its console."""

from __future__ import annotations

import re
from pathlib import Path

import click

from tramontana.cli.datadir import data_dir, data_option
from tramontana.cli.output import write_whole
from tramontana.control.reports import DIRECTORY, NAME, ReportRefused, title_of
from tramontana.errors import LocalError


@click.command()
@click.argument("page", type=click.Path(path_type=Path, dir_okay=False))
@data_option
@click.option("--name", metavar="NAME", help="Under which it is kept; the page's own name where left out. The same name replaces it.")
def publish(page: Path, data: Path | None, name: str | None) -> None:
    """Give the report PAGE to the server of this data directory: its console shows it, from now on."""
    kept = page.stem.lower() if name is None else name
    if not re.fullmatch(NAME, kept):
        raise LocalError(f"{kept!r} is no name for a report: use small letters, digits and dashes, for example --name italy-2025")
    try:
        content = page.read_bytes()
    except OSError as error:
        raise LocalError(f"cannot read {page} ({error.strerror})") from error
    try:
        title = title_of(content)
    except ReportRefused as error:
        raise ReportRefused(f"{page}: {error}") from None
    folder = data_dir(data) / DIRECTORY
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"cannot make {folder} ({error.strerror}): check the data directory and its permissions") from error
    write_whole(folder / f"{kept}.html", content)
    click.echo(f"{title}: published as {kept}. The console shows it under Planning.")
