"""The directory of the organisation's key: on a custodian's machine, sealed, never the server's."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from tramontana.errors import LocalError
from tramontana.keys.certificate import issue_log_key
from tramontana.keys.organisation import OrganisationKey, Root, sealed_part, verify_root
from tramontana.private_file import PrivateFileError, make_private, read_private

KEY_NAME = "organisation.key"
ROOT_NAME = "organisation.root"
REQUEST_FORMAT = "tramontana log key request 1"
SIGNED_FORMAT = "tramontana organisation for a server 1"
FEDERATION_FORMAT = "tramontana cross-certification 1"
GUEST_FORMAT = "tramontana guest request 1"
GUEST_SIGNED_FORMAT = "tramontana guest certificate 1"
DAY_S = 86400

directory_option = click.option(
    "--organisation",
    "organisation_directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Where the organisation's key is; by default beside the data directory, never in it.",
)


def organisation_dir(option: Path | None, data: Path) -> Path:
    """The directory of the organisation's key. Raises `LocalError` where a server could read it as its own."""
    path = (option or data.with_name(data.name + "-organisation")).absolute()
    if path == data or data in path.parents or path in data.parents:
        raise LocalError(f"the organisation's key must not be in the server's data directory, nor around it: choose another than {path}")
    return path


def make_organisation(directory: Path, name: str, profile: str, secret: str) -> OrganisationKey:
    """Make an organisation in a directory of its own. Raises `LocalError` where there is one already."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        raise LocalError(f"others may look into {directory}: make it yours alone with `chmod 700 {directory}`")
    key = OrganisationKey.generate(name, profile, now=time.time())
    try:
        make_private(directory / KEY_NAME, key.seal(secret))
        make_private(directory / ROOT_NAME, key.root.encoded)
    except FileExistsError as error:
        raise LocalError(f"there is an organisation in {directory} already; nothing was changed. Choose another directory") from error
    return key


def read_root(directory: Path) -> Root:
    """The public half. Raises `LocalError`."""
    try:
        return verify_root(sealed_part(read_private(directory / KEY_NAME), "public"))
    except PrivateFileError as error:
        raise LocalError(f"there is no organisation in {directory}: {error}. Make one with `tramontana init`") from error


def open_organisation(directory: Path, secret: str) -> OrganisationKey:
    """Raises `LocalError`, `WrongPassphrase`."""
    read_root(directory)
    return OrganisationKey.open(read_private(directory / KEY_NAME), secret)


def sign_for_server(key: OrganisationKey, service_id: str, log_public_key: bytes) -> bytes:
    """The log key statement that a server needs."""
    return issue_log_key(key, service_id, log_public_key, now=time.time()).encoded


def read_document(content: bytes, expected: str) -> dict[str, str]:
    """What one of these commands printed for another. Raises `LocalError`."""
    try:
        document = json.loads(content)
        if document["format"] != expected:
            raise ValueError("another format")
        return {str(name): str(value) for name, value in document.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise LocalError(f"this file is not a {expected!r}; give the one that the step before printed") from error
