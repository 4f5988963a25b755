"""Directory, key package claims, conversations, commits, messages."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from tramontana.control.api import models
from tramontana.control.api.access import AuditedDeviceOf, DeviceOf, EnrolledOf, ServicesOf, SessionOf, limit
from tramontana.control.problem import Problem, problems
from tramontana.control.shapes import Id
from tramontana.control.store import accounts, calls, certificates, conversations, key_packages, trees

router = APIRouter(prefix="/api/v1", tags=["conversations"])
PathId = Annotated[Id, Path()]
PathEpoch = Annotated[int, Path(ge=0, lt=2**53)]
CLAIMED_PER_TOKEN = 10
"""Accounts whose key packages one token of the bucket `claim` buys for a group."""
_OCTETS = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


@router.get("/accounts", responses=problems("not_logged_in", "certificate_expired"))
async def directory(
    session: SessionOf, services: ServicesOf, certificates_from: Annotated[int, Query(ge=0, lt=2**53)] = 0
) -> list[models.DirectoryAccount]:
    """Every account that can be reached, with its certified devices: a device is listed from its first key packages on.

    Certificates with a log index below `certificates_from` are left out: the client has read them. Empty for a device that is pending.
    """
    if session.certified_until is None:
        return []
    now = services.clock()
    if now >= session.certified_until:
        raise Problem("certificate_expired")
    async with services.store.read() as connection:
        devices = await accounts.all_devices(connection, reachable_at=now)
        known = await certificates.last_of_devices(connection, [device.device_id for device in devices])
    answer = []
    for account_id, group in groupby(devices, key=lambda device: device.account_id):
        of_account = list(group)
        answer.append(
            models.DirectoryAccount(
                account_id=account_id,
                display_name=of_account[0].display_name,
                precedence_ceiling=of_account[0].precedence_ceiling,
                online=services.hub.is_account_online(account_id),
                devices=[
                    models.DirectoryDevice(
                        device_id=device.device_id,
                        signature_public_key=device.signature_public_key,
                        serial=certificate.serial,
                        log_index=certificate.log_index,
                        certificate=certificate.encoded if certificate.log_index >= certificates_from else None,
                    )
                    for device in of_account
                    for certificate in [known[device.device_id]]
                ],
            )
        )
    return answer


@router.post("/accounts/{account_id}/key-packages/claim", responses=problems("not_logged_in", "not_found"))
async def claim(account_id: PathId, sender: DeviceOf, services: ServicesOf) -> list[models.ClaimedKeyPackage]:
    """One key package of each device of an account; devices that offer none are left out."""
    limit(services, "claim", sender.account_id, services.limits.claim)
    async with services.store.write() as connection:
        if not await accounts.exists(connection, account_id):
            raise Problem("not_found")
        claimed = await key_packages.claim_of(connection, {account_id}, (), services.clock())
    return [models.ClaimedKeyPackage(device_id=each.device_id, key_package=each.message) for each in claimed]


def _shape(conversation: conversations.Conversation) -> models.Conversation:
    return models.Conversation(
        conversation_id=conversation.conversation_id,
        kind=conversation.kind,
        members=list(conversation.members),
        owners=list(conversation.owners),
        archives=list(conversation.archives),
        epoch=conversation.epoch,
        creator_device_id=conversation.creator_device_id,
    )


@router.post(
    "/conversations", responses=problems("not_logged_in", "not_found", "conversation_exists", "too_many_members", "invalid_request")
)
async def open_conversation(body: models.ConversationRequest, sender: DeviceOf, services: ServicesOf) -> models.Conversation:
    """The one direct conversation with a peer, made on first use; or a new group or talk group, whose owner one is."""
    if body.kind == "direct":
        if len(body.members) != 1 or body.conversation_id is not None:
            raise Problem("invalid_request", "A direct conversation takes one peer and no id.")
        return _shape(await services.membership.direct(sender, body.members[0]))
    if body.conversation_id is None:
        raise Problem("invalid_request", "A group takes an id: 32 hex characters drawn at random.")
    limit(services, "audited", sender.account_id, services.limits.audited)
    return _shape(await services.membership.create(sender, body.conversation_id, body.kind, body.members))


@router.get("/conversations/{conversation_id}", responses=problems("not_logged_in", "not_found"))
async def conversation(conversation_id: PathId, sender: DeviceOf, services: ServicesOf) -> models.Conversation:
    """One conversation of one's own account."""
    async with services.store.read() as connection:
        found = await conversations.find(connection, conversation_id)
    if found is None or sender.account_id not in found.members:
        raise Problem("not_found")
    return _shape(found)


@router.post(
    "/conversations/{conversation_id}/members",
    responses=problems("not_logged_in", "not_found", "members_fixed", "not_yours", "too_many_members"),
)
async def add_members(
    conversation_id: PathId, body: models.MembersRequest, sender: AuditedDeviceOf, services: ServicesOf
) -> models.Conversation:
    """Put accounts on the list of members. Their devices come in by the commit of one of the members' phones."""
    return _shape(await services.membership.add(sender, conversation_id, body.members))


