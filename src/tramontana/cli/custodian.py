"""`tramontana custodian`: looks at requests, approves, rejects, issues and revokes, on the custodian's machine."""

from __future__ import annotations

import functools
import json
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tramontana.cli.datadir import data_dir, data_option
from tramontana.cli.demonstration import Demonstration
from tramontana.cli.desk import DEFAULT_VALIDITY_DAYS, Desk
from tramontana.cli.organisation_key import (
    FEDERATION_FORMAT,
    GUEST_FORMAT,
    GUEST_SIGNED_FORMAT,
    directory_option,
    open_organisation,
    organisation_dir,
    read_document,
)
from tramontana.cli.passphrases import passphrase, passphrase_option
from tramontana.cli.server_api import ServerRefused, ServerUnreachable
from tramontana.errors import LocalError
from tramontana.keys.fields import ROLES
from tramontana.keys.organisation import OrganisationKey
from tramontana.precedence import Precedence

EVERY_S = 5.0

Command = Callable[..., None]


@dataclass(frozen=True)
class Place:
    """Where a custodian's own device is, and how its passphrase is had."""

    data: Path
    home: Path
    passphrase_file: Path | None

    def secret(self, *, new: bool = False) -> str:
        return passphrase(self.passphrase_file, "this custodian's device", new=new)

    def open(self) -> Desk:
        """The desk, logged in, with the log read up to now."""
        desk = _closed_at_the_end(Desk.open(self.home, self.secret()))
        desk.follow_log()
        return desk


@dataclass(frozen=True)
class KeyPlace:
    """Where the organisation's key is, and how its passphrase is had."""

    directory: Path | None
    passphrase_file: Path | None

    def open(self, data: Path) -> OrganisationKey:
        return open_organisation(organisation_dir(self.directory, data), passphrase(self.passphrase_file, "the organisation's key"))


def _closed_at_the_end(desk: Desk) -> Desk:
    click.get_current_context().call_on_close(desk.api.close)
    return desk


def desk_options(command: Command) -> Command:
    """Adds the options of `Place` and passes it as `place`."""

    @data_option
    @click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIRECTORY",
        help="Where this custodian's own device key is; by default beside the data directory.",
    )
    @passphrase_option
    @functools.wraps(command)
    def run(*arguments: Any, data: Path | None, home: Path | None, passphrase_file: Path | None, **others: Any) -> None:
        found = data_dir(data)
        place = Place(found, (home or found.with_name(found.name + "-custodian")).absolute(), passphrase_file)
        command(*arguments, place=place, **others)

    return run


def key_options(command: Command) -> Command:
    """Adds the options of `KeyPlace` and passes it as `key`."""

    @directory_option
    @click.option(
        "--key-passphrase-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="File with the passphrase of the organisation's key; else it is asked for.",
    )
    @functools.wraps(command)
    def run(*arguments: Any, organisation_directory: Path | None, key_passphrase_file: Path | None, **others: Any) -> None:
        command(*arguments, key=KeyPlace(organisation_directory, key_passphrase_file), **others)

    return run


def rights_options(what: str) -> Callable[[Command], Command]:
    """Adds options for unit, roles and ceiling; `what` says what they are compared with."""

    def add(command: Command) -> Command:
        command = click.option(
            "--ceiling", type=click.Choice([level.label for level in Precedence]), help=f"Another precedence ceiling{what}."
        )(command)
        command = click.option("--role", "roles", multiple=True, type=click.Choice(sorted(ROLES)), help=f"Other roles{what}; repeatable.")(
            command
        )
        return click.option("--unit", help=f"Another unit{what}.")(command)

    return add


def _show(desk: Desk, request: Mapping[str, Any]) -> None:
    grant = desk.grant_for(request)
    click.echo(f"{request['request_id'][:8]}  {request['display_name']}   code {desk.code_of(request)}")
    further = "a further device of a known person; " if request["further_device"] else ""
    what = f"unit {grant.unit or '–'}, roles {', '.join(grant.roles)}, ceiling {grant.ceiling.label}"
    click.echo(f"          {request['kind']}; {further}{what}")
    missing = desk.missing_approvals(request, grant)
    click.echo(f"          {'ready to be issued' if not missing else f'{missing} more to approve'}; device {request['device_id']}")


def _show_alarm(alarm: Mapping[str, Any]) -> None:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(alarm["raised_at"]))
    click.secho(f"ALARM     {alarm['display_name']} was made to open the phone; last alarm {at} UTC", bold=True)
    click.echo(f"          revoke it: tramontana custodian revoke --reason REASON {alarm['device_id']}")


@click.group()
def custodian() -> None:
    """Certify and revoke devices. Nothing of this happens on the server."""


@custodian.command()
@desk_options
@key_options
@click.option("--name", required=True, help="The custodian's name, as people read it.")
@click.option("--found", is_flag=True, help="Found the organisation: certify this custodian as one of the first two.")
@click.argument("link")
def enrol(place: Place, key: KeyPlace, name: str, found: bool, link: str) -> None:
    """Make this machine a custodian's: a device key of its own, enrolled with an invitation."""
    founding = key.open(place.data) if found else None
    desk = _closed_at_the_end(Desk.enrol(link, name, place.home, place.secret(new=True)))
    if founding is not None:
        click.echo(f"Founding custodian, entry {desk.found(founding)} of the log.")
    else:
        click.echo(f"Enrolled. Code {desk.code}: read it to the custodians who approve you.")


