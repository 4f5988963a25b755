"""`tramontana custodian`: looks at requests, approves, rejects, issues and revokes, on the custodian's machine."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tramontana.cli.datadir import data_dir, data_option
from tramontana.cli.demonstration import Demonstration
from tramontana.cli.desk import DEFAULT_VALIDITY_DAYS, Desk
from tramontana.cli.organisation_key import FEDERATION_FORMAT, directory_option, open_organisation, organisation_dir, read_document
from tramontana.cli.passphrases import passphrase, passphrase_option
from tramontana.cli.server_api import ServerRefused, ServerUnreachable
from tramontana.errors import LocalError
from tramontana.keys.fields import ROLES
from tramontana.keys.organisation import OrganisationKey
from tramontana.precedence import Precedence

EVERY_S = 5.0

home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Where this custodian's own device key is; by default beside the data directory.",
)
key_passphrase_option = click.option(
    "--key-passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the passphrase of the organisation's key; else it is asked for.",
)


def _home(option: Path | None, data: Path) -> Path:
    return (option or data.with_name(data.name + "-custodian")).absolute()


def _desk(home: Path | None, data: Path | None, file: Path | None) -> Desk:
    desk = Desk.open(_home(home, data_dir(data)), passphrase(file, "this custodian's device"))
    click.get_current_context().call_on_close(desk.api.close)
    desk.follow_log()
    return desk


def _organisation(directory: Path | None, data: Path | None, file: Path | None) -> OrganisationKey:
    return open_organisation(organisation_dir(directory, data_dir(data)), passphrase(file, "the organisation's key"))


def _show(desk: Desk, request: Mapping[str, Any]) -> None:
    grant = desk.grant_for(request)
    click.echo(f"{request['request_id'][:8]}  {request['display_name']}   code {desk.code_of(request)}")
    further = "a further device of a known person; " if request["further_device"] else ""
    what = f"unit {grant.unit or '–'}, roles {', '.join(grant.roles)}, ceiling {grant.ceiling.label}"
    click.echo(f"          {request['kind']}; {further}{what}")
    missing = desk.missing_approvals(request, grant)
    click.echo(f"          {'ready to be issued' if not missing else f'{missing} more to approve'}; device {request['device_id']}")


@click.group()
def custodian() -> None:
    """Certify and revoke devices. Nothing of this happens on the server."""


@custodian.command()
@data_option
@home_option
@passphrase_option
@directory_option
@key_passphrase_option
@click.option("--name", required=True, help="The custodian's name, as people read it.")
@click.option("--found", is_flag=True, help="Found the organisation: certify this custodian as one of the first two.")
@click.argument("link")
def enrol(
    data: Path | None,
    home: Path | None,
    passphrase_file: Path | None,
    organisation_directory: Path | None,
    key_passphrase_file: Path | None,
    name: str,
    found: bool,
    link: str,
) -> None:
    """Make this machine a custodian's: a device key of its own, enrolled with an invitation."""
    key = _organisation(organisation_directory, data, key_passphrase_file) if found else None
    desk = Desk.enrol(link, name, _home(home, data_dir(data)), passphrase(passphrase_file, "this custodian's device", new=True))
    click.get_current_context().call_on_close(desk.api.close)
    if key is not None:
        click.echo(f"Founding custodian, entry {desk.found(key)} of the log.")
    else:
        click.echo(f"Enrolled. Code {desk.code}: read it to the custodians who approve you.")


@custodian.command("list")
@data_option
@home_option
@passphrase_option
def list_requests(data: Path | None, home: Path | None, passphrase_file: Path | None) -> None:
    """Show what waits for approval."""
    desk = _desk(home, data, passphrase_file)
    requests = desk.requests()
    for request in requests:
        _show(desk, request)
    if not requests:
        click.echo("Nothing waits for approval.")


@custodian.command()
@data_option
@home_option
@passphrase_option
@directory_option
@key_passphrase_option
@click.option("--unit", help="Another unit than proposed.")
@click.option("--role", "roles", multiple=True, type=click.Choice(sorted(ROLES)), help="Other roles than proposed; repeatable.")
@click.option("--ceiling", type=click.Choice([level.label for level in Precedence]), help="Another precedence ceiling than proposed.")
@click.option("--days", default=DEFAULT_VALIDITY_DAYS, show_default=True, type=click.IntRange(1, 3650), help="Validity.")
@click.option("--issue/--no-issue", default=True, help="Issue it when enough have approved; needs the organisation's key.")
@click.option("--code", help="The device code that the person read out; else it is asked for.")
@click.argument("request_id")
def approve(
    data: Path | None,
    home: Path | None,
    passphrase_file: Path | None,
    organisation_directory: Path | None,
    key_passphrase_file: Path | None,
    unit: str | None,
    roles: tuple[str, ...],
    ceiling: str | None,
    days: int,
    issue: bool,
    code: str | None,
    request_id: str,
) -> None:
    """Approve a request, after comparing its device code with what its person reads out.

    A change of a device that is certified already has no code to compare: its key is in the log.
    """
    desk = _desk(home, data, passphrase_file)
    request = desk.find_request(request_id)
    _show(desk, request)
    if not desk.is_known_key(request):
        given = code or click.prompt("Device code, as the person reads it out")
        if given.upper().replace(" ", "") != desk.code_of(request).replace(" ", ""):
            raise LocalError("the codes differ: somebody else's device stands behind this request. Reject it")
    grant = desk.grant_for(request, unit=unit, roles=roles, ceiling=ceiling, days=days)
    if not desk.has_approved(request):
        desk.approve(request, grant)
        click.echo("Approved.")
        request = desk.find_request(request_id)
    if missing := desk.missing_approvals(request, grant):
        click.echo(f"{missing} more custodian{'s have' if missing > 1 else ' has'} to approve.")
    elif issue:
        place = desk.issue(_organisation(organisation_directory, data, key_passphrase_file), request, grant)
        click.echo(f"Certificate issued, entry {place} of the log.")


