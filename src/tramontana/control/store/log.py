"""The transparency log: entries, the hashes of complete subtrees, a signed head for every size. Append-only, also for the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import log_entries, log_heads, log_nodes
from tramontana.keys import merkle
from tramontana.keys.log import LogKey, TreeHead
from tramontana.keys.merkle import Node

NODES_AT_ONCE = 200
"""SQLite bounds the number of parameters."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry; `added_at` is ours, not part of the tree."""

    log_index: int
    entry: bytes
    added_at: float


async def size(connection: AsyncConnection) -> int:
    newest = (await connection.execute(select(func.max(log_entries.c.log_index)))).scalar_one_or_none()
    return 0 if newest is None else int(newest) + 1


async def append(connection: AsyncConnection, entry: bytes, key: LogKey, now: float) -> int:
    """Add an entry and sign the new head. Returns its index.

    Call it after `audit.append` in the same transaction: that row's lock puts writers of all processes in order.
    """
    log_index = await size(connection)
    known = await nodes(connection, merkle.left_of(log_index))
    made = merkle.grown(log_index, merkle.leaf_hash(entry), known.__getitem__)
    await connection.execute(insert(log_entries).values(log_index=log_index, entry=entry, added_at=now))
    await connection.execute(insert(log_nodes), [{"level": node.level, "place": node.place, "hash": value} for node, value in made])
    head = key.sign_head(log_index + 1, await root(connection, log_index + 1), now=now)
    row = {"tree_size": head.tree_size, "root_hash": head.root_hash, "at": head.at, "signature": head.signature}
    await connection.execute(insert(log_heads).values(row))
    return log_index


async def nodes(connection: AsyncConnection, wanted: Iterable[Node]) -> Mapping[Node, bytes]:
    """Hashes of complete subtrees."""
    listed, found = list(wanted), {}
    for start in range(0, len(listed), NODES_AT_ONCE):
        batch = listed[start : start + NODES_AT_ONCE]
        query = select(log_nodes).where(tuple_(log_nodes.c.level, log_nodes.c.place).in_(batch))
        for row in await connection.execute(query):
            found[Node(row.level, row.place)] = row.hash
    return found


async def root(connection: AsyncConnection, tree_size: int) -> bytes:
    """The root of the first `tree_size` entries."""
    wanted = merkle.subtrees(0, tree_size)
    known = await nodes(connection, wanted)
    return merkle.fold([known[node] for node in wanted])


async def head(connection: AsyncConnection, key: LogKey, now: float) -> TreeHead:
    """The head of the log as it stands, signed now: a reader sees that nothing newer is kept from him."""
    tree_size = await size(connection)
    return key.sign_head(tree_size, await root(connection, tree_size), now=now)


async def inclusion(connection: AsyncConnection, log_index: int, tree_size: int) -> list[bytes]:
    """RFC 9162 §2.1.3. Raises `ValueError`."""
    ranges = merkle.inclusion_ranges(log_index, tree_size)
    return merkle.prove(ranges, await nodes(connection, merkle.nodes_of(ranges)))


async def consistency(connection: AsyncConnection, first: int, second: int) -> list[bytes]:
    """RFC 9162 §2.1.4. Raises `ValueError`."""
    ranges = merkle.consistency_ranges(first, second)
    return merkle.prove(ranges, await nodes(connection, merkle.nodes_of(ranges)))


async def entries(connection: AsyncConnection, start: int, count: int) -> Sequence[LogEntry]:
    """At most `count` entries from an index on, in order."""
    query = select(log_entries).where(log_entries.c.log_index >= start).order_by(log_entries.c.log_index).limit(count)
    return [LogEntry(**row) for row in (await connection.execute(query)).mappings()]


async def entry(connection: AsyncConnection, log_index: int) -> bytes:
    value: bytes = (await connection.execute(select(log_entries.c.entry).where(log_entries.c.log_index == log_index))).scalar_one()
    return value
