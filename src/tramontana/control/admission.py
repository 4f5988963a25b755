"""Who gets in: invitations, enrolment, logins by proof of possession, administrator links."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tramontana.control.challenges import CHALLENGE_LIFETIME_S, Challenges
from tramontana.control.limits import Limits, TokenBuckets
from tramontana.control.problem import Problem
from tramontana.control.store import accounts, audit, certificates, invitations, requests, sessions
from tramontana.control.store.database import Store
from tramontana.control.store.requests import MEMBER, Proposal
from tramontana.control.together import Together
from tramontana.keys.identity import SignatureRefused, UnverifiedEnrolment, UnverifiedLogin
from tramontana.keys.secret import Token

_ANY_POINT = bytes.fromhex("5866666666666666666666666666666666666666666666666666666666666666")
"""The Ed25519 base point: checked in place of an unknown device's key, so that the answer takes as long; it is refused either way."""
BOOT_INVITATIONS = 2
AUDITOR_LINK_CREATED = "auditor_link.created"
MOST_AUDITOR_NOTES = 1000
"""An older link is shown without its note."""
PUT_OUT: Mapping[str, str] = MappingProxyType(
    {"revoked": "device_revoked", "expired": "certificate_expired", "rejected": "enrolment_rejected"}
)
"""States of a device that may not log in, and the code that says so."""


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation with its token, at the only moment when both are known."""

    invitation_id: str
    token: Token
    expires_at: float


async def invite(
    store: Store,
    *,
    origin: invitations.Origin,
    actor: str,
    note: str,
    now: float,
    proposal: Proposal = MEMBER,
    of_account: str | None = None,
) -> NewInvitation:
    """Make an invitation. of_account: for a further device of that person. Raises `Problem` (`not_found`) for an unknown account."""
    token = Token.generate()
    async with store.write() as connection:
        if of_account is not None and not await accounts.exists(connection, of_account):
            raise Problem("not_found")
        invitation_id, expires_at = await invitations.create(
            connection, token.sha256(), origin=origin, note=note, now=now, proposal=proposal, of_account=of_account
        )
        await audit.append(
            connection,
            now=now,
            actor=actor,
            action="invitation.created",
            subject=f"invitation {invitation_id}",
            details={"note": note},
        )
    return NewInvitation(invitation_id, token, expires_at)


async def boot_invitations(
    store: Store, *, now: float, proposals: Sequence[Proposal] = (MEMBER,) * BOOT_INVITATIONS
) -> list[NewInvitation]:
    """Invitations that a start prints; unused ones of earlier starts are withdrawn."""
    async with store.write() as connection:
        withdrawn = await invitations.withdraw_unused_of_starts(connection, now)
        if withdrawn:
            await audit.append(connection, now=now, actor=audit.SERVER, action="invitation.withdrawn", details={"count": withdrawn})
    return [
        await invite(store, origin="start", actor=audit.SERVER, note=f"start, phone {n}", now=now, proposal=proposal)
        for n, proposal in enumerate(proposals, start=1)
    ]


async def auditor_access(store: Store, *, actor: str, note: str, now: float) -> tuple[Token, float]:
    """A token that reads the log and nothing else, and when it expires."""
    token = Token.generate()
    async with store.write() as connection:
        expires_at = await sessions.begin_auditor(connection, token.sha256(), now)
        subject = f"auditor {sessions.auditor_id_of(token.sha256())}"
        await audit.append(connection, now=now, actor=actor, action=AUDITOR_LINK_CREATED, subject=subject, details={"note": note})
    return token, expires_at


async def auditor_links(store: Store, *, now: float) -> list[tuple[sessions.AuditorLink, str]]:
    """Links that read the log now, each with the note that the audit trail keeps of it, newest first."""
    async with store.read() as connection:
        found = await sessions.auditor_links(connection, now)
        made = await audit.newest(connection, AUDITOR_LINK_CREATED, MOST_AUDITOR_NOTES)
    notes = {entry.subject: str(json.loads(entry.details)["note"]) for entry in made}
    return [(link, notes.get(f"auditor {link.auditor_id}", "")) for link in found]


async def withdraw_auditor(store: Store, auditor_id: str, *, actor: str, now: float) -> None:
    """From now on the link reads nothing more. Raises `Problem` (`not_found`)."""
    async with store.write() as connection:
        if not await sessions.end_auditor(connection, auditor_id, now):
            raise Problem("not_found")
        await audit.append(connection, now=now, actor=actor, action="auditor_link.withdrawn", subject=f"auditor {auditor_id}")


async def administrator_link(store: Store, *, actor: str, now: float) -> tuple[Token, float]:
    """A one-time administrator token and when it expires."""
    token = Token.generate()
    async with store.write() as connection:
        expires_at = await sessions.create_administrator_link(connection, token.sha256(), now)
        await audit.append(connection, now=now, actor=actor, action="administrator_link.created")
    return token, expires_at


class Admission:
    """Enrolments and logins of one service."""

    def __init__(
        self, store: Store, service_id: str, challenges: Challenges, buckets: TokenBuckets, limits: Limits, clock: Callable[[], float]
    ) -> None:
        self.service_id = service_id
        self.challenges = challenges
        self._store = store
        self._buckets = buckets
        self._limits = limits
        self._clock = clock
        self._refusals_not_recorded = 0
        self._lookups = Together(self._look_up)

    async def session(self, token: str) -> sessions.Session | None:
        """The live session of a bearer token."""
        parsed = Token.parse(token)
        return await self._lookups.ask(parsed.sha256()) if parsed is not None else None

    async def _look_up(self, tokens_sha256: Sequence[bytes]) -> Sequence[sessions.Session | None]:
        async with self._store.read_one() as connection:
            found = await sessions.find(connection, tokens_sha256, self._clock())
        return [found.get(each) for each in tokens_sha256]

    async def enrol(self, invitation: str, enrolment: Callable[[bytes], UnverifiedEnrolment], address: str) -> tuple[str, str]:
        """Use an invitation up and make an account with its first device: (account_id, device_id).

        `enrolment` gives the statement for the digest of the invitation. The same key with the same invitation gets the same answer
        again. Raises `Problem`.
        """
        now = self._clock()
        token = Token.parse(invitation)
        if token is None:
            raise Problem("invitation_refused")
        try:
            return await self._enrol(enrolment(token.sha256()), address, now)
        except Problem:
            # An invitation that comes a second time may have been read by somebody else on its way.
            async with self._store.read() as connection:
                found = await invitations.by_token(connection, token.sha256())
            details = {"invitation": found.invitation_id, "state": found.state(now)} if found else {}
            await self._record_refusal("enrolment.refused", "stranger", address, now, details)
            raise

    async def _enrol(self, unverified: UnverifiedEnrolment, address: str, now: float) -> tuple[str, str]:
        try:
            verified = unverified.verify()
        except SignatureRefused as error:
            raise Problem("invitation_refused", f"The proof of possession was refused: {error}.") from error
        async with self._store.write() as connection:
            found = await invitations.by_token(connection, verified.invitation_sha256)
            holder = await accounts.device_by_key(connection, verified.signature_public_key)
            if found and found.device_id and holder and holder.device_id == found.device_id:
                return holder.account_id, holder.device_id
            if found is None or found.state(now) != "open":
                raise Problem("invitation_refused")
            if holder is not None:
                raise Problem("already_enrolled")
            if await certificates.installed(connection) is None:
                raise Problem("no_organisation")
            account_id, device_id = await accounts.create(connection, verified, now, found.of_account)
            if not await invitations.use_up(connection, found.invitation_id, device_id, now):
                raise Problem("invitation_refused")
            await requests.create(
                connection,
                "enrolment",
                device_id,
                verified.display_name,
                found.proposal,
                now,
                invitation_sha256=verified.invitation_sha256,
                proof=unverified.proof,
            )
            details = {"invitation": found.invitation_id, "account": account_id, "address": address}
            await audit.append(
                connection,
                now=now,
                actor=audit.device_actor(device_id),
                action="device.enrolled",
                subject=f"device {device_id}",
                details=details,
            )
        return account_id, device_id

    async def login(self, login: UnverifiedLogin, address: str) -> tuple[Token, float]:
        """Begin a session: (token, when it expires). Raises `Problem`, the same one for whatever is wrong."""
        now = self._clock()
        async with self._store.read() as connection:
            device = await accounts.device(connection, login.device_id)
        try:
            verified = login.verify(device.signature_public_key if device else _ANY_POINT)
        except SignatureRefused:
            verified = None
        if device is None or verified is None or not self.challenges.is_timely(verified.device_id, verified.challenge, now):
            await self._record_refusal("login.refused", login.device_id if device else "unknown device", address, now)
            raise Problem("login_refused")
        state = device.state(now)  # only somebody who holds the key learns it
        if state in PUT_OUT:
            await self._record_refusal("login.refused", device.device_id, address, now, {"state": state})
            raise Problem(PUT_OUT[state])
        if wait_s := self._buckets.take("audited", device.account_id, self._limits.audited, now):
            raise Problem("too_many_requests", retry_after_s=wait_s)
        token = Token.generate()
        async with self._store.write() as connection:
            if await sessions.use_challenge(connection, verified.challenge, now + CHALLENGE_LIFETIME_S):
                expires_at = await sessions.begin_device(connection, token.sha256(), device.device_id, now)
                actor, details = audit.device_actor(device.device_id), {"address": address}
                await audit.append(
                    connection, now=now, actor=actor, action="device.login", subject=f"device {device.device_id}", details=details
                )
                return token, expires_at
        await self._record_refusal("login.refused", device.device_id, address, now)
        raise Problem("login_refused")

    async def administrator_login(self, text: str, address: str) -> tuple[Token, float]:
        """Exchange a one-time administrator token for a session. Raises `Problem`."""
        now = self._clock()
        link, token = Token.parse(text), Token.generate()
        async with self._store.write() as connection:
            if link is not None and await sessions.use_administrator_link(connection, link.sha256(), now):
                expires_at = await sessions.begin_administrator(connection, token.sha256(), now)
                await audit.append(
                    connection, now=now, actor=audit.ADMINISTRATOR, action="administrator.login", details={"address": address}
                )
                return token, expires_at
        await self._record_refusal("login.refused", audit.ADMINISTRATOR, address, now)
        raise Problem("administrator_link_refused")

    async def _record_refusal(
        self, action: str, who: str, address: str, now: float, details: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        """Audit a refused login or enrolment.

        Strangers cannot fill the disk: above a rate, refusals are counted and the next row tells how many.
        """
        if self._buckets.take("refused_logins", "", self._limits.refused_logins, now):
            self._refusals_not_recorded += 1
            return
        recorded = {"address": address, "not_recorded_before": self._refusals_not_recorded, **details}
        self._refusals_not_recorded = 0
        async with self._store.write() as connection:
            await audit.append(connection, now=now, actor=who, action=action, details=recorded)
