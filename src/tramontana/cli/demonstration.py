"""The demonstration organisation of `tramontana up`: both custodians and the key on one machine, so that a newcomer needs one command.

The rules are those of every organisation: two founding custodians, signed approvals, two of them for a high ceiling. Only nobody
compares device codes: the invitations that `up` printed are authorised in advance, by statements that the organisation signed.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from tramontana.cli.desk import DAY_S, DEVICE_NAME, Desk
from tramontana.cli.organisation import KEY_NAME, make_organisation, open_organisation, sign_for_server
from tramontana.cli.server_api import ServerRefused, ServerUnreachable, b64, unb64
from tramontana.control.bootstrap import install_organisation, installed_root, log_key_request, make_invitation
from tramontana.control.private_file import make_private, read_private, replace_private
from tramontana.control.store.requests import Proposal
from tramontana.errors import LocalError
from tramontana.keys.approval import Preauthorisation, UnverifiedPreauthorisation, issue_preauthorisation
from tramontana.keys.identity import SignatureRefused
from tramontana.keys.organisation import OrganisationKey
from tramontana.keys.profiles import DEFAULT_PROFILE
from tramontana.keys.secret import Token
from tramontana.precedence import Precedence

NAME = "Demonstration organisation"
PASSPHRASE_NAME = "passphrase"  # noqa: S105 - the name of a file
INVITATIONS_NAME = "custodian-invitations.json"
AUTHORISED_NAME = "authorised.json"
DESKS = ("custodian-1", "custodian-2")
PROPOSALS = (Proposal(precedence_ceiling="flash"), Proposal(precedence_ceiling="routine"))
"""What the two phones of `up` get: so that one can pre-empt the other's call."""
LOOK_AGAIN_S = 5.0
VALIDITY_S = 365 * DAY_S
AUTHORISED_S = 7 * DAY_S


