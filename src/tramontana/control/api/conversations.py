"""Directory, key package claims, conversations, commits, messages."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Path

from tramontana.control.api import models
from tramontana.control.api.access import AuditedDeviceOf, DeviceOf, ServicesOf, limit
from tramontana.control.problem import Problem, problems
from tramontana.control.shapes import Id
from tramontana.control.store import accounts, conversations, key_packages

router = APIRouter(prefix="/api/v1", tags=["conversations"])
PathId = Annotated[Id, Path()]


@router.get("/accounts", responses=problems("not_logged_in"))
async def directory(_sender: DeviceOf, services: ServicesOf) -> list[models.DirectoryAccount]:
    """Every account that can be reached, with its devices and their signature keys: a device is listed from its first key packages on."""
    async with services.store.read() as connection:
        devices = await accounts.all_devices(connection, reachable_only=True)
    answer = []
    for account_id, group in groupby(devices, key=lambda device: device.account_id):
        of_account = list(group)
        answer.append(
            models.DirectoryAccount(
                account_id=account_id,
                display_name=of_account[0].display_name,
                online=services.hub.is_account_online(account_id),
                devices=[models.DirectoryDevice(device_id=d.device_id, signature_public_key=d.signature_public_key) for d in of_account],
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
        claimed = await key_packages.claim(connection, account_id, services.clock())
    return [models.ClaimedKeyPackage(device_id=device_id, key_package=package) for device_id, package in claimed]


def _shape(conversation: conversations.Conversation) -> models.Conversation:
    return models.Conversation(
        conversation_id=conversation.conversation_id,
        kind="direct",
        members=list(conversation.members),
        epoch=conversation.epoch,
        creator_device_id=conversation.creator_device_id,
    )


@router.post("/conversations", responses=problems("not_logged_in", "not_found"))
async def open_conversation(body: models.ConversationRequest, sender: DeviceOf, services: ServicesOf) -> models.Conversation:
    """The one direct conversation with a peer, made on first use."""
    peer = body.members[0]
    async with services.store.write() as connection:
        if peer == sender.account_id or not await accounts.exists(connection, peer):
            raise Problem("not_found")
        return _shape(await conversations.direct(connection, sender.account_id, peer, services.clock()))


@router.get("/conversations", responses=problems("not_logged_in"))
async def own_conversations(sender: DeviceOf, services: ServicesOf) -> list[models.Conversation]:
    """The conversations of one's own account."""
    async with services.store.read() as connection:
        return [_shape(found) for found in await conversations.of_account(connection, sender.account_id)]


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
        "mailbox_full",
    ),
)
async def submit_commit(
    conversation_id: PathId, body: models.CommitRequest, sender: AuditedDeviceOf, services: ServicesOf
) -> models.CommitAccepted:
    """Submit a commit; at most one is accepted per epoch. A repeat of the accepted one gets the same answer."""
    accepted = await services.delivery.submit_commit(sender, conversation_id, body.epoch, body.commit, body.welcome)
    return models.CommitAccepted(epoch=accepted.epoch, accepted_at=accepted.accepted_at)


@router.post(
    "/conversations/{conversation_id}/messages",
    status_code=201,
    responses=problems(
        "not_logged_in", "not_found", "not_joined", "epoch_out_of_range", "bad_mls_message", "message_id_reused", "mailbox_full"
    ),
)
async def submit_message(
    conversation_id: PathId, body: models.MessageRequest, sender: DeviceOf, services: ServicesOf
) -> models.MessageAccepted:
    """Submit an application message; repeats under the same id are harmless."""
    accepted_at = await services.delivery.submit_message(sender, conversation_id, body.message_id, body.message)
    return models.MessageAccepted(accepted_at=accepted_at)
