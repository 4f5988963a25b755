"""`tramontana invite` and `tramontana admin-link`: links made at the command line, beside a running server or before it."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import click
import segno

from tramontana.cli.datadir import data_dir, data_option, database_option, database_password_option
from tramontana.cli.organisation import postgresql
from tramontana.control.bootstrap import (
    auditor_links,
    fingerprint_of,
    last_address,
    make_administrator_link,
    make_auditor_access,
    make_invitation,
    withdraw_auditor_link,
)
from tramontana.control.store.requests import Proposal
from tramontana.keys.fields import MAX_TEXT, ROLES, is_displayable
from tramontana.precedence import Precedence

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
@click.option("--account", metavar="ID", help="The account of a known person: the invitation is for a further device.")
@click.option("--unit", default="", help="Proposed unit.")
@click.option("--role", "roles", multiple=True, type=click.Choice(sorted(ROLES)), help="Proposed role; repeatable. By default member.")
@click.option("--ceiling", default="routine", type=click.Choice([level.label for level in Precedence]), help="Proposed precedence ceiling.")
def invite(
    data: Path | None,
    database: str | None,
    database_password_file: Path | None,
    origin: str | None,
    note: str,
    account: str | None,
    unit: str,
    roles: tuple[str, ...],
    ceiling: str,
) -> None:
    """Make an invitation for one phone: a link and its QR code, good once, for 7 days.

    Unit, roles and ceiling are proposals: custodians decide them when they certify the device.
    """
    if len(note) > MAX_NOTE or not note.isprintable():
        raise click.BadParameter(f"a note has at most {MAX_NOTE} printable characters", param_hint="--note")
    if len(unit) > MAX_TEXT or "," in unit or not is_displayable(unit):
        raise click.BadParameter(f"a unit has at most {MAX_TEXT} characters, none of them a comma", param_hint="--unit")
    directory = data_dir(data)
    address = postgresql(database, database_password_file)
    fingerprint, at = fingerprint_of(directory, address), _origin(origin, directory)
    proposal = Proposal(unit, tuple(sorted(set(roles))) or ("member",), ceiling)
    made = make_invitation(directory, note, proposal, account, database=address)
    link = f"{at}/phone#invite={made.token.reveal()}&org={fingerprint}"
    click.echo(link)
    click.echo(_qr(link))
    click.echo("Works once, for 7 days. Give it to one person only, over a way that you trust.")


@click.command("auditor-link")
@data_option
@database_option
@database_password_option
@_origin_option
@click.option("--note", default="", help="For whom it is; the audit trail keeps it.")
@click.option("--list", "listed", is_flag=True, help="Only say which links read the log now, each with its id.")
@click.option("--withdraw", metavar="ID", help="Only let the link of this id read nothing more, at once.")
def auditor_link(
    data: Path | None,
    database: str | None,
    database_password_file: Path | None,
    origin: str | None,
    note: str,
    listed: bool,
    withdraw: str | None,
) -> None:
    """Make a link with which an auditor follows the transparency log for a year (`tramontana log follow`)."""
    directory = data_dir(data)
    address = postgresql(database, database_password_file)
    if withdraw is not None:
        withdraw_auditor_link(directory, withdraw, address)
    if listed:
        for link, of_link in auditor_links(directory, address):
            since, until = (datetime.fromtimestamp(at, UTC).date() for at in (link.created_at, link.expires_at))
            click.echo(f"{link.auditor_id}  {since} to {until}  {of_link}")
    if listed or withdraw is not None:
        return
    fingerprint, at = fingerprint_of(directory, address), _origin(origin, directory)
    token, _ = make_auditor_access(directory, note, address)
    click.echo(f"{at}#audit={token.reveal()}")
    click.echo(f"Fingerprint of the organisation: {fingerprint}")


@click.command("admin-link")
@data_option
@database_option
@database_password_option
@_origin_option
def admin_link(data: Path | None, database: str | None, database_password_file: Path | None, origin: str | None) -> None:
    """Make a one-time link to the console for an administrator, good for 15 minutes."""
    directory = data_dir(data)
    at = _origin(origin, directory)
    token, _ = make_administrator_link(directory, postgresql(database, database_password_file))
    click.echo(f"{at}/console#admin={token.reveal()}")
    click.echo("Works once, for 15 minutes.")
