"""`tramontana init` and `tramontana organisation`: the organisation's key, in a directory that the server never sees."""

from __future__ import annotations

import json
import secrets
import time
from base64 import b64decode, b64encode
from pathlib import Path

import click

from tramontana.cli.datadir import data_dir, data_option, database_option, database_password_option
from tramontana.cli.organisation_key import (
    DAY_S,
    FEDERATION_FORMAT,
    GUEST_FORMAT,
    GUEST_SIGNED_FORMAT,
    KEY_NAME,
    REQUEST_FORMAT,
    SIGNED_FORMAT,
    directory_option,
    make_organisation,
    open_organisation,
    organisation_dir,
    read_document,
    sign_for_server,
)
from tramontana.cli.passphrases import passphrase, passphrase_option
from tramontana.control.bootstrap import install_organisation, log_key_request
from tramontana.control.store.database import PostgresqlAddress
from tramontana.errors import LocalError
from tramontana.keys.certificate import Grant, issue_certificate
from tramontana.keys.federation import ALL_UNITS, issue_federation
from tramontana.keys.fields import ROLES
from tramontana.keys.organisation import device_code, parse_fingerprint, verify_root
from tramontana.keys.profiles import DEFAULT_PROFILE, PROFILES
from tramontana.precedence import Precedence


def postgresql(database: str | None, password_file: Path | None) -> PostgresqlAddress | None:
    """The database of the two options that name it."""
    return PostgresqlAddress.parse(database, password_file) if database else None


def _profiles_help() -> str:
    lines = []
    for profile in PROFILES.values():
        lines += [f"\b\n{profile.name}: {profile.summary}.", *(f"  lacks: {what}" for what in profile.lacks), ""]
    return "\n".join(lines)


@click.command(epilog=_profiles_help())
@data_option
@directory_option
@click.option("--name", required=True, help="The organisation's name, as people read it.")
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, type=click.Choice(list(PROFILES)), help="Algorithms, for good.")
@passphrase_option
def init(data: Path | None, organisation_directory: Path | None, name: str, profile: str, passphrase_file: Path | None) -> None:
    """Make an organisation: the key that certifies devices.

    Do it on a machine that is not the server and not on a network. The key is sealed under a passphrase; keep a copy of its directory
    and of the passphrase in two different safes. Who loses it founds a new organisation and invites everybody again.
    """
    directory = organisation_dir(organisation_directory, data_dir(data))
    key = make_organisation(directory, name, profile, passphrase(passphrase_file, "the new organisation's key", new=True))
    click.echo(f"Organisation  {key.root.name}")
    click.echo(f"Fingerprint   {key.root.fingerprint_text}")
    click.echo(f"Profile       {key.root.profile.name}: {key.root.profile.summary}")
    for what in key.root.profile.lacks:
        click.echo(f"              lacks: {what}")
    click.echo(f"Key           {directory / KEY_NAME}")
    click.echo()
    click.echo("Next, on the server:  tramontana organisation request > request.json")
    click.echo("here:                 tramontana organisation sign request.json > signed.json")
    click.echo("on the server:        tramontana organisation install signed.json")
    click.echo("then two custodians:  tramontana custodian enrol LINK --found")


@click.group()
def organisation() -> None:
    """Bring an organisation and a server together without either seeing the other's secrets."""


@organisation.command()
@data_option
@database_option
@database_password_option
def request(data: Path | None, database: str | None, database_password_file: Path | None) -> None:
    """On the server: print what the organisation has to sign."""
    service_id, public_key = log_key_request(data_dir(data), postgresql(database, database_password_file))
    click.echo(json.dumps({"format": REQUEST_FORMAT, "service_id": service_id, "log_public_key": b64encode(public_key).decode()}))


@organisation.command()
@data_option
@directory_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@passphrase_option
def sign(data: Path | None, organisation_directory: Path | None, file: Path, passphrase_file: Path | None) -> None:
    """Where the organisation's key is: sign a server's request and print the answer."""
    asked = read_document(file.read_bytes(), REQUEST_FORMAT)
    key = open_organisation(organisation_dir(organisation_directory, data_dir(data)), passphrase(passphrase_file, "the organisation's key"))
    log_key = sign_for_server(key, asked["service_id"], b64decode(asked["log_public_key"]))
    shown = {"organisation": b64encode(key.root.encoded).decode(), "log_key": b64encode(log_key).decode()}
    click.echo(json.dumps({"format": SIGNED_FORMAT, **shown}))


