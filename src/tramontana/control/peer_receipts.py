"""Receipts that our message centre gives to those who bind to it: what became of the texts that they submitted."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.cell.beam_time import Rank
from tramontana.cell.forwarding import WAYS_OUT_S, State, text_state
from tramontana.cell.smpp.pdu import MessageState
from tramontana.cell.smpp.receipt import Receipt, encode_receipt
from tramontana.control.operators import CentreRules
from tramontana.control.store import texts as rows
from tramontana.control.store.texts import NewText

_STATES: Mapping[State, MessageState] = {
    "delivered": MessageState.DELIVERED,
    "undelivered": MessageState.UNDELIVERABLE,
    "refused": MessageState.REJECTED,
    "expired": MessageState.EXPIRED,
    "withdrawn": MessageState.DELETED,
    "accepted": MessageState.ACCEPTED,
}


def state_for_peer(states: list[State]) -> MessageState:
    """How a text stands whose messages are in these states; none yet: it is on its way."""
    return _STATES.get(text_state(states), MessageState.ENROUTE) if states else MessageState.ENROUTE


async def tell_settled(connection: AsyncConnection, text_ids: Collection[str], centres: Mapping[str, CentreRules], now: float) -> None:
    """Receipts for those who submitted these texts, once all messages of a text are settled. centres: those that we bind to."""
    for text_id in text_ids:
        text = await rows.find(connection, text_id)
        if text is None or not text.origin.startswith("link ") or text.request_id is None:
            continue
        states = await rows.parts_of(connection, text_id)
        receipts_come = text.link in centres and centres[text.link].receipts
        if not (rows.is_final(states) or (not receipts_come and all(state in ("accepted", "delivered") for state in states))):
            continue
        await tell(connection, text.request_id, _STATES[text_state(states)], centres, now)


async def tell(
    connection: AsyncConnection, incoming_text_id: str, state: MessageState, centres: Mapping[str, CentreRules], now: float
) -> None:
    """For each message whose sender asked for a receipt (registered_delivery, SMPP 3.4 §5.2.17)."""
    for each in await rows.submitted(connection, incoming_text_id):
        asked = each.message.registered_delivery & 3
        if not asked or each.link in centres:
            continue  # of an operator's messages its own centre makes the receipts
        if asked == 2 and state is MessageState.DELIVERED:
            continue  # failures only
        await _put(connection, each, state, now)


async def _put(connection: AsyncConnection, wanted: rows.Submitted, state: MessageState, now: float) -> None:
    message = encode_receipt(
        Receipt(wanted.message_id, state),
        source=wanted.message.destination,
        destination=wanted.message.source,
        submitted_at=wanted.received_at,
        done_at=now,
    )
    text = NewText(
        origin="receipt",
        link=wanted.link,
        source=wanted.message.destination.number[:24],
        destination=wanted.message.source.number[:24],
        body="",
        rank=Rank.PRIORITY,
        expires_at=now + WAYS_OUT_S,
        if_unknown="again",  # a receipt twice does no harm
        request_id=wanted.message_id,
    )
    await rows.put(connection, text, [message], rows.new_reference(), now)