@dataclass(frozen=True, slots=True)
class Demonstration:
    """The organisation in its directory, opened."""

    directory: Path
    secret: str
    key: OrganisationKey

    @classmethod
    def open(cls, directory: Path) -> Demonstration:
        """Raises `LocalError`."""
        secret = read_private(directory / PASSPHRASE_NAME).decode("utf-8").strip()
        return cls(directory, secret, open_organisation(directory, secret))

    @classmethod
    def prepare(cls, directory: Path, data: Path) -> Demonstration | None:
        """Make the organisation on first use and give it to the server. None where its key, or the passphrase, was moved away.

        Raises `LocalError`.
        """
        installed = installed_root(data)
        if installed is None and not (directory / KEY_NAME).exists():
            secret = secrets.token_urlsafe(24)
            make_organisation(directory, NAME, DEFAULT_PROFILE, secret)
            make_private(directory / PASSPHRASE_NAME, f"{secret}\n".encode())
        if not (directory / KEY_NAME).exists() or not (directory / PASSPHRASE_NAME).exists():
            if installed is None:
                raise LocalError(
                    f"the server has no organisation, and the one in {directory} is sealed: "
                    "install it with `tramontana organisation request`, `sign` and `install`"
                )
            return None
        made = cls.open(directory)
        if installed is None:
            install_organisation(data, made.key.root.encoded, sign_for_server(made.key, *log_key_request(data)))
        elif installed.fingerprint != made.key.root.fingerprint:
            raise LocalError(f"the server in {data} belongs to another organisation than the one in {directory}; nothing was changed")
        return made

    def authorise(self, data: Path, tokens: Sequence[Token]) -> None:
        """Let the two custodians in, and authorise the phones that will use these invitations."""
        desks = [] if self._has_desks else [make_invitation(data, f"{desk} of the demonstration", origin="start") for desk in DESKS]
        if desks:
            replace_private(self.directory / INVITATIONS_NAME, json.dumps([made.token.reveal() for made in desks]).encode())
        until = int(time.time()) + AUTHORISED_S
        statements = []
        for token, proposal in zip(tokens, PROPOSALS, strict=True):
            ceiling = Precedence.parse(proposal.precedence_ceiling)
            made = issue_preauthorisation(self.key, token.sha256(), proposal.unit, proposal.roles, ceiling, until)
            statements.append(b64(made.encoded))
        replace_private(self.directory / AUTHORISED_NAME, json.dumps(statements).encode())

    @property
    def _has_desks(self) -> bool:
        return all((self.directory / desk / DEVICE_NAME).exists() for desk in DESKS)

    def _desks(self, origin: str) -> list[Desk]:
        """The two custodians, logged in; enrolled and certified on first use."""
        desks = []
        tokens = [] if self._has_desks else json.loads(read_private(self.directory / INVITATIONS_NAME))
        for number, name in enumerate(DESKS):
            if (self.directory / name / DEVICE_NAME).exists():
                desk = Desk.open(self.directory / name, self.secret, origin=origin)
            else:
                link = f"{origin}/phone#invite={tokens[number]}&org={self.key.root.fingerprint_text}"
                desk = Desk.enrol(link, name.replace("-", " ").capitalize(), self.directory / name, self.secret)
            desk.follow_log()
            if desk.standing() is None:
                desk.found(self.key)
            desks.append(desk)
        for desk in desks:
            desk.follow_log()
        (self.directory / INVITATIONS_NAME).unlink(missing_ok=True)
        return desks

    def _authorised(self) -> dict[bytes, Preauthorisation]:
        listed = json.loads(read_private(self.directory / AUTHORISED_NAME))
        found = [UnverifiedPreauthorisation(unb64(encoded)).verify(self.key.root) for encoded in listed]
        return {each.invitation_sha256: each for each in found if time.time() < each.not_after}

    def run(self, origin: str) -> None:
        """Certify whoever used an authorised invitation, until the process ends."""
        desks: list[Desk] = []
        while True:
            try:
                desks = desks or self._desks(origin)
                with _told(desks[0]) as socket:
                    while True:
                        self._certify(desks)
                        _wait(socket)
            except (ServerUnreachable, WebSocketException, OSError):
                time.sleep(1.0)
            except ServerRefused as refused:
                if refused.code != "not_logged_in":
                    time.sleep(LOOK_AGAIN_S)
            _log_in(desks)

    def _certify(self, desks: Sequence[Desk]) -> None:
        authorised = self._authorised()
        for request in desks[0].requests():
            statement = authorised.get(unb64(request["invitation_sha256"])) if request["invitation_sha256"] else None
            if statement is None:
                continue
            for desk in desks:
                desk.follow_log()
            grant = desks[0].grant_for(request, unit=statement.unit, roles=statement.roles, ceiling=statement.ceiling.label)
            if request["approvals"]:  # of a process that ended before it had issued: the others approve the same
                begun = desks[0].grant_for(request)
                grant = begun if replace(begun, not_after=grant.not_after) == grant else grant
            try:
                for desk in desks[: grant.approvals_needed()]:
                    if not desk.has_approved(request):
                        desk.approve(request, grant)
                fresh = desks[0].find_request(request["request_id"])
                desks[0].issue(self.key, fresh, grant)
            except SignatureRefused:
                continue  # the server made the request up


def _told(desk: Desk) -> ClientConnection:
    """A socket that says when requests changed."""
    socket = connect(desk.api.origin.replace("http", "ws", 1) + "/api/v1/socket", open_timeout=30)
    socket.send(json.dumps({"type": "hello", "token": desk.api.token, "after": 0}))
    return socket


def _wait(socket: ClientConnection) -> None:
    """Until requests have changed, or it is time to look anyway."""
    until = time.monotonic() + LOOK_AGAIN_S
    while (left := until - time.monotonic()) > 0:
        try:
            kind = json.loads(socket.recv(timeout=left))["type"]
        except TimeoutError:
            return
        if kind == "ping":
            socket.send(json.dumps({"type": "pong"}))
        elif kind == "approvals":
            return


def _log_in(desks: Sequence[Desk]) -> None:
    """New sessions, where the server can be asked."""
    try:
        for desk in desks:
            desk.login()
    except ServerUnreachable:
        return
