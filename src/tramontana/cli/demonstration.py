"""The demonstration organisation of `tramontana up`: both custodians and the key on one machine, so that a newcomer needs one command.

The rules are those of every organisation: two founding custodians, signed approvals, two of them for a high ceiling. Only nobody
compares device codes: the invitations that `up` printed are authorised in advance, by statements that the organisation signed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from tramontana.cli.desk import DEVICE_NAME, Desk
from tramontana.cli.organisation_key import open_organisation
from tramontana.cli.server_api import ServerRefused, ServerUnreachable, unb64
from tramontana.keys.approval import Preauthorisation, UnverifiedPreauthorisation
from tramontana.keys.identity import SignatureRefused
from tramontana.keys.organisation import OrganisationKey
from tramontana.private_file import read_private

PASSPHRASE_NAME = "passphrase"  # noqa: S105 - the name of a file
INVITATIONS_NAME = "custodian-invitations.json"
AUTHORISED_NAME = "authorised.json"
DESKS = ("custodian-1", "custodian-2")
LOOK_AGAIN_S = 5.0


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

    @property
    def has_desks(self) -> bool:
        """Whether both custodians are enrolled."""
        return all((self.directory / desk / DEVICE_NAME).exists() for desk in DESKS)

    def _desks(self, origin: str) -> list[Desk]:
        """The two custodians, logged in; enrolled and certified on first use."""
        desks = []
        tokens = [] if self.has_desks else json.loads(read_private(self.directory / INVITATIONS_NAME))
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
