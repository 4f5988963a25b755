"""Texts over message centres: what goes out, message by message, with its state (cell/forwarding.py), and what came in.

Every step is one transaction. A message is `sending` here before it is on the wire, and what came in is here before it is answered.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import Row, and_, bindparam, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.cell.forwarding import FINAL, TRANSITIONS, Happening, State
from tramontana.cell.short_message import DefaultAlphabet, Part, join, read
from tramontana.cell.smpp.pdu import Message, Pdu, parse_pdu
from tramontana.control.store.accounts import new_id
from tramontana.control.store.schema import incoming_messages, incoming_texts, outgoing_messages, outgoing_texts

REPEATED_WITHIN_S = 900.0
"""A peer that lost our answer sends the same octets again over its next session; later the same octets are a new message."""
PARTS_AWAITED_S = 90.0
"""After this long without a further part a text is joined from what there is: somebody may hang on it."""
MAX_LISTED = 100
MAX_FILLED = 5000
"""Messages that are read at once for the queues: after a long outage millions may wait."""

Show = Literal["all", "waiting", "unknown", "under-way", "delivered", "failed"]
_SHOWN: Mapping[Show, tuple[State, ...]] = {
    "waiting": ("queued", "sending"),
    "unknown": ("unknown",),
    "under-way": ("accepted",),
    "delivered": ("delivered",),
    "failed": ("undelivered", "refused", "expired", "withdrawn"),
}


def sealed_origin(device_id: str) -> str:
    """Of sealed texts of a device."""
    return f"sealed {device_id}"


@dataclass(frozen=True, slots=True)
class NewText:
    """A text to send."""

    origin: str
    link: str
    source: str
    destination: str
    body: str
    rank: int
    expires_at: float
    beam: str = ""
    if_unknown: str = "hold"
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class IncomingText:
    """A text that came in, joined from its parts."""

    text_id: str
    link: str
    source: str
    destination: str
    body: str
    complete: bool
    received_at: float
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits for its turn."""

    message_key: str
    text_id: str
    part: int
    link: str
    destination: str
    rank: int
    beam: str
    created_at: float
    not_before: float

    @property
    def place(self) -> tuple[float, str, int]:
        """Where it stands among all that wait."""
        return self.created_at, self.text_id, self.part


@dataclass(frozen=True, slots=True)
class Changed:
    """A message that changed its state, and its text."""

    message_key: str
    text_id: str
    state: State
    if_unknown: str


async def put(connection: AsyncConnection, text: NewText, messages: Iterable[Message], reference: int, now: float) -> tuple[str, bool]:
    """Keep a text and its messages, to be sent. Returns its id, and False where the same request was kept before."""
    if text.request_id is not None:
        same = (outgoing_texts.c.origin == text.origin, outgoing_texts.c.request_id == text.request_id)
        known = (await connection.execute(select(outgoing_texts.c.text_id).where(*same))).scalar()
        if known is not None:
            return cast(str, known), False
    text_id = new_id()
    row = {
        "text_id": text_id,
        "origin": text.origin,
        "link": text.link,
        "source": text.source,
        "destination": text.destination,
        "body": text.body,
        "rank": text.rank,
        "beam": text.beam,
        "created_at": now,
        "expires_at": text.expires_at,
        "if_unknown": text.if_unknown,
        "request_id": text.request_id,
    }
    await connection.execute(insert(outgoing_texts).values(row))
    rows = [
        {
            "message_key": new_id(),
            "text_id": text_id,
            "part": part,
            "link": text.link,
            "pdu": Pdu(message, 0).encode(),
            "reference": reference,
            "state": "queued",
            "state_at": now,
            "attempts": 0,
            "not_before": 0.0,
        }
        for part, message in enumerate(messages, 1)
    ]
    await connection.execute(insert(outgoing_messages), rows)
    return text_id, True


