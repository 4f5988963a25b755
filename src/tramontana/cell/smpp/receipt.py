"""Delivery receipts: what a centre says became of a message (SMPP 3.4 Appendix B; optional parameters §5.3.2.12, §5.3.2.35).

The text form is a convention that every centre bends a little, so parsing takes the fields that it finds, in any order and case; the
optional parameters come first where both are there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from tramontana.cell.smpp.pdu import ESM_RECEIPT, Address, CommandId, Message, MessageState, Tag, Tlv

ReceiptIds = Literal["as-is", "decimal-of-hex", "hex-of-decimal"]
"""How a centre writes in receipts the ids of its submit_sm_resp: some print the one in hexadecimal, the other in decimal digits."""

_STATES = {  # Appendix B
    "ENROUTE": MessageState.ENROUTE,
    "DELIVRD": MessageState.DELIVERED,
    "EXPIRED": MessageState.EXPIRED,
    "DELETED": MessageState.DELETED,
    "UNDELIV": MessageState.UNDELIVERABLE,
    "ACCEPTD": MessageState.ACCEPTED,
    "UNKNOWN": MessageState.UNKNOWN,
    "REJECTD": MessageState.REJECTED,
}
_WORDS = {state: word for word, state in _STATES.items()}
FINAL = frozenset({MessageState.DELIVERED, MessageState.EXPIRED, MessageState.DELETED, MessageState.UNDELIVERABLE, MessageState.REJECTED})
_ID = re.compile(r"(?:^|\s)id:\s*([^\s\0]+)", re.IGNORECASE)
_STATE = re.compile(r"(?:^|\s)stat:\s*([A-Za-z]{1,10})", re.IGNORECASE)
_ERROR = re.compile(r"(?:^|\s)err:\s*([0-9A-Za-z]{1,8})", re.IGNORECASE)
MAX_RECEIPT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt. `reference` is the number that we gave the message with user_message_reference, where the centre repeats it."""

    message_id: str
    state: MessageState
    error: str = ""
    reference: int | None = None


def parse_receipt(message: Message) -> Receipt | None:
    """The receipt in a deliver_sm, or None where there is neither an id nor a reference, or no state."""
    if not message.is_receipt:
        return None
    text = message.octets[:MAX_RECEIPT_BYTES].decode("latin-1")
    raw_id = message.tlv(Tag.RECEIPTED_MESSAGE_ID)
    found = _ID.search(text)
    message_id = raw_id.split(b"\0")[0].decode("latin-1") if raw_id else found.group(1) if found else ""
    raw_reference = message.tlv(Tag.USER_MESSAGE_REFERENCE)
    reference = int.from_bytes(raw_reference, "big") if raw_reference is not None and len(raw_reference) == 2 else None
    raw_state = message.tlv(Tag.MESSAGE_STATE)
    state: MessageState | None = None
    if raw_state is not None and len(raw_state) == 1 and raw_state[0] in MessageState._value2member_map_:
        state = MessageState(raw_state[0])
    elif word := _STATE.search(text):
        state = next((value for name, value in _STATES.items() if name.startswith(word.group(1).upper()[:5])), None)
    if state is None or not (message_id or reference is not None):
        return None
    error = _ERROR.search(text)
    return Receipt(message_id[:64], state, error.group(1) if error else "", reference)


def id_in_receipts(message_id: str, way: ReceiptIds) -> str:
    """How the centre will write in a receipt the id of its submit_sm_resp."""
    try:
        if way == "decimal-of-hex":
            return str(int(message_id, 16))
        if way == "hex-of-decimal":
            return f"{int(message_id):X}"
    except ValueError:
        pass
    return message_id


def _date(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%y%m%d%H%M")


def encode_receipt(
    receipt: Receipt, *, source: Address, destination: Address, submitted_at: float, done_at: float, text: str = ""
) -> Message:
    """The deliver_sm that tells an ESME. source: where the message went; destination: the ESME's address, which sent it."""
    delivered = int(receipt.state == MessageState.DELIVERED)
    words = (
        f"id:{receipt.message_id} sub:001 dlvrd:{delivered:03d} submit date:{_date(submitted_at)} done date:{_date(done_at)} "
        f"stat:{_WORDS.get(receipt.state, 'UNKNOWN')} err:{receipt.error or '000'} text:{text[:20]}"
    )
    tlvs = [Tlv(Tag.RECEIPTED_MESSAGE_ID, receipt.message_id.encode("latin-1") + b"\0"), Tlv(Tag.MESSAGE_STATE, bytes((receipt.state,)))]
    if receipt.reference is not None:
        tlvs.append(Tlv(Tag.USER_MESSAGE_REFERENCE, receipt.reference.to_bytes(2, "big")))
    return Message(
        CommandId.DELIVER_SM, source, destination, words.encode("ascii", "replace")[:254], esm_class=ESM_RECEIPT, tlvs=tuple(tlvs)
    )
