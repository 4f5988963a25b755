"""Errors of the HTTP interface: `application/problem+json` (RFC 9457) with a stable `code`.

`CODES` is the whole list. The sentence in `detail` may be shown to a person and says what to do next; it never repeats what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import Field

from tramontana.control.shapes import Shape

MEDIA_TYPE = "application/problem+json"

CODES: Mapping[str, tuple[int, str]] = {
    "not_logged_in": (401, "Log in again: this needs a valid session."),
    "login_refused": (401, "The login was refused. Ask for a new challenge and sign it with the key of this device."),
    "administrator_link_refused": (
        401,
        "This administrator link is used up, expired or wrong. Make a new one with `tramontana admin-link`.",
    ),
    "invitation_refused": (403, "This invitation is used up, expired or wrong. Ask for a new one."),
    "not_yours": (403, "Only an owner of the talk group or an administrator may do this. Ask one of them."),
    "archive_fixed": (403, "An archive member is set and removed by an administrator only. Ask one."),
    "not_an_archive": (409, "No device of this account is certified as an archive. Have two custodians approve one with the role archive."),
    "owner_needed": (409, "A talk group needs an owner, whose phone founds it. Name another owner first."),
    "not_certified": (403, "This device is not certified yet. Wait until a custodian has approved it."),
    "certificate_expired": (403, "The certificate of this device has expired. Ask a custodian to renew it."),
    "device_revoked": (403, "This device was revoked. Its person needs an invitation for a new one."),
    "enrolment_rejected": (403, "A custodian rejected this device. Ask for a new invitation, and compare the device code."),
    "not_custodian": (403, "Only a custodian of the organisation may do this."),
    "not_warner": (403, "Only an operator or an approver of warnings may do this. Custodians give these roles."),
    "not_operator": (403, "Only an operator may see this or act on it. Custodians give this role."),
    "desk_needed": (
        409,
        "A console names its workplace, not like a person; a device of an operator names none, it acts for its person.",
    ),
    "not_joined": (403, "This device is not yet in the group of this conversation. Wait for its welcome."),
    "origin_refused": (403, "Open the phone or the console from the address of the server itself."),
    "precedence_refused": (
        403,
        "You may not call at this precedence. Choose a lower one, or ask a custodian for a certificate with a higher ceiling.",
    ),
    "case_elsewhere": (409, "The case changed, or another workplace has it. Load it again and look who has it."),
    "case_without_position": (409, "The case has no position yet. Ask for it, or set it on the map."),
    "must_not_emit": (409, "The unit of this telephone must not emit: nothing is sent to it and nothing of its case passed on."),
    "no_route": (409, "No message centre is configured for this number. Add one to the operators' file, or correct the number."),
    "no_sealed_numbers": (
        409,
        "This server has no number for sealed texts of this device. Ask its operator for [sealed] numbers, then claim one.",
    ),
    "text_too_long": (409, "The text needs more short messages than one text may have. Shorten it."),
    "text_settled": (409, "This text cannot be changed any more. Look at its state."),
    "not_found": (404, "There is nothing here for you."),
    "method_not_allowed": (405, "This address does not take that method; see the API document."),
    "epoch_taken": (409, "Another commit was accepted first. Drop the pending one, process what was accepted, and try again."),
    "epoch_out_of_range": (409, "The message is of an epoch that is no longer accepted. Process what is pending and encrypt it again."),
    "message_id_reused": (409, "This message id was used for other content. Choose a new one."),
    "call_ended": (409, "This call has ended. Start a new one."),
    "call_preempted": (409, "This call had to end for one of higher precedence, or because its path became too small. Call again later."),
    "call_waiting": (409, "There is no room for this call yet; it waits its turn. Ask again after Retry-After, or hang up."),
    "no_capacity": (
        409,
        "There is no room for this call. Try again later, choose another carrier, or use a higher precedence if the matter demands it.",
    ),
    "call_not_forwarded": (409, "A call of two goes from phone to phone: there is no forwarder for it."),
    "call_elsewhere": (409, "This call id belongs to another conversation. Choose a new one."),
    "mailbox_full": (409, "A mailbox that this must reach is full. Try again when its device has been online."),
    "already_enrolled": (409, "This key is already enrolled. Log in with it, or make a new one."),
    "not_a_router": (403, "Only a device that the organisation certified as a site or a gateway may do this."),
    "place_taken": (409, "Another site or gateway has this network or address; `detail` says which. Choose another one."),
    "no_number": (409, "There is no number left for another one. Revoke one first."),
    "conversation_exists": (409, "This conversation id is taken. Choose a new one."),
    "members_fixed": (409, "The members of a direct conversation cannot be changed. Make a group."),
    "too_many_members": (409, "This is more members than such a conversation can have. Remove some first, or make a talk group."),
    "attachment_exists": (409, "This attachment id is taken by other content. Send it again under a new one."),
    "attachment_missing": (409, "The message tells of an attachment that is not here as a whole. Send its missing chunks first."),
    "attachment_quota": (409, "You keep as much here as one account may. Delete attachments of yours, or wait until old ones expire."),
    "attachment_too_large": (413, "The attachment is larger than this server takes. Send a smaller one."),
    "too_large": (413, "The request is too large. Send less at once."),
    "wrong_host": (421, "The server does not answer under this name. Use the address that it printed, or start it with --host-name."),
    "invalid_request": (422, "The request is not as the API document describes; `errors` names the fields."),
    "certificate_refused": (422, "The organisation's statement was refused; `reason` names why and `detail` says what to do."),
    "bad_mls_message": (422, "The MLS message is malformed or does not belong here; `detail` says why."),
    "key_package_refused": (422, "A key package was refused; `detail` says why. Make new ones with the device's own key."),
    "welcome_refused": (422, "The welcome admits somebody whose key package was not claimed here. Claim again and make a new commit."),
    "removal_refused": (
        422,
        "The commit removes a device that is not in the group, or its sender. Look at the group and try again.",
    ),
    "offer_refused": (422, "The forwarder cannot answer this offer; `detail` says what it lacks."),
    "unknown_access": (422, "This place or carrier is not offered; see the access options."),
    "too_many_requests": (429, "Too many requests. Wait as long as Retry-After says."),
    "internal": (500, "The server failed; the operator finds the cause in its log. Try again later."),
    "no_organisation": (503, "This server has no organisation yet. Its operator installs one with `tramontana organisation install`."),
    "media_unavailable": (503, "The media relay or the path player does not answer. Try again in a few seconds."),
    "warning_refused": (409, "The warning was refused; `detail` says why."),
    "store_unavailable": (503, "The server cannot write its data now (disk full or busy). Nothing was changed. Try again later."),
}


class ProblemShape(Shape):
    """RFC 9457 §3.1, with our `code`."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    epoch: int | None = Field(default=None, description="with `epoch_taken` and `epoch_out_of_range`: the current epoch")
    reason: str | None = Field(default=None, description="with `certificate_refused`: the name of the refusal")
    errors: list[dict[str, Any]] | None = Field(default=None, description="with `invalid_request`: location and reason of each fault")


