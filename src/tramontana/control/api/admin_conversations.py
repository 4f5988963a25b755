"""Administration of conversations: which of them archives keep, and who is in talk groups."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from tramontana.control.api import models
from tramontana.control.api.access import AdministratorOf, ServicesOf
from tramontana.control.problem import Problem, problems
from tramontana.control.shapes import Id
from tramontana.control.store import archives, audit, conversations

router = APIRouter(prefix="/api/v1/admin", tags=["administration"])
PathId = Annotated[Id, Path()]


@router.get("/archives", responses=problems("not_logged_in"))
async def list_archives(_session: AdministratorOf, services: ServicesOf) -> list[models.Archive]:
    """Accounts that custodians certified as archives, and the kinds of conversation that each keeps."""
    async with services.store.read() as connection:
        found = await archives.certified(connection)
    return [
        models.Archive(
            account_id=each.account_id,
            display_name=each.display_name,
            unit=each.unit,
            certified_until=each.certified_until,
            kinds=list(each.kinds),
        )
        for each in found
    ]


@router.put("/archives/{account_id}", status_code=204, response_class=Response, responses=problems("not_logged_in", "not_an_archive"))
async def set_archive(account_id: PathId, body: models.ArchiveKinds, _session: AdministratorOf, services: ServicesOf) -> None:
    """Say which kinds of new conversations an archive keeps. Those that have it keep it: what is archived stays so."""
    now = services.clock()
    async with services.store.write() as connection:
        if account_id not in {each.account_id for each in await archives.certified(connection)}:
            raise Problem("not_an_archive")
        await archives.keep(connection, account_id, set(body.kinds), now)
        details = {"kinds": sorted(set(body.kinds))}
        await audit.append(
            connection, now=now, actor=audit.ADMINISTRATOR, action="archive.changed", subject=f"account {account_id}", details=details
        )


@router.get("/talk-groups", responses=problems("not_logged_in"))
async def list_talk_groups(_session: AdministratorOf, services: ServicesOf) -> list[models.TalkGroup]:
    """Talk groups and their members, the newest first. What they are called, only their members know."""
    async with services.store.read() as connection:
        found = await conversations.talk_groups(connection)
    return [
        models.TalkGroup(
            conversation_id=group.conversation_id,
            created_at=group.created_at,
            founded=group.founded,
            members=[
                models.TalkMember(
                    account_id=member.account_id,
                    display_name=member.display_name,
                    owner=member.role == "owner",
                    archive=member.role == "archive",
                    floor=member.floor,  # type: ignore[arg-type]  # as the table has it
                )
                for member in group.members
            ],
        )
        for group in found
    ]


@router.post(
    "/talk-groups",
    status_code=204,
    response_class=Response,
    responses=problems("not_logged_in", "not_found", "conversation_exists", "too_many_members"),
)
async def create_talk_group(body: models.TalkGroupRequest, _session: AdministratorOf, services: ServicesOf) -> None:
    """Make a talk group. Its owner's phone founds it as soon as it is online, and lets the others in."""
    await services.membership.create_talk(body.conversation_id, body.owner, body.members)


@router.put(
    "/talk-groups/{conversation_id}/members/{account_id}",
    status_code=204,
    response_class=Response,
    responses=problems("not_logged_in", "not_found", "archive_fixed", "too_many_members", "owner_needed"),
)
async def set_talk_member(
    conversation_id: PathId, account_id: PathId, body: models.TalkMemberRights, _session: AdministratorOf, services: ServicesOf
) -> None:
    """Add a member to a talk group, or change what he may there."""
    await services.membership.set_talk_member(conversation_id, account_id, is_owner=body.owner, floor=body.floor)


@router.delete(
    "/talk-groups/{conversation_id}/members/{account_id}",
    status_code=204,
    response_class=Response,
    responses=problems("not_logged_in", "not_found", "archive_fixed"),
)
async def remove_talk_member(conversation_id: PathId, account_id: PathId, _session: AdministratorOf, services: ServicesOf) -> None:
    """Take a member out: he gets and hears nothing from now on; his devices go out by the commit of a member's phone."""
    await services.membership.remove_talk_member(conversation_id, account_id)
    await services.calls.put_out_of(conversation_id, account_id)
