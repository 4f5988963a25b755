"""Where Tramontana keeps what it must not forget."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from tramontana.errors import LocalError

ENVIRONMENT_VARIABLE = "TRAMONTANA_DATA"

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    metavar="DIRECTORY",
    help=f"Where everything is kept; else ${ENVIRONMENT_VARIABLE}, else the user's data directory.",
)
"""The option `--data`, for every command that keeps something; pass its value to `data_dir`."""

database_option = click.option(
    "--database",
    metavar="URL",
    envvar="TRAMONTANA_DATABASE",
    help="PostgreSQL database instead of the file in the data directory: postgresql://USER@HOST:PORT/DATABASE, without password.",
)
database_password_option = click.option(
    "--database-password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the database's password; else $TRAMONTANA_DATABASE_PASSWORD, else what libpq knows ($PGPASSWORD, ~/.pgpass).",
)
"""The options `--database` and `--database-password-file`, for commands that open the store; give both to `PostgresqlAddress.parse`."""

operators_option = click.option(
    "--operators",
    "operators_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Message centres of mobile operators, who may bind to ours, and the emergency numbers (TOML, docs/sms.md).",
)
"""The option `--operators`, for commands that run a server."""


def data_dir(option: Path | None) -> Path:
    """The data directory: the option, else $TRAMONTANA_DATA, else $XDG_DATA_HOME/tramontana, else ~/.local/share/tramontana.

    It is made, readable by its owner only, if it does not exist. Raises `LocalError` if it cannot be made or written to, or if
    other users could put files there: they could read what is written into these, and turn invitations to a server of theirs.
    """
    configured = option or _absolute(ENVIRONMENT_VARIABLE)
    path = configured or (_absolute("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "tramontana"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
            raise LocalError(
                f"other users can write to the data directory {path}: make it yours alone (chown, chmod 700), or choose another with --data"
            )
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise LocalError(
            f"the data directory {path} cannot be written ({error.strerror}): "
            f"choose another one with --data or {ENVIRONMENT_VARIABLE}, or change its owner"
        ) from error
    return path


def _absolute(variable: str) -> Path | None:
    """The path in an environment variable, made absolute; None if it is unset or empty."""
    value = os.environ.get(variable)
    return Path(value).absolute() if value else None