async def waiting(
    connection: AsyncConnection, links: Sequence[str], after: tuple[float, str, int] | None = None, most: int = MAX_FILLED
) -> list[Waiting]:
    """Messages that wait for these links, in the order of their texts and parts; `after`: the place of the last one that was read."""
    order = (outgoing_texts.c.created_at, outgoing_messages.c.text_id, outgoing_messages.c.part)
    query = (
        select(
            outgoing_messages.c.message_key,
            outgoing_messages.c.text_id,
            outgoing_messages.c.part,
            outgoing_messages.c.link,
            outgoing_texts.c.destination,
            outgoing_texts.c.rank,
            outgoing_texts.c.beam,
            outgoing_texts.c.created_at,
            outgoing_messages.c.not_before,
        )
        .join_from(outgoing_messages, outgoing_texts)
        .where(outgoing_messages.c.link.in_(links), outgoing_messages.c.state == "queued")
        .order_by(*order)
        .limit(most)
    )
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*after))
    return [Waiting(**row) for row in (await connection.execute(query)).mappings()]


async def forget_settled(connection: AsyncConnection, before: float, most: int) -> int:
    """Delete texts of before an instant of which nothing is to be done any more, sent or received; how many, `most` of each at most."""
    pending = select(outgoing_messages.c.text_id).where(outgoing_messages.c.state.in_(("queued", "sending", "unknown")))
    old = select(outgoing_texts.c.text_id).where(outgoing_texts.c.created_at < before, outgoing_texts.c.text_id.not_in(pending))
    sent = list((await connection.execute(old.order_by(outgoing_texts.c.created_at).limit(most))).scalars())
    if sent:
        await connection.execute(delete(outgoing_messages).where(outgoing_messages.c.text_id.in_(sent)))
        await connection.execute(delete(outgoing_texts).where(outgoing_texts.c.text_id.in_(sent)))
    over = select(incoming_texts.c.text_id).where(incoming_texts.c.received_at < before, incoming_texts.c.handled_at.is_not(None))
    came = list((await connection.execute(over.order_by(incoming_texts.c.received_at).limit(most))).scalars())
    if came:
        await connection.execute(delete(incoming_messages).where(incoming_messages.c.text_id.in_(came)))
        await connection.execute(delete(incoming_texts).where(incoming_texts.c.text_id.in_(came)))
    return len(sent) + len(came)


async def take(connection: AsyncConnection, keys: Sequence[str], now: float) -> dict[str, Message]:
    """Mark messages as being sent, and give what is to be put on the wire. Those that no longer wait, or have expired, are left out."""
    alive = select(outgoing_texts.c.text_id).where(outgoing_texts.c.expires_at > now)
    chosen = and_(outgoing_messages.c.message_key.in_(keys), outgoing_messages.c.state == "queued", outgoing_messages.c.text_id.in_(alive))
    changed = await connection.execute(
        update(outgoing_messages)
        .where(chosen)
        .values(state=TRANSITIONS["queued", "taken"], state_at=now, attempts=outgoing_messages.c.attempts + 1)
        .returning(outgoing_messages.c.message_key, outgoing_messages.c.pdu)
    )
    return {row.message_key: _message(row.pdu) for row in changed.all()}


def _message(pdu: bytes) -> Message:
    body = parse_pdu(pdu).body
    assert isinstance(body, Message)
    return body


async def apply(
    connection: AsyncConnection,
    happening: Happening,
    now: float,
    *,
    keys: Sequence[str] | None = None,
    link: str | None = None,
    **values: Any,
) -> list[Changed]:
    """Let something happen to messages, by key or all of a link; those to which it cannot happen stay as they are."""
    changed: list[Changed] = []
    for (state, what), then in TRANSITIONS.items():
        if what != happening:
            continue
        # Rows that an earlier turn has just moved must not move again.
        done = [each.message_key for each in changed]
        where = [outgoing_messages.c.state == state]
        if keys is not None:
            left = [key for key in keys if key not in done]
            if not left:
                break
            where.append(outgoing_messages.c.message_key.in_(left))
        if link is not None:
            where.append(outgoing_messages.c.link == link)
        found = await connection.execute(
            update(outgoing_messages)
            .where(*where)
            .values(state=then, state_at=now, **values)
            .returning(outgoing_messages.c.message_key, outgoing_messages.c.text_id)
        )
        rows = found.all()
        if rows:
            ids = {row.text_id for row in rows}
            texts = await connection.execute(
                select(outgoing_texts.c.text_id, outgoing_texts.c.if_unknown).where(outgoing_texts.c.text_id.in_(ids))
            )
            policy = {row.text_id: row.if_unknown for row in texts.all()}
            changed += [Changed(row.message_key, row.text_id, then, policy[row.text_id]) for row in rows]
    return changed


