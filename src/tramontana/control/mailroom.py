"""Reads mailboxes and takes acknowledgements for the devices that are connected here.

Many at once: a message to a group wakes all its devices in the same moment, and all of them acknowledge it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tramontana.control.store import mailbox
from tramontana.control.store.database import Store
from tramontana.control.together import Together


class Mailroom:
    """The mailboxes of connected devices."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looks = Together(self._look)
        self._acknowledgements = Together(self._acknowledge)

    async def items_after(self, device_id: str, after: int, limit: int) -> mailbox.Found:
        """At most `limit` items after a sequence number. Raises `StoreUnavailable`."""
        found = await self._looks.ask(mailbox.Look(device_id, after, limit))
        if found is not None:
            return found
        async with self._store.read() as connection:
            items = await mailbox.items_after(connection, device_id, after, limit)
        return mailbox.Found(items, may_be_more=len(items) == limit)

    async def _look(self, looks: Sequence[mailbox.Look]) -> Sequence[mailbox.Found | None]:
        async with self._store.read() as connection:
            return await mailbox.items_of_many(connection, looks)

    async def acknowledge(self, device_id: str, seq: int, keys: Sequence[int] | None) -> None:
        """A device has everything up to `seq`. keys: its payloads, None where not all of them are known. Raises `StoreUnavailable`.

        Not durable: a client says again with `after` what it has processed.
        """
        if keys is not None:
            await self._acknowledgements.ask(mailbox.Acknowledgement(device_id, seq, keys))
            return
        kept = await self._store.beside(lambda connection: mailbox.acknowledge(connection, device_id, seq), durable=False)
        if kept and not self._store.has_one_writer:
            await self._store.beside(lambda connection: mailbox.forget_unreferenced(connection, kept), durable=False)

    async def _acknowledge(self, acknowledgements: Sequence[mailbox.Acknowledgement]) -> Sequence[None]:
        keys = {key for each in acknowledgements for key in each.keys}
        if self._store.has_one_writer:
            async with self._store.write() as connection:
                await mailbox.acknowledge_many(connection, acknowledgements)
                await mailbox.forget_unreferenced(connection, keys)
        else:
            await self._store.beside(lambda connection: mailbox.acknowledge_many(connection, acknowledgements), durable=False)
            await self._store.beside(lambda connection: mailbox.forget_unreferenced(connection, keys), durable=False)
        return [None] * len(acknowledgements)
