"""What `tramontana up` does for its demonstration organisation beside the server: makes it, installs it, authorises invitations."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from tramontana.cli.demonstration import AUTHORISED_NAME, DESKS, INVITATIONS_NAME, PASSPHRASE_NAME, Demonstration
from tramontana.cli.desk import DAY_S
from tramontana.cli.organisation_key import KEY_NAME, make_organisation, sign_for_server
from tramontana.cli.server_api import b64
from tramontana.control.bootstrap import organisation_of
from tramontana.control.store.database import PostgresqlAddress
from tramontana.control.store.requests import Proposal
from tramontana.errors import LocalError
from tramontana.keys.approval import issue_preauthorisation
from tramontana.keys.profiles import DEFAULT_PROFILE
from tramontana.keys.secret import Token
from tramontana.precedence import Precedence
from tramontana.private_file import read_or_make_private, replace_private

NAME = "Demonstration organisation"
PROPOSALS = (Proposal(precedence_ceiling="flash"), Proposal(precedence_ceiling="routine"))
"""What the two phones of `up` get: so that one can pre-empt the other's call."""
AUTHORISED_S = 7 * DAY_S


def prepare(directory: Path, data: Path, database: PostgresqlAddress | None = None) -> Demonstration | None:
    """Make the organisation on first use and give it to the server. None where its key, or the passphrase, was moved away.

    Raises `LocalError`.
    """
    made: list[Demonstration] = []

    def sign(service_id: str, log_public_key: bytes) -> tuple[bytes, bytes]:
        made.append(_open_or_make(directory))
        return made[0].key.root.encoded, sign_for_server(made[0].key, service_id, log_public_key)

    root = organisation_of(data, sign, database)
    if made:
        return made[0]
    if not (directory / KEY_NAME).exists() or not (directory / PASSPHRASE_NAME).exists():
        return None
    found = Demonstration.open(directory)
    if found.key.root.fingerprint != root.fingerprint:
        raise LocalError(f"the server in {data} belongs to another organisation than the one in {directory}; nothing was changed")
    return found


def _open_or_make(directory: Path) -> Demonstration:
    passphrase = directory / PASSPHRASE_NAME
    if not (directory / KEY_NAME).exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The passphrase first: whoever is interrupted here has no key without one.
        secret = read_or_make_private(passphrase, lambda: f"{secrets.token_urlsafe(24)}\n".encode()).decode("utf-8").strip()
        return Demonstration(directory, secret, make_organisation(directory, NAME, DEFAULT_PROFILE, secret))
    if not passphrase.exists():
        raise LocalError(
            f"the server has no organisation, and the one in {directory} is sealed: "
            "install it with `tramontana organisation request`, `sign` and `install`"
        )
    return Demonstration.open(directory)


def desks_to_invite(demonstration: Demonstration | None) -> list[str]:
    """What stands beside the invitations of custodians who are not enrolled yet."""
    return [f"{desk} of the demonstration" for desk in DESKS] if demonstration is not None and not demonstration.has_desks else []


def authorise(demonstration: Demonstration, desks: Sequence[Token], phones: Sequence[Token]) -> None:
    """Let the two custodians in, and authorise the phones that will use these invitations."""
    directory = demonstration.directory
    if desks:
        replace_private(directory / INVITATIONS_NAME, json.dumps([token.reveal() for token in desks]).encode())
    until = int(time.time()) + AUTHORISED_S
    statements = []
    for token, proposal in zip(phones, PROPOSALS, strict=True):
        ceiling = Precedence.parse(proposal.precedence_ceiling)
        made = issue_preauthorisation(demonstration.key, token.sha256(), proposal.unit, proposal.roles, ceiling, until)
        statements.append(b64(made.encoded))
    replace_private(directory / AUTHORISED_NAME, json.dumps(statements).encode())