async def expire(connection: AsyncConnection, now: float) -> list[Changed]:
    """Give up what waited too long."""
    late = select(outgoing_texts.c.text_id).where(outgoing_texts.c.expires_at <= now)
    query = select(outgoing_messages.c.message_key).where(outgoing_messages.c.state == "queued", outgoing_messages.c.text_id.in_(late))
    keys = list((await connection.execute(query)).scalars())
    return await apply(connection, "expired", now, keys=keys) if keys else []


async def of_receipt(connection: AsyncConnection, link: str, operator_id: str, reference: int | None) -> str | None:
    """The message that a receipt is about: by the centre's id, else by our reference where that names exactly one whose id is unknown."""
    mine = outgoing_messages.c.link == link
    if operator_id:
        query = select(outgoing_messages.c.message_key).where(mine, outgoing_messages.c.operator_id == operator_id)
        found = list((await connection.execute(query.order_by(outgoing_messages.c.state_at.desc()).limit(1))).scalars())
        if found:
            return cast(str, found[0])
    if reference is None:
        return None
    query = select(outgoing_messages.c.message_key).where(
        mine, outgoing_messages.c.reference == reference, outgoing_messages.c.state.in_(("sending", "unknown"))
    )
    found = list((await connection.execute(query.limit(2))).scalars())
    return cast(str, found[0]) if len(found) == 1 else None


async def attempts(connection: AsyncConnection, key: str) -> int:
    query = select(outgoing_messages.c.attempts).where(outgoing_messages.c.message_key == key)
    return int((await connection.execute(query)).scalar() or 0)


async def parts_of(connection: AsyncConnection, text_id: str) -> list[State]:
    """The states of a text's messages."""
    query = select(outgoing_messages.c.state).where(outgoing_messages.c.text_id == text_id).order_by(outgoing_messages.c.part)
    return [cast(State, state) for state in (await connection.execute(query)).scalars()]


async def keys_of(connection: AsyncConnection, text_id: str, states: Sequence[State]) -> list[str]:
    """The messages of a text that are in one of these states."""
    mine = (outgoing_messages.c.text_id == text_id, outgoing_messages.c.state.in_(states))
    return list((await connection.execute(select(outgoing_messages.c.message_key).where(*mine))).scalars())


async def find(connection: AsyncConnection, text_id: str) -> Row[Any] | None:
    return (await connection.execute(select(outgoing_texts).where(outgoing_texts.c.text_id == text_id))).first()


async def listed(
    connection: AsyncConnection, *, show: Show = "all", search: str = "", after: tuple[float, str] | None = None, most: int = MAX_LISTED
) -> tuple[list[tuple[Row[Any], list[Row[Any]]]], tuple[float, str] | None]:
    """Texts and their messages (message_key, state, state_at, error), newest first.

    search: in the numbers and the words. after: where the page before ended. Returns a page and where it ends, None at the end.
    """
    query = select(outgoing_texts).order_by(outgoing_texts.c.created_at.desc(), outgoing_texts.c.text_id).limit(most + 1)
    if show != "all":
        of_messages = select(outgoing_messages.c.text_id).where(outgoing_messages.c.state.in_(_SHOWN[show]))
        query = query.where(outgoing_texts.c.text_id.in_(of_messages))
    if search:
        places = (outgoing_texts.c.destination, outgoing_texts.c.source, outgoing_texts.c.body)
        query = query.where(or_(*(place.icontains(search, autoescape=True) for place in places)))
    if after is not None:
        at, text_id = after
        same = and_(outgoing_texts.c.created_at == at, outgoing_texts.c.text_id > text_id)
        query = query.where(or_(outgoing_texts.c.created_at < at, same))
    texts = (await connection.execute(query)).all()
    page = texts[:most]
    messages: dict[str, list[Row[Any]]] = {text.text_id: [] for text in page}
    columns = [outgoing_messages.c[name] for name in ("text_id", "message_key", "state", "state_at", "error")]
    parts = select(*columns).where(outgoing_messages.c.text_id.in_(messages)).order_by(outgoing_messages.c.part)
    for row in (await connection.execute(parts)).all():
        messages[row.text_id].append(row)
    following = (page[-1].created_at, page[-1].text_id) if len(texts) > most else None
    return [(text, messages[text.text_id]) for text in page], following