@router.delete(
    "/conversations/{conversation_id}/members/{account_id}",
    status_code=204,
    response_class=Response,
    responses=problems("not_logged_in", "not_found", "members_fixed", "not_yours", "archive_fixed"),
)
async def remove_member(conversation_id: PathId, account_id: PathId, sender: AuditedDeviceOf, services: ServicesOf) -> None:
    """Take an account off the list, or leave. It gets no content from now on; its devices go out by the commit of a member's phone."""
    await services.membership.remove(sender, conversation_id, account_id)
    await services.calls.put_out_of(conversation_id, account_id)


@router.get("/conversations", responses=problems("not_logged_in"))
async def own_conversations(sender: EnrolledOf, services: ServicesOf) -> list[models.Conversation]:
    """The conversations of one's own account."""
    async with services.store.read() as connection:
        return [_shape(found) for found in await conversations.of_account(connection, sender.account_id)]


@router.post("/conversations/{conversation_id}/key-packages/claim", responses=problems("not_logged_in", "not_found"))
async def claim_of_members(
    conversation_id: PathId, body: models.ClaimRequest, sender: DeviceOf, services: ServicesOf
) -> list[models.ClaimedOfMember]:
    """One key package of each device of these members that is not in the group and not one's own. Those that offer none are left out."""
    limit(services, "claim", sender.account_id, services.limits.claim, cost=1 + len(body.accounts) // CLAIMED_PER_TOKEN)
    async with services.store.write() as connection:
        found = await conversations.find(connection, conversation_id)
        if found is None or sender.account_id not in found.members:
            raise Problem("not_found")
        joined = await conversations.joined_devices(connection, conversation_id)
        wanted = set(body.accounts) & set(found.members)
        claimed = await key_packages.claim_of(connection, wanted, {sender.device_id, *joined}, services.clock())
    return [models.ClaimedOfMember(account_id=each.account_id, device_id=each.device_id, key_package=each.message) for each in claimed]


@router.post(
    "/conversations/{conversation_id}/commits",
    status_code=201,
    responses=problems(
        "not_logged_in",
        "not_found",
        "not_joined",
        "epoch_taken",
        "epoch_out_of_range",
        "bad_mls_message",
        "welcome_refused",
        "removal_refused",
        "mailbox_full",
    ),
)
async def submit_commit(
    conversation_id: PathId, body: models.CommitRequest, sender: AuditedDeviceOf, services: ServicesOf
) -> models.CommitAccepted:
    """Submit a commit; at most one is accepted per epoch. A repeat of the accepted one gets the same answer."""
    accepted = await services.delivery.submit_commit(sender, conversation_id, body.epoch, body.commit, body.welcome, body.removed)
    return models.CommitAccepted(epoch=accepted.epoch, accepted_at=accepted.accepted_at)


@router.post(
    "/conversations/{conversation_id}/messages",
    status_code=201,
    responses=problems(
        "not_logged_in",
        "not_found",
        "not_joined",
        "epoch_out_of_range",
        "bad_mls_message",
        "message_id_reused",
        "mailbox_full",
        "attachment_missing",
    ),
)
async def submit_message(
    conversation_id: PathId, body: models.MessageRequest, sender: DeviceOf, services: ServicesOf
) -> models.MessageAccepted:
    """Submit an application message; repeats under the same id are harmless."""
    accepted_at = await services.delivery.submit_message(sender, conversation_id, body.message_id, body.message, body.attachments)
    return models.MessageAccepted(accepted_at=accepted_at)


@router.put(
    "/conversations/{conversation_id}/trees/{epoch}",
    status_code=204,
    response_class=Response,
    openapi_extra=_OCTETS,
    responses=problems("not_logged_in", "not_found", "not_joined", "epoch_out_of_range", "too_large"),
)
async def offer_tree(conversation_id: PathId, epoch: PathEpoch, request: Request, sender: DeviceOf, services: ServicesOf) -> None:
    """The ratchet tree that one's next commit leads to, for whoever its welcome admits, when it is too large to travel in it."""
    await services.delivery.offer_tree(sender, conversation_id, epoch, await request.body())


@router.get(
    "/conversations/{conversation_id}/trees/{epoch}",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, **problems("not_logged_in", "not_found")},
)
async def ratchet_tree(conversation_id: PathId, epoch: PathEpoch, sender: DeviceOf, services: ServicesOf) -> Response:
    """The ratchet tree of an epoch (RFC 9420 §12.4.3.3). Its hash stands in the signed GroupInfo, so nobody can pass off another."""
    async with services.store.read() as connection:
        found = await conversations.find(connection, conversation_id)
        tree = await trees.accepted(connection, conversation_id, epoch) if found and sender.account_id in found.members else None
    if tree is None:
        raise Problem("not_found")
    return Response(tree, media_type="application/octet-stream")


@router.get("/conversations/{conversation_id}/call", responses=problems("not_logged_in", "not_found"))
async def call_in_progress(conversation_id: PathId, sender: DeviceOf, services: ServicesOf) -> models.ConversationCall:
    """The call in which members of a conversation are now, for whoever wants to join it."""
    async with services.store.read() as connection:
        conversation = await conversations.find(connection, conversation_id)
        if conversation is None or sender.account_id not in conversation.members:
            raise Problem("not_found")
        call = await calls.of_conversation(connection, conversation_id)
    if call is None:
        return models.ConversationCall(call=None)
    participants = [models.CallDevice(account_id=each.account_id, device_id=each.device_id) for each in call.participants]
    return models.ConversationCall(call=models.OngoingCall(call_id=call.call_id, precedence=call.precedence, participants=participants))