@organisation.command()
@data_option
@database_option
@database_password_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def install(data: Path | None, database: str | None, database_password_file: Path | None, file: Path) -> None:
    """On the server: install what the organisation signed. It holds public halves only."""
    given = read_document(file.read_bytes(), SIGNED_FORMAT)
    address = postgresql(database, database_password_file)
    root = install_organisation(data_dir(data), b64decode(given["organisation"]), b64decode(given["log_key"]), address)
    click.echo(f"This server belongs to {root.name}, fingerprint {root.fingerprint_text}.")


@organisation.command("cross-certify")
@data_option
@directory_option
@passphrase_option
@click.option(
    "--fingerprint", required=True, help="Of the other organisation, as its custodian read it out: never from the same source as FILE."
)
@click.option("--unit", "units", multiple=True, help="A unit of theirs that is accepted; repeatable. By default all.")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(sorted(ROLES)), help="A role that is accepted; repeatable. By default member."
)
@click.option(
    "--ceiling",
    default="routine",
    show_default=True,
    type=click.Choice([level.label for level in Precedence]),
    help="The highest precedence at which they may call here.",
)
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 3650), help="Validity.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def cross_certify(
    data: Path | None,
    organisation_directory: Path | None,
    passphrase_file: Path | None,
    fingerprint: str,
    units: tuple[str, ...],
    roles: tuple[str, ...],
    ceiling: str,
    days: int,
    file: Path,
) -> None:
    """Where the organisation's key is: accept devices of another organisation, within limits, and print the statement.

    FILE is the other organisation's `organisation.root`. A custodian has the statement logged with `tramontana custodian federate`.
    """
    peer = verify_root(file.read_bytes(), parse_fingerprint(fingerprint))
    key = open_organisation(organisation_dir(organisation_directory, data_dir(data)), passphrase(passphrase_file, "the organisation's key"))
    now = time.time()
    made = issue_federation(
        key,
        secrets.token_hex(16),
        peer,
        units=units or (ALL_UNITS,),
        roles=roles or ("member",),
        ceiling=Precedence.parse(ceiling),
        not_after=int(now) + days * DAY_S,
        now=now,
    )
    shown = {"federation": b64encode(made.encoded).decode(), "organisation": b64encode(peer.encoded).decode()}
    click.echo(json.dumps({"format": FEDERATION_FORMAT, **shown}))


@organisation.command("certify-guest")
@data_option
@directory_option
@passphrase_option
@click.option("--code", required=True, help="The device code as its person read it out: never from the same source as FILE.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def certify_guest(data: Path | None, organisation_directory: Path | None, passphrase_file: Path | None, code: str, file: Path) -> None:
    """Where the organisation's key is: certify one of one's own people as a guest of another organisation, and print the certificate.

    FILE is what a custodian of the host printed with `tramontana custodian guest`. It is valid there only, and only within the limits of
    the host's cross-certification.
    """
    given = read_document(file.read_bytes(), GUEST_FORMAT)
    roles = tuple(given["roles"].split(","))
    public_key, whose = b64decode(given["signature_public_key"]), (given["account_id"], given["device_id"])
    if code.upper().replace(" ", "") != device_code(parse_fingerprint(given["fingerprint"]), public_key).replace(" ", ""):
        raise LocalError("the codes differ: this request is for somebody else's device. Certify nothing")
    ceiling = Precedence.parse(given["ceiling"])
    grant = Grant(*whose, public_key, given["display_name"], given["unit"], roles, ceiling, int(given["not_after"]))
    key = open_organisation(organisation_dir(organisation_directory, data_dir(data)), passphrase(passphrase_file, "the organisation's key"))
    made = issue_certificate(key, secrets.token_hex(16), grant, given["approvers"].split(","), now=time.time())
    until = time.strftime("%Y-%m-%d", time.gmtime(grant.not_after))
    click.echo(
        f"{key.root.name} certifies {grant.display_name}, unit {grant.unit or '–'}, roles {', '.join(roles)}, ceiling {ceiling.label}, "
        f"until {until}, as a guest of {given['host']}.",
        err=True,
    )
    shown = {"request_id": given["request_id"], "certificate": b64encode(made.encoded).decode()}
    click.echo(json.dumps({"format": GUEST_SIGNED_FORMAT, **shown}))
