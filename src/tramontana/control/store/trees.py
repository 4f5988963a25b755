"""Ratchet trees apart from their Welcomes (RFC 9420 §12.4.3.3): a large group's tree is stored once and fetched by whoever joins."""

from __future__ import annotations

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.key_packages import CLAIM_KEPT_S
from tramontana.control.store.schema import commits, ratchet_trees

MAX_TREE_BYTES = 4 << 20
"""A full tree of 1,000 devices: 1,000 leaves of about 2.6 kB and at most 1,000 parents of 1.3 kB."""


async def offer(connection: AsyncConnection, conversation_id: str, epoch: int, device_id: str, tree: bytes, now: float) -> None:
    """Keep the tree that a device's commit will lead to; a new offer replaces the older one."""
    mine = (ratchet_trees.c.conversation_id == conversation_id, ratchet_trees.c.epoch == epoch, ratchet_trees.c.device_id == device_id)
    await connection.execute(delete(ratchet_trees).where(*mine))
    row = {"conversation_id": conversation_id, "epoch": epoch, "device_id": device_id, "tree": tree, "created_at": now}
    await connection.execute(insert(ratchet_trees).values(row))


async def keep_only(connection: AsyncConnection, conversation_id: str, epoch: int, device_id: str) -> None:
    """The commit that leads to `epoch` is accepted: what its rivals offered is of no use."""
    rivals = (ratchet_trees.c.conversation_id == conversation_id, ratchet_trees.c.epoch == epoch, ratchet_trees.c.device_id != device_id)
    await connection.execute(delete(ratchet_trees).where(*rivals))


async def accepted(connection: AsyncConnection, conversation_id: str, epoch: int) -> bytes | None:
    """The tree of an epoch, from the device whose commit led to it."""
    query = (
        select(ratchet_trees.c.tree)
        .join(
            commits,
            (commits.c.conversation_id == ratchet_trees.c.conversation_id)
            & (commits.c.epoch == ratchet_trees.c.epoch - 1)
            & (commits.c.device_id == ratchet_trees.c.device_id),
        )
        .where(ratchet_trees.c.conversation_id == conversation_id, ratchet_trees.c.epoch == epoch)
    )
    return (await connection.execute(query)).scalar_one_or_none()


async def forget_old(connection: AsyncConnection, now: float) -> None:
    """As long as a Welcome to a claimed package can still be delivered."""
    await connection.execute(delete(ratchet_trees).where(ratchet_trees.c.created_at < now - CLAIM_KEPT_S))
