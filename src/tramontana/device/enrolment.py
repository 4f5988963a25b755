"""How a device becomes a member's: by the link of an invitation, with a key that is made here and never leaves."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from urllib.parse import parse_qs, urlsplit

from tramontana.device.membership import Membership
from tramontana.device.requests import Procedure, Request, b64, unb64
from tramontana.device.store import Change, Store
from tramontana.errors import LocalError, RemoteError
from tramontana.keys.identity import DeviceKey, UnverifiedEnrolment, UnverifiedLogin
from tramontana.keys.mls.framing import SUITE
from tramontana.keys.organisation import parse_fingerprint
from tramontana.keys.secret import Token

TABLE = "device"
KEY_ROW = "key"
ENROLMENT_ROW = "enrolment"


class OtherSuite(RemoteError):
    """The server's conversations use another cipher suite than this program; use a program of the server's version."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a link holds."""

    origin: str
    token: Token = field(repr=False)
    fingerprint: bytes

    @classmethod
    def parse(cls, link: str) -> Invitation:
        """Raises `LocalError`."""
        parts = urlsplit(link.strip())
        fields = {name: values[0] for name, values in parse_qs(parts.fragment).items()}
        token = Token.parse(fields.get("invite", ""))
        if parts.scheme not in ("http", "https") or not parts.netloc or token is None:
            raise LocalError(
                "this is no invitation: its link begins with https:// (or http:// on this machine) and has #invite=…&org=… at its end"
            )
        return cls(f"{parts.scheme}://{parts.netloc}", token, parse_fingerprint(fields.get("org", "")))


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Whose device this is, where, and of which organisation."""

    origin: str
    service_id: str
    account_id: str
    device_id: str
    display_name: str
    fingerprint: str
    """Of the organisation, as it stands in links."""

    @classmethod
    def read(cls, store: Store) -> tuple[Enrolment, DeviceKey] | None:
        """None before the device was enrolled."""
        rows = store.read(TABLE)
        if ENROLMENT_ROW not in rows or KEY_ROW not in rows:
            return None
        return cls(**json.loads(rows[ENROLMENT_ROW])), DeviceKey.from_bytes(rows[KEY_ROW])


def enrol(store: Store, invitation: Invitation, display_name: str) -> Procedure[Enrolment]:
    """Redeem an invitation and keep what comes of it.

    Raises `Refused` if the server's organisation is not the one that the invitation names, `OtherSuite`, `Refusal`, `Unreachable`.
    """
    service = yield Request("GET", "/service", needs_session=False)
    if service["suite"] != SUITE:
        raise OtherSuite(f"the server's conversations use cipher suite {service['suite']}; use a program of the server's version")
    shown = yield Request("GET", "/organisation", needs_session=False)
    membership = Membership.begin(invitation.fingerprint, unb64(shown["organisation"]), unb64(shown["log_key"]))
    # Kept before it is shown to anybody: if the answer is lost, the same key asks again and gets the same answer.
    secret = store.read(TABLE).get(KEY_ROW)
    key = DeviceKey.generate() if secret is None else DeviceKey.from_bytes(secret)
    store.write([Change(TABLE, KEY_ROW, key.reveal())])
    service_id = str(service["service_id"])
    unsigned = UnverifiedEnrolment(service_id, invitation.token.sha256(), key.public_bytes, display_name, b"")
    body = {
        "invitation": invitation.token.reveal(),
        "display_name": display_name,
        "signature_public_key": b64(key.public_bytes),
        "proof": b64(key.sign(unsigned.statement())),
    }
    made = yield Request("POST", "/enrolments", body, needs_session=False)
    fingerprint = membership.root.fingerprint_text
    enrolment = Enrolment(invitation.origin, service_id, str(made["account_id"]), str(made["device_id"]), display_name, fingerprint)
    store.write([Change(TABLE, ENROLMENT_ROW, json.dumps(asdict(enrolment)).encode()), *membership.changes()])
    return enrolment


def login(enrolment: Enrolment, key: DeviceKey) -> Procedure[str]:
    """Prove that this device has its key: the token of a session."""
    given = yield Request("POST", "/sessions/challenge", {"device_id": enrolment.device_id}, needs_session=False)
    challenge = unb64(given["challenge"])
    statement = UnverifiedLogin(enrolment.service_id, enrolment.device_id, challenge, b"").statement()
    body = {"device_id": enrolment.device_id, "challenge": given["challenge"], "signature": b64(key.sign(statement))}
    session = yield Request("POST", "/sessions", body, needs_session=False)
    return str(session["token"])