async def counts(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """Messages by link and state."""
    query = select(outgoing_messages.c.link, outgoing_messages.c.state, func.count()).group_by(
        outgoing_messages.c.link, outgoing_messages.c.state
    )
    return {(link, state): number for link, state, number in (await connection.execute(query)).all()}


# What comes in


def _digest(link: str, message: Message) -> bytes:
    return hashlib.sha256(link.encode() + b"\0" + Pdu(message, 0).encode()).digest()


async def take_in(
    connection: AsyncConnection, link: str, session: str, messages: Sequence[Message], now: float, heard: Container[str]
) -> list[str]:
    """Keep messages of a peer; returns our id for each. One that was sent again after a lost answer gets the id that it had.

    heard: messages whose senders are known to have our answer, so the same octets are another message. An old session that still
    seems to stand proves nothing: its other end may be gone, and have sent again over this one.
    """
    digests = [_digest(link, message) for message in messages]
    again = (
        incoming_messages.c.digest.in_(digests),
        incoming_messages.c.session != session,
        incoming_messages.c.received_at > now - REPEATED_WITHIN_S,
    )
    query = select(incoming_messages.c.digest, incoming_messages.c.message_id).where(*again).order_by(incoming_messages.c.received_at)
    earlier = (await connection.execute(query)).all()
    known: dict[bytes, str] = {row.digest: row.message_id for row in earlier if row.message_id not in heard}
    ids: list[str] = []
    fresh: list[dict[str, Any]] = []
    for digest, message in zip(digests, messages, strict=True):
        if digest in known:
            # The session becomes the new one: the same octets once more over this one are what somebody wrote twice.
            message_id = known.pop(digest)
            values = {"repeats": incoming_messages.c.repeats + 1, "session": session}
            await connection.execute(update(incoming_messages).where(incoming_messages.c.message_id == message_id).values(values))
        else:
            message_id = new_id()
            fresh.append(_incoming(message_id, link, session, digest, message, now))
        ids.append(message_id)
    if fresh:
        await connection.execute(insert(incoming_messages), fresh)
    return ids


def _incoming(message_id: str, link: str, session: str, digest: bytes, message: Message, now: float) -> dict[str, Any]:
    part = read(message)
    return {
        "message_id": message_id,
        "link": link,
        "session": session,
        "digest": digest,
        "source": message.source.number[:24],
        "destination": message.destination.number[:24],
        "pdu": Pdu(message, 0).encode(),
        "reference": part.reference,
        "total": part.total,
        "number": part.number,
        "received_at": now,
        "repeats": 0,
    }


async def join_parts(connection: AsyncConnection, now: float, alphabets: dict[str, DefaultAlphabet]) -> list[IncomingText]:
    """Make texts of the messages that are whole, or that have waited for their other parts long enough."""
    query = select(incoming_messages).where(incoming_messages.c.text_id.is_(None)).order_by(incoming_messages.c.received_at)
    groups: dict[tuple[object, ...], list[Row[Any]]] = {}
    for row in (await connection.execute(query)).all():
        key: tuple[object, ...] = (row.link, row.source, row.destination, row.reference, row.total)
        if row.total == 1:
            key = (row.message_id,)
        elif any(other.number == row.number for other in groups.get(key, ())):
            key = (*key, row.message_id)  # a reference that came round again
        groups.setdefault(key, []).append(row)
    made: list[IncomingText] = []
    parts_of_texts: list[dict[str, str]] = []
    for rows in groups.values():
        complete = len(rows) == rows[0].total
        if not complete and max(row.received_at for row in rows) > now - PARTS_AWAITED_S:
            continue
        parts: list[Part] = [read(_message(row.pdu)) for row in rows]
        body = join(parts, alphabets.get(rows[0].link, "gsm-7"))
        text = IncomingText(new_id(), rows[0].link, rows[0].source, rows[0].destination, body, complete, rows[0].received_at)
        parts_of_texts += [{"of_message": row.message_id, "of_text": text.text_id} for row in rows]
        made.append(text)
    if made:
        await connection.execute(insert(incoming_texts), [{name: getattr(text, name) for name in text.__slots__} for text in made])
        joined = update(incoming_messages).where(incoming_messages.c.message_id == bindparam("of_message"))
        await connection.execute(joined.values(text_id=bindparam("of_text")), parts_of_texts)
    return made


async def unhandled(connection: AsyncConnection, most: int, now: float) -> list[IncomingText]:
    """Texts that came in, have not been given to anybody yet and are not put off, the oldest first."""
    due = (incoming_texts.c.handled_at.is_(None), incoming_texts.c.not_before <= now)
    rows = (await connection.execute(select(incoming_texts).where(*due).order_by(incoming_texts.c.received_at).limit(most))).mappings()
    return [IncomingText(**{name: row[name] for name in IncomingText.__slots__}) for row in rows]


async def handled(connection: AsyncConnection, text_id: str, now: float) -> None:
    await connection.execute(update(incoming_texts).where(incoming_texts.c.text_id == text_id).values(handled_at=now))


async def put_off(connection: AsyncConnection, text_id: str, until: float) -> None:
    """The handling of a text failed: others go first until then."""
    values = {"attempts": incoming_texts.c.attempts + 1, "not_before": until}
    await connection.execute(update(incoming_texts).where(incoming_texts.c.text_id == text_id).values(values))


async def refused(connection: AsyncConnection, text_id: str, now: float) -> None:
    """A text that was taken cannot go on."""
    await connection.execute(update(incoming_texts).where(incoming_texts.c.text_id == text_id).values(refused_at=now))


@dataclass(frozen=True, slots=True)
class Submitted:
    """A message of a text that came in."""

    message_id: str
    link: str
    message: Message
    received_at: float


async def submitted(connection: AsyncConnection, incoming_text_id: str) -> list[Submitted]:
    """The messages of an incoming text, in the order of its parts."""
    query = select(incoming_messages).where(incoming_messages.c.text_id == incoming_text_id).order_by(incoming_messages.c.number)
    rows = (await connection.execute(query)).all()
    return [Submitted(row.message_id, row.link, _message(row.pdu), row.received_at) for row in rows]


async def state_for_peer(connection: AsyncConnection, link: str, message_id: str) -> list[State] | None:
    """The states of what became of a peer's message, None where it is not known."""
    mine = (incoming_messages.c.message_id == message_id, incoming_messages.c.link == link)
    query = select(incoming_messages.c.text_id, incoming_texts.c.refused_at).where(*mine)
    joined = incoming_messages.c.text_id == incoming_texts.c.text_id
    found = (await connection.execute(query.outerjoin_from(incoming_messages, incoming_texts, joined))).first()
    if found is None:
        return None
    if found.refused_at is not None:
        return ["refused"]
    states = (
        select(outgoing_messages.c.state).join_from(outgoing_messages, outgoing_texts).where(outgoing_texts.c.request_id == found.text_id)
    )
    return [cast(State, state) for state in (await connection.execute(states)).scalars()]


def new_reference() -> int:
    """For user_message_reference and the parts' reference: by chance, so that a restart does not repeat the last ones."""
    return secrets.randbelow(0x10000)


def is_final(states: Sequence[State]) -> bool:
    return all(state in FINAL for state in states)