@custodian.command("list")
@desk_options
def list_requests(place: Place) -> None:
    """Show what waits for approval, and phones that were opened under duress."""
    desk = place.open()
    for alarm in desk.alarms():
        _show_alarm(alarm)
    requests = desk.requests()
    for request in requests:
        _show(desk, request)
    if not requests:
        click.echo("Nothing waits for approval.")


@custodian.command()
@desk_options
@key_options
@rights_options(" than proposed")
@click.option("--days", default=DEFAULT_VALIDITY_DAYS, show_default=True, type=click.IntRange(1, 3650), help="Validity.")
@click.option("--issue/--no-issue", default=True, help="Issue it when enough have approved; needs the organisation's key.")
@click.option("--code", help="The device code that the person read out; else it is asked for.")
@click.argument("request_id")
def approve(
    place: Place,
    key: KeyPlace,
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
    desk = place.open()
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
        index = desk.issue(key.open(place.data), request, grant)
        click.echo(f"Certificate issued, entry {index} of the log.")


@custodian.command()
@desk_options
@click.option("--reason", required=True, help="Kept in the audit trail.")
@click.argument("request_id")
def reject(place: Place, reason: str, request_id: str) -> None:
    """Reject a request; the device of an enrolment never comes in."""
    desk = place.open()
    desk.reject(desk.find_request(request_id), reason)
    click.echo("Rejected.")


@custodian.command()
@desk_options
@key_options
@click.option("--reason", required=True, help="Stands in the log, for everybody of the organisation.")
@click.argument("device_id")
def revoke(place: Place, key: KeyPlace, reason: str, device_id: str) -> None:
    """Revoke a device: it is out of the server at once, and of every conversation as soon as a member is online."""
    desk = place.open()
    index = desk.revoke(key.open(place.data), device_id, reason)
    click.echo(f"Revoked, entry {index} of the log.")


@custodian.command()
@desk_options
@click.option("--name", help="Another name.")
@rights_options("")
@click.argument("device_id")
def change(place: Place, name: str | None, unit: str | None, roles: tuple[str, ...], ceiling: str | None, device_id: str) -> None:
    """Ask for a new certificate of a certified device: without options, a renewal. It is approved like any other."""
    request_id = place.open().ask_for_change(device_id, name=name, unit=unit, roles=roles, ceiling=ceiling)
    click.echo(f"Asked for, request {request_id[:8]}.")


@custodian.command()
@desk_options
@click.argument("request_id")
def guest(place: Place, request_id: str) -> None:
    """Print an approved request for the organisation whose guest it is: its custodian certifies it (`organisation certify-guest`)."""
    desk = place.open()
    click.echo(json.dumps({"format": GUEST_FORMAT, **desk.guest_request(desk.find_request(request_id))}))


@custodian.command()
@desk_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def admit(place: Place, file: Path) -> None:
    """Have a guest's certificate logged that `tramontana organisation certify-guest` made: he is in then."""
    given = read_document(file.read_bytes(), GUEST_SIGNED_FORMAT)
    index = place.open().admit(given["request_id"], b64decode(given["certificate"]))
    click.echo(f"Guest certified, entry {index} of the log.")


@custodian.command()
@desk_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def federate(place: Place, file: Path) -> None:
    """Have a cross-certification logged that `tramontana organisation cross-certify` made."""
    given = read_document(file.read_bytes(), FEDERATION_FORMAT)
    index = place.open().federate(b64decode(given["federation"]), b64decode(given["organisation"]))
    click.echo(f"Cross-certified, entry {index} of the log.")


@custodian.command()
@desk_options
def federations(place: Place) -> None:
    """Show the organisations that are cross-certified."""
    found = place.open().federations()
    for each in found:
        limits = f"units {', '.join(each.units)}, roles {', '.join(each.roles)}, ceiling {each.ceiling.label}"
        click.echo(f"{each.serial}  {each.peer_name}: {limits}, until {time.strftime('%Y-%m-%d', time.gmtime(each.not_after))}")
    if not found:
        click.echo("No organisation is cross-certified.")


@custodian.command()
@desk_options
@key_options
@click.option("--reason", required=True, help="Stands in the log, for everybody of the organisation.")
@click.argument("serial")
def unfederate(place: Place, key: KeyPlace, reason: str, serial: str) -> None:
    """Revoke a cross-certification."""
    desk = place.open()
    index = desk.end_federation(key.open(place.data), serial, reason)
    click.echo(f"Revoked, entry {index} of the log.")


@custodian.command()
@desk_options
def watch(place: Place) -> None:
    """Say whenever a phone was opened under duress, or something new waits for approval, until Ctrl-C."""
    desk = place.open()
    shown: set[object] = set()
    while True:
        alarms, requests = _patiently(desk)
        for alarm in alarms:
            if (known := (alarm["device_id"], alarm["raised_at"])) not in shown:
                shown.add(known)
                _show_alarm(alarm)
        for request in requests:
            if request["request_id"] not in shown:
                shown.add(request["request_id"])
                _show(desk, request)
        time.sleep(EVERY_S)


def _patiently(desk: Desk) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Alarms, and what waits, whether or not the server answers now."""
    try:
        desk.follow_log()
        return desk.alarms(), desk.requests()
    except ServerUnreachable as error:
        click.echo(str(error), err=True)
    except ServerRefused as refused:
        if refused.code != "not_logged_in":
            raise
        desk.login()
    return [], []


@custodian.command(hidden=True)
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("origin")
def demonstrate(directory: Path, origin: str) -> None:
    """Certify at once the devices that used the invitations of `tramontana up`."""
    click.echo(json.dumps({"ready": {}}))  # at once: phones that come before the custodians have opened their desks wait a moment
    Demonstration.open(directory).run(origin)