class Problem(Exception):
    """An answer that is an error. `code` is one of `CODES`."""

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        retry_after_s: float | None = None,
        epoch: int | None = None,
        errors: list[dict[str, Any]] | None = None,
        reason: str | None = None,
    ) -> None:
        self.code = code
        self.status, standard = CODES[code]
        self.detail = detail or standard
        self.retry_after_s = retry_after_s if retry_after_s is not None else (5.0 if self.status == 503 else None)
        self.epoch = epoch
        self.errors = errors
        self.reason = reason
        super().__init__(f"{code}: {self.detail}")

    def response(self) -> JSONResponse:
        body = ProblemShape(
            title=self.code.replace("_", " ").capitalize(),
            status=self.status,
            code=self.code,
            detail=self.detail,
            epoch=self.epoch,
            errors=self.errors,
            reason=self.reason,
        ).model_dump(exclude_none=True)
        headers = {"Cache-Control": "no-store"}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, int(-(-self.retry_after_s // 1))))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(body, self.status, headers=headers, media_type=MEDIA_TYPE)


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI `responses` of a route that may answer with these codes, besides those that every route may give."""
    by_status: dict[int, list[str]] = {}
    for code in (*codes, "invalid_request", "too_many_requests", "too_large", "wrong_host", "internal", "store_unavailable"):
        by_status.setdefault(CODES[code][0], []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {CODES[code][1]}" for code in sorted(set(listed))),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemShape"}}},
        }
        for status, listed in sorted(by_status.items())
    }


async def answer_problem(_request: Request, error: Exception) -> JSONResponse:
    """FastAPI's handler of `Problem`."""
    assert isinstance(error, Problem)
    return error.response()
