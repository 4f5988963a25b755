"""Who is in a conversation: the list of accounts that the server keeps, and who may change it.

The list says whom content is delivered to and whose key packages a Welcome may name. Who can read is another matter and decided by the
MLS group alone: phones bring the group in line with the list by commits, and show every change to the people in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.delivery import Sender
from tramontana.control.hub import Hub
from tramontana.control.problem import Problem
from tramontana.control.store import accounts, archives, audit, conversations
from tramontana.control.store.conversations import MOST_MEMBERS, Conversation, Kind
from tramontana.control.store.database import Store


class Membership:
    """Makes conversations, adds and removes members. In a group every member may; in a talk group its owners."""

    def __init__(self, store: Store, hub: Hub, clock: Callable[[], float]) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock

    async def direct(self, sender: Sender, peer_id: str) -> Conversation:
        """The one conversation of a pair. Raises `Problem`."""
        async with self._store.write() as connection:
            if peer_id == sender.account_id or not await accounts.exists(connection, peer_id):
                raise Problem("not_found")
            found = await conversations.direct(connection, sender.account_id, peer_id, self._clock())
            if found.epoch is not None:
                return found
            return await self._with_archives(connection, audit.device_actor(sender.device_id), found, found.members, founding=True)

    async def create(self, sender: Sender, conversation_id: str, kind: Kind, members: Collection[str]) -> Conversation:
        """A new group or talk group; the same request again gets the same one. Raises `Problem`."""
        now = self._clock()
        wanted = {sender.account_id, *members}
        async with self._store.write() as connection:
            known = await conversations.find(connection, conversation_id)
            if known is not None:
                if known.kind != kind or sender.account_id not in known.owners:
                    raise Problem("conversation_exists")
                return known
            self._check_size(kind, len(wanted))
            await self._check_exist(connection, wanted)
            made = await conversations.create(connection, conversation_id, kind, sender.account_id, wanted, now)
            details = {"kind": kind, "members": sorted(wanted)}
            actor = audit.device_actor(sender.device_id)
            await self._audit(connection, actor, "conversation.created", made, details, now)
            made = await self._with_archives(connection, actor, made, wanted, founding=True)
        self._hub.conversation_changed(made.members, conversation_id)
        return made

    async def add(self, sender: Sender, conversation_id: str, account_ids: Collection[str]) -> Conversation:
        """Put accounts on the list. Raises `Problem`."""
        async with self._store.write() as connection:
            found = await self._changeable(connection, sender, conversation_id)
            changed = await self._add(connection, audit.device_actor(sender.device_id), found, account_ids)
        self._hub.conversation_changed(changed.members, conversation_id)
        return changed

    async def remove(self, sender: Sender, conversation_id: str, account_id: str) -> None:
        """Take an account off the list; one's own: leave. Raises `Problem`."""
        async with self._store.write() as connection:
            found = await self._changeable(connection, sender, conversation_id, leaving=account_id == sender.account_id)
            if account_id in found.archives:
                raise Problem("archive_fixed")
            await self._remove(connection, audit.device_actor(sender.device_id), found, account_id)
        self._hub.conversation_changed(found.members, conversation_id)

    # --- by an administrator ---

    async def create_talk(self, conversation_id: str, owner_id: str, members: Collection[str]) -> None:
        """A new talk group, which the owner's phone founds; the same request again makes nothing. Raises `Problem`."""
        now, wanted = self._clock(), {owner_id, *members}
        async with self._store.write() as connection:
            known = await conversations.find(connection, conversation_id)
            if known is not None:
                if known.kind != "talk" or owner_id not in known.owners:
                    raise Problem("conversation_exists")
                return
            self._check_size("talk", len(wanted))
            await self._check_exist(connection, wanted)
            made = await conversations.create(connection, conversation_id, "talk", owner_id, wanted, now)
            details = {"kind": "talk", "members": sorted(wanted), "owner": owner_id}
            await self._audit(connection, audit.ADMINISTRATOR, "conversation.created", made, details, now)
            made = await self._with_archives(connection, audit.ADMINISTRATOR, made, wanted, founding=True)
        self._hub.conversation_changed(made.members, conversation_id)

    async def set_talk_member(self, conversation_id: str, account_id: str, *, is_owner: bool, floor: str | None) -> None:
        """Add a member, or change what he may. Raises `Problem`."""
        async with self._store.write() as connection:
            found = await self._talk_group(connection, conversation_id, account_id)
            if found.owners == (account_id,) and not is_owner:
                raise Problem("owner_needed")
            changed = await self._add(connection, audit.ADMINISTRATOR, found, {account_id})
            await conversations.set_rights(connection, conversation_id, account_id, "owner" if is_owner else "member", floor)
            details = {"member": account_id, "owner": is_owner, "floor": floor}
            await self._audit(connection, audit.ADMINISTRATOR, "conversation.member_changed", found, details, self._clock())
        self._hub.conversation_changed(changed.members, conversation_id)

    async def remove_talk_member(self, conversation_id: str, account_id: str) -> None:
        """Take a member off the list. Raises `Problem`."""
        async with self._store.write() as connection:
            found = await self._talk_group(connection, conversation_id, account_id)
            await self._remove(connection, audit.ADMINISTRATOR, found, account_id)
        self._hub.conversation_changed(found.members, conversation_id)

    async def _talk_group(self, connection: AsyncConnection, conversation_id: str, account_id: str) -> Conversation:
        found = await conversations.find(connection, conversation_id)
        if found is None or found.kind != "talk":
            raise Problem("not_found")
        if account_id in found.archives:
            raise Problem("archive_fixed")
        return found

    async def _changeable(
        self, connection: AsyncConnection, sender: Sender, conversation_id: str, *, leaving: bool = False
    ) -> Conversation:
        found = await conversations.find(connection, conversation_id)
        if found is None or sender.account_id not in found.members:
            raise Problem("not_found")
        if found.kind == "direct":
            raise Problem("members_fixed")
        if sender.account_id in found.archives:
            raise Problem("archive_fixed")
        if found.kind == "talk" and sender.account_id not in found.owners and not leaving:
            raise Problem("not_yours")
        return found

    async def _add(self, connection: AsyncConnection, actor: str, found: Conversation, account_ids: Collection[str]) -> Conversation:
        now = self._clock()
        new = set(account_ids) - set(found.members)
        if not new:
            return found
        self._check_size(found.kind, len(found.members) - len(found.archives) + len(new))
        await self._check_exist(connection, new)
        await conversations.add_members(connection, found.conversation_id, new, "member", now)
        await self._audit(connection, actor, "conversation.members_added", found, {"members": sorted(new)}, now)
        changed = await conversations.find(connection, found.conversation_id)
        assert changed is not None
        return await self._with_archives(connection, actor, changed, new, founding=False)

    async def _with_archives(
        self, connection: AsyncConnection, actor: str, found: Conversation, new: Collection[str], *, founding: bool
    ) -> Conversation:
        """The conversation with the archives that its new members bring with them."""
        missing = await archives.of_new(connection, found.kind, new, founding=founding) - set(found.members)
        if not missing:
            return found
        now = self._clock()
        await conversations.add_members(connection, found.conversation_id, missing, "archive", now)
        await self._audit(connection, actor, "conversation.archived", found, {"archives": sorted(missing)}, now)
        changed = await conversations.find(connection, found.conversation_id)
        assert changed is not None
        return changed

    async def _remove(self, connection: AsyncConnection, actor: str, found: Conversation, account_id: str) -> None:
        if account_id not in found.members:
            return
        await conversations.remove_member(connection, found.conversation_id, account_id)
        await self._audit(connection, actor, "conversation.member_removed", found, {"member": account_id}, self._clock())

    def _check_size(self, kind: Kind, members: int) -> None:
        if members > MOST_MEMBERS[kind]:
            raise Problem("too_many_members")

    async def _check_exist(self, connection: AsyncConnection, account_ids: Collection[str]) -> None:
        if await accounts.count_existing(connection, account_ids) != len(account_ids):
            raise Problem("not_found")

    async def _audit(
        self,
        connection: AsyncConnection,
        actor: str,
        action: str,
        found: Conversation,
        details: Mapping[str, object],
        now: float,
    ) -> None:
        subject = f"conversation {found.conversation_id}"
        await audit.append(connection, now=now, actor=actor, action=action, subject=subject, details=details)
