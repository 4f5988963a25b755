"""`tramontana invite` and `tramontana admin-link`: links made at the command line, beside a running server or before it."""

from __future__ import annotations

import io
from pathlib import Path

import click
import segno

from tramontana.cli.datadir import data_dir, data_option, database_option, database_password_option
from tramontana.control.bootstrap import last_address, make_administrator_link, make_invitation
from tramontana.control.store.database import PostgresqlAddress

MAX_NOTE = 120
_origin_option = click.option(
    "--origin", metavar="URL", help="Address of the server in the link; by default the one that it last listened at."
)


def _origin(given: str | None, directory: Path) -> str:
    return (given or last_address(directory)).rstrip("/")


def _qr(link: str) -> str:
    text = io.StringIO()
    segno.make_qr(link, error="m").terminal(out=text, compact=True)
    return text.getvalue()


@click.command()
@data_option
@database_option
@database_password_option
@_origin_option
@click.option("--note", default="", help="For whom it is; the administrator sees it.")
def invite(data: Path | None, database: str | None, database_password_file: Path | None, origin: str | None, note: str) -> None:
    """Make an invitation for one phone: a link and its QR code, good once, for 7 days."""
    if len(note) > MAX_NOTE or not note.isprintable():
        raise click.BadParameter(f"a note has at most {MAX_NOTE} printable characters", param_hint="--note")
    directory = data_dir(data)
    made = make_invitation(directory, note, PostgresqlAddress.parse(database, database_password_file) if database else None)
    link = f"{_origin(origin, directory)}/phone#invite={made.token.reveal()}"
    click.echo(link)
    click.echo(_qr(link))
    click.echo("Works once, for 7 days. Give it to one person only, over a way that you trust.")


@click.command("admin-link")
@data_option
@database_option
@database_password_option
@_origin_option
def admin_link(data: Path | None, database: str | None, database_password_file: Path | None, origin: str | None) -> None:
    """Make a one-time link to the console for an administrator, good for 15 minutes."""
    directory = data_dir(data)
    token, _ = make_administrator_link(directory, PostgresqlAddress.parse(database, database_password_file) if database else None)
    click.echo(f"{_origin(origin, directory)}/console#admin={token.reveal()}")
    click.echo("Works once, for 15 minutes.")
