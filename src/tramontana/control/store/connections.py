"""Which device is connected to which server process: the truth behind presence when there are several."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import connections, devices, server_processes, sessions


@dataclass(frozen=True, slots=True)
class Connected:
    """A device's last connection. `process_id` is None while it is away."""

    device_id: str
    process_id: str | None
    serial: int


async def beat(connection: AsyncConnection, process_id: str, now: float) -> bool:
    """Say that a process lives. False where it was unknown: it is new, or was taken for dead."""
    alive = update(server_processes).where(server_processes.c.process_id == process_id).values(beat=server_processes.c.beat + 1)
    if (await connection.execute(alive)).rowcount == 1:
        return True
    await connection.execute(insert(server_processes).values(process_id=process_id, started_at=now, beat=1))
    return False


async def beats(connection: AsyncConnection) -> Mapping[str, int]:
    """The heartbeat of each process."""
    rows = await connection.execute(select(server_processes.c.process_id, server_processes.c.beat))
    return {row.process_id: row.beat for row in rows}


async def forget_process(connection: AsyncConnection, process_id: str) -> None:
    """A process has ended: nobody is connected to it any more."""
    await connection.execute(update(connections).where(connections.c.process_id == process_id).values(process_id=None))
    await connection.execute(delete(server_processes).where(server_processes.c.process_id == process_id))


async def claim(connection: AsyncConnection, device_id: str, process_id: str) -> int:
    """A device connects to a process. Returns the serial of this connection."""
    mine = connections.c.device_id == device_id
    bumped = update(connections).where(mine).values(process_id=process_id, serial=connections.c.serial + 1)
    serial: int | None = (await connection.execute(bumped.returning(connections.c.serial))).scalar_one_or_none()
    if serial is None:
        serial = 1
        await connection.execute(insert(connections).values(device_id=device_id, process_id=process_id, serial=serial))
    return serial


async def hold(connection: AsyncConnection, held: Mapping[str, int], process_id: str) -> None:
    """Connections {device_id: serial} of a process that was taken for dead, but lives: those that nobody took over are its own again."""
    for device_id, serial in sorted(held.items()):
        same = (connections.c.device_id == device_id, connections.c.serial == serial)
        await connection.execute(update(connections).where(*same).values(process_id=process_id))


async def release(connection: AsyncConnection, released: Mapping[str, int]) -> None:
    """Connections {device_id: serial} have ended; one that was taken over since is left alone."""
    for device_id, serial in sorted(released.items()):
        same = (connections.c.device_id == device_id, connections.c.serial == serial)
        await connection.execute(update(connections).where(*same).values(process_id=None))


async def of_devices(connection: AsyncConnection, device_ids: Collection[str]) -> Sequence[Connected]:
    query = select(connections.c.device_id, connections.c.process_id, connections.c.serial)
    found: list[Connected] = []
    listed = sorted(device_ids)
    for start in range(0, len(listed), 500):  # databases bound the number of parameters
        rows = await connection.execute(query.where(connections.c.device_id.in_(listed[start : start + 500])))
        found += [Connected(**row) for row in rows.mappings()]
    return found


async def of_processes(connection: AsyncConnection, process_ids: Collection[str]) -> Sequence[tuple[Connected, str]]:
    """Everybody who is connected to these processes, each with the account."""
    query = select(connections, devices.c.account_id).join_from(connections, devices).where(connections.c.process_id.in_(process_ids))
    rows = await connection.execute(query)
    return [(Connected(row.device_id, row.process_id, row.serial), row.account_id) for row in rows]


async def with_mail(connection: AsyncConnection, process_id: str) -> Sequence[str]:
    """Devices connected to a process that have not acknowledged everything."""
    query = select(connections.c.device_id).join_from(connections, devices)
    waiting = devices.c.mailbox_seq > devices.c.acked_seq
    return (await connection.execute(query.where(connections.c.process_id == process_id, waiting))).scalars().all()


async def without_session(connection: AsyncConnection, process_id: str, now: float) -> Sequence[str]:
    """Devices connected to a process that have no live session."""
    live = exists(select(sessions.c.token_sha256).where(sessions.c.device_id == connections.c.device_id, sessions.c.expires_at > now))
    query = select(connections.c.device_id).where(connections.c.process_id == process_id, ~live)
    return (await connection.execute(query)).scalars().all()
