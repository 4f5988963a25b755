"""Sealed attachments in chunks: what is announced, what has arrived, who may have it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import attachment_chunks, attachments


@dataclass(frozen=True, slots=True)
class Attachment:
    """octets: of all sealed chunks together. epoch: of the message that tells of it, None until that was accepted."""

    attachment_id: str
    conversation_id: str
    account_id: str
    octets: int
    chunks: int
    epoch: int | None
    expires_at: float


async def find(connection: AsyncConnection, attachment_id: str) -> Attachment | None:
    columns = [attachments.c[name] for name in Attachment.__slots__]
    row = (await connection.execute(select(*columns).where(attachments.c.attachment_id == attachment_id))).mappings().first()
    return Attachment(**row) if row else None


async def announce(connection: AsyncConnection, attachment: Attachment, now: float) -> None:
    row = {name: getattr(attachment, name) for name in Attachment.__slots__}
    await connection.execute(insert(attachments).values(created_at=now, **row))


async def octets_of_account(connection: AsyncConnection, account_id: str) -> int:
    """What an account has announced and the server still keeps."""
    query = select(func.coalesce(func.sum(attachments.c.octets), 0)).where(attachments.c.account_id == account_id)
    return int((await connection.execute(query)).scalar_one())


async def stored(connection: AsyncConnection, attachment_id: str) -> Sequence[int]:
    """The numbers of the chunks that are here, ascending."""
    query = select(attachment_chunks.c.number).where(attachment_chunks.c.attachment_id == attachment_id)
    return (await connection.execute(query.order_by(attachment_chunks.c.number))).scalars().all()


async def chunk(connection: AsyncConnection, attachment_id: str, number: int) -> bytes | None:
    this = (attachment_chunks.c.attachment_id == attachment_id, attachment_chunks.c.number == number)
    return (await connection.execute(select(attachment_chunks.c.ciphertext).where(*this))).scalar_one_or_none()


async def keep_chunk(connection: AsyncConnection, attachment_id: str, number: int, ciphertext: bytes) -> None:
    """The primary key refuses a second one."""
    await connection.execute(insert(attachment_chunks).values(attachment_id=attachment_id, number=number, ciphertext=ciphertext))


async def may_tell(connection: AsyncConnection, attachment_ids: Collection[str], account_id: str, conversation_id: str) -> bool:
    """Whether all of these are the account's, of this conversation, and complete: then a message may tell of them."""
    for attachment_id in attachment_ids:
        found = await find(connection, attachment_id)
        if found is None or (found.account_id, found.conversation_id) != (account_id, conversation_id):
            return False
        if len(await stored(connection, attachment_id)) != found.chunks:
            return False
    return True


async def release(connection: AsyncConnection, told: Mapping[str, int]) -> None:
    """Messages tell of these attachments; to each the epoch of the message."""
    for attachment_id, epoch in sorted(told.items()):  # locked in one order
        await connection.execute(update(attachments).where(attachments.c.attachment_id == attachment_id).values(epoch=epoch))


async def forget(connection: AsyncConnection, attachment_id: str) -> None:
    await connection.execute(delete(attachment_chunks).where(attachment_chunks.c.attachment_id == attachment_id))
    await connection.execute(delete(attachments).where(attachments.c.attachment_id == attachment_id))


async def forget_expired(connection: AsyncConnection, now: float) -> None:
    old = select(attachments.c.attachment_id).where(attachments.c.expires_at <= now)
    await connection.execute(delete(attachment_chunks).where(attachment_chunks.c.attachment_id.in_(old)))
    await connection.execute(delete(attachments).where(attachments.c.expires_at <= now))


async def keep_for(connection: AsyncConnection, kept_s: float) -> None:
    """The organisation keeps them so long from their announcement on, those that are here already too."""
    await connection.execute(update(attachments).values(expires_at=attachments.c.created_at + kept_s))