@custodian.command()
@data_option
@home_option
@passphrase_option
@click.option("--reason", required=True, help="Kept in the audit trail.")
@click.argument("request_id")
def reject(data: Path | None, home: Path | None, passphrase_file: Path | None, reason: str, request_id: str) -> None:
    """Reject a request; the device of an enrolment never comes in."""
    desk = _desk(home, data, passphrase_file)
    desk.reject(desk.find_request(request_id), reason)
    click.echo("Rejected.")


@custodian.command()
@data_option
@home_option
@passphrase_option
@directory_option
@key_passphrase_option
@click.option("--reason", required=True, help="Stands in the log, for everybody of the organisation.")
@click.argument("device_id")
def revoke(
    data: Path | None,
    home: Path | None,
    passphrase_file: Path | None,
    organisation_directory: Path | None,
    key_passphrase_file: Path | None,
    reason: str,
    device_id: str,
) -> None:
    """Revoke a device: it is out of the server at once, and of every conversation as soon as a member is online."""
    desk = _desk(home, data, passphrase_file)
    place = desk.revoke(_organisation(organisation_directory, data, key_passphrase_file), device_id, reason)
    click.echo(f"Revoked, entry {place} of the log.")


@custodian.command()
@data_option
@home_option
@passphrase_option
@click.option("--name", help="Another name.")
@click.option("--unit", help="Another unit.")
@click.option("--role", "roles", multiple=True, type=click.Choice(sorted(ROLES)), help="Other roles; repeatable.")
@click.option("--ceiling", type=click.Choice([level.label for level in Precedence]), help="Another precedence ceiling.")
@click.argument("device_id")
def change(
    data: Path | None,
    home: Path | None,
    passphrase_file: Path | None,
    name: str | None,
    unit: str | None,
    roles: tuple[str, ...],
    ceiling: str | None,
    device_id: str,
) -> None:
    """Ask for a new certificate of a certified device: without options, a renewal. It is approved like any other."""
    request_id = _desk(home, data, passphrase_file).ask_for_change(device_id, name=name, unit=unit, roles=roles, ceiling=ceiling)
    click.echo(f"Asked for, request {request_id[:8]}.")


@custodian.command()
@data_option
@home_option
@passphrase_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def federate(data: Path | None, home: Path | None, passphrase_file: Path | None, file: Path) -> None:
    """Have a cross-certification logged that `tramontana organisation cross-certify` made."""
    given = read_document(file.read_bytes(), FEDERATION_FORMAT)
    place = _desk(home, data, passphrase_file).federate(b64decode(given["federation"]), b64decode(given["organisation"]))
    click.echo(f"Cross-certified, entry {place} of the log.")


@custodian.command()
@data_option
@home_option
@passphrase_option
def federations(data: Path | None, home: Path | None, passphrase_file: Path | None) -> None:
    """Show the organisations that are cross-certified."""
    found = _desk(home, data, passphrase_file).federations()
    for each in found:
        limits = f"units {', '.join(each.units)}, roles {', '.join(each.roles)}, ceiling {each.ceiling.label}"
        click.echo(f"{each.serial}  {each.peer_name}: {limits}, until {time.strftime('%Y-%m-%d', time.gmtime(each.not_after))}")
    if not found:
        click.echo("No organisation is cross-certified.")


@custodian.command()
@data_option
@home_option
@passphrase_option
@directory_option
@key_passphrase_option
@click.option("--reason", required=True, help="Stands in the log, for everybody of the organisation.")
@click.argument("serial")
def unfederate(
    data: Path | None,
    home: Path | None,
    passphrase_file: Path | None,
    organisation_directory: Path | None,
    key_passphrase_file: Path | None,
    reason: str,
    serial: str,
) -> None:
    """Revoke a cross-certification."""
    desk = _desk(home, data, passphrase_file)
    place = desk.end_federation(_organisation(organisation_directory, data, key_passphrase_file), serial, reason)
    click.echo(f"Revoked, entry {place} of the log.")


@custodian.command()
@data_option
@home_option
@passphrase_option
def watch(data: Path | None, home: Path | None, passphrase_file: Path | None) -> None:
    """Say whenever something new waits for approval, until Ctrl-C."""
    desk = _desk(home, data, passphrase_file)
    shown: set[str] = set()
    while True:
        for request in _patiently(desk):
            if request["request_id"] not in shown:
                shown.add(request["request_id"])
                _show(desk, request)
        time.sleep(EVERY_S)


def _patiently(desk: Desk) -> list[dict[str, Any]]:
    """What waits, whether or not the server answers now."""
    try:
        desk.follow_log()
        return desk.requests()
    except ServerUnreachable as error:
        click.echo(str(error), err=True)
    except ServerRefused as refused:
        if refused.code != "not_logged_in":
            raise
        desk.login()
    return []


@custodian.command(hidden=True)
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("origin")
def demonstrate(directory: Path, origin: str) -> None:
    """Certify at once the devices that used the invitations of `tramontana up`."""
    click.echo(json.dumps({"ready": {}}))  # at once: phones that come before the custodians have opened their desks wait a moment
    Demonstration.open(directory).run(origin)
