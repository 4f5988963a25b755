"""What strangers reach: service, enrolment, login."""

from __future__ import annotations

from fastapi import APIRouter

from tramontana import __version__
from tramontana.control.api import models
from tramontana.control.api.access import ServicesOf, Stranger
from tramontana.control.problem import problems
from tramontana.keys.identity import UnverifiedEnrolment, UnverifiedLogin
from tramontana.keys.mls.framing import SUITE

router = APIRouter(prefix="/api/v1", tags=["entry"])


@router.get("/health", responses=problems("store_unavailable"))
async def health(services: ServicesOf) -> models.Health:
    """Whether the server answers and its store can be read."""
    async with services.store.read():
        return models.Health(status="ok", events=services.hub.state)


@router.get("/service", responses=problems())
async def service(services: ServicesOf) -> models.Service:
    """What a phone must know before it enrols."""
    return models.Service(service_id=services.admission.service_id, version=__version__, suite=SUITE)


@router.post("/enrolments", status_code=201, responses=problems("invitation_refused", "already_enrolled", "no_organisation"))
async def enrol(body: models.Enrolment, services: ServicesOf, address: Stranger) -> models.Enrolled:
    """Use an invitation up. The same key repeating the same request gets the same answer."""

    def statement(invitation_sha256: bytes) -> UnverifiedEnrolment:
        return UnverifiedEnrolment(
            services.admission.service_id, invitation_sha256, body.signature_public_key, body.display_name, body.proof
        )

    account_id, device_id = await services.admission.enrol(body.invitation, statement, address)
    await services.custody.requests_changed()
    return models.Enrolled(account_id=account_id, device_id=device_id)


@router.post("/sessions/challenge", responses=problems())
async def challenge(body: models.ChallengeRequest, services: ServicesOf, _address: Stranger) -> models.ChallengeAnswer:
    """A challenge to sign; unknown devices get one as well."""
    made, expires_at = services.admission.challenges.make(body.device_id, services.clock())
    return models.ChallengeAnswer(challenge=made, expires_at=expires_at)


@router.post(
    "/sessions", status_code=201, responses=problems("login_refused", "device_revoked", "certificate_expired", "enrolment_rejected")
)
async def login(body: models.Login, services: ServicesOf, address: Stranger) -> models.Session:
    """Log a device in by proof that it holds its key."""
    unverified = UnverifiedLogin(services.admission.service_id, body.device_id, body.challenge, body.signature)
    token, expires_at = await services.admission.login(unverified, address)
    return models.Session(token=token.reveal(), expires_at=expires_at)


@router.post("/admin/sessions", status_code=201, responses=problems("administrator_link_refused"))
async def administrator_login(body: models.AdminLogin, services: ServicesOf, address: Stranger) -> models.Session:
    """Exchange the one-time administrator token for a session."""
    token, expires_at = await services.admission.administrator_login(body.token, address)
    return models.Session(token=token.reveal(), expires_at=expires_at)
