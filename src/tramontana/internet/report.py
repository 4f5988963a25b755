"""What a site or a gateway reports of itself: JSON, signed with its device key, so that whoever hands it on cannot change it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tramontana.carrier_hours import CarrierHour
from tramontana.errors import RemoteError
from tramontana.keys.identity import DeviceKey, encode_statement, verify_signature

REPORT_CONTEXT = "tramontana router report 1"
MAX_REPORT_BYTES = 12 * 1024
MOST_REPORTS = 100
"""That a gateway hands on in one request."""
MOST_SWITCHES = 12
"""The last ones."""
MOST_TUNNELS = 32
"""Two gateways over fifteen uplinks, and some."""
MOST_HOURS = 2
"""Of carriers, in one report."""
MAX_WORDS = 400

DeviceId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Words = Annotated[str, Field(max_length=MAX_WORDS)]
CarrierId = Annotated[str, Field(max_length=64)]
Uplink = Annotated[int, Field(ge=0, le=255)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
UnixSeconds = Annotated[float, Field(ge=0, lt=2**53, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Carrying(_Strict):
    """The tunnel of routine data."""

    gateway: DeviceId
    uplink: Uplink
    carrier: CarrierId


class Tunnel(_Strict):
    """health: as the probes find it; up: there is a session; key_age_s: of the post-quantum key in force."""

    gateway: DeviceId
    uplink: Uplink
    carrier: CarrierId
    up: bool
    health: Literal["unproven", "alive", "suspect", "dead"] | None
    delay_ms: Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)] | None
    """Round trip."""
    loss: Annotated[float, Field(ge=0, le=1)] | None
    key_age_s: Seconds | None
    handshake_age_s: Seconds | None


class Switched(_Strict):
    """before, after: carriers, None for blocked."""

    at: UnixSeconds
    before: CarrierId | None
    after: CarrierId | None
    reason: Words


class Position(_Strict):
    latitude_deg: Annotated[float, Field(ge=-90, le=90)]
    longitude_deg: Annotated[float, Field(ge=-180, le=180)]


class SiteReport(_Strict):
    role: Literal["site"] = "site"
    at: UnixSeconds
    log_size: Annotated[int, Field(ge=0, lt=2**53)]
    """How many entries of the organisation's log it has."""
    carrying: Carrying | None
    blocked: Words | None
    """Why nothing carries."""
    tunnels: Annotated[tuple[Tunnel, ...], Field(max_length=MOST_TUNNELS, strict=False)]
    switches: Annotated[tuple[Switched, ...], Field(max_length=MOST_SWITCHES, strict=False)]
    """The newest last."""
    hours: Annotated[tuple[CarrierHour, ...], Field(max_length=MOST_HOURS, strict=False)] = ()
    """What carriers were worth in hours that are over."""
    position: Position | None = None


class GatewayReport(_Strict):
    role: Literal["gateway"] = "gateway"
    at: UnixSeconds
    log_size: Annotated[int, Field(ge=0, lt=2**53)]
    sites: Annotated[int, Field(ge=0)]
    """How many there are a control connection with."""
    fault: Words | None
    position: Position | None = None


Report = SiteReport | GatewayReport


class ReportRefused(RemoteError):
    """A report is malformed, too long, or not of the device that it is said to be of."""


@dataclass(frozen=True, slots=True)
class SignedReport:
    """As it travels."""

    device_id: str
    report: bytes
    signature: bytes = field(repr=False)


def sign_report(report: Report, device_id: str, organisation_id: str, key: DeviceKey) -> SignedReport:
    encoded = report.model_dump_json(exclude_none=False).encode()
    return SignedReport(device_id, encoded, key.sign(_statement(encoded, device_id, organisation_id)))


def verify_report(
    signed: SignedReport, kind: type[SiteReport] | type[GatewayReport], organisation_id: str, signature_public_key: bytes
) -> Report:
    """Raises `ReportRefused`, `SignatureRefused`."""
    if len(signed.report) > MAX_REPORT_BYTES:
        raise ReportRefused(f"a report has at most {MAX_REPORT_BYTES} octets")
    verify_signature(signature_public_key, signed.signature, _statement(signed.report, signed.device_id, organisation_id))
    try:
        return kind.model_validate_json(signed.report)
    except ValidationError as error:
        raise ReportRefused("a report is not as this program knows reports; use programs of one version") from error


def _statement(report: bytes, device_id: str, organisation_id: str) -> bytes:
    return encode_statement(REPORT_CONTEXT, (organisation_id.encode(), device_id.encode(), report))
