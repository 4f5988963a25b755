"""The WebSocket's frames (docs/protocols.md, "Mailbox and WebSocket"): JSON text, told apart by `type`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from tramontana.control.shapes import Id, Payload, Sequence, Shape, Token, UnixSeconds
from tramontana.precedence import PrecedenceLabel

ItemKind = Literal["welcome", "commit", "application"]

CLOSE_BAD_FRAME = 4400
CLOSE_NOT_LOGGED_IN = 4401
CLOSE_PUT_OUT = 4403
CLOSE_SILENT = 4408
CLOSE_REPLACED = 4409
CLOSE_TOO_MANY_FRAMES = 4429
CLOSE_RESTARTING = 1012  # RFC 6455 registry: Service Restart


class Hello(Shape):
    """The first frame of the client. `after` is the last item that it has already processed, 0 for none."""

    type: Literal["hello"]
    token: Token = Field(repr=False)
    after: Sequence


class Ack(Shape):
    """Everything up to `seq` is processed and may be deleted."""

    type: Literal["ack"]
    seq: Sequence


class Ping(Shape):
    """Either side, at any time; answered with a pong."""

    type: Literal["ping"] = "ping"


class Pong(Shape):
    """The answer to a ping."""

    type: Literal["pong"] = "pong"


class FloorWish(Shape):
    """Ask for the floor of a talk group, or give it back (or leave the queue)."""

    type: Literal["floor"]
    call_id: Id
    op: Literal["request", "release"]
    precedence: PrecedenceLabel = "routine"


class Ready(Shape):
    """Logged in; `pending` items follow in order."""

    type: Literal["ready"] = "ready"
    device_id: Id
    pending: int


class Deliver(Shape):
    """One mailbox item. `seq` ascends per device, without gaps."""

    type: Literal["deliver"] = "deliver"
    seq: Sequence
    conversation_id: Id
    kind: ItemKind
    sender_device_id: Id
    payload: Payload = Field(repr=False)
    accepted_at: UnixSeconds


class Presence(Shape):
    """A contact came or went."""

    type: Literal["presence"] = "presence"
    account_id: Id
    online: bool


class DirectoryChanged(Shape):
    """Accounts or devices changed: fetch the directory again."""

    type: Literal["directory"] = "directory"


class ConversationChanged(Shape):
    """Members of a conversation changed, or one's own account came in or went out: fetch it again."""

    type: Literal["conversation"] = "conversation"
    conversation_id: Id


class CallChanged(Shape):
    """Somebody joined or left the call of a conversation, or it ended: ask for it again (`GET /conversations/{id}/call`)."""

    type: Literal["call"] = "call"
    conversation_id: Id


class Preempted(Shape):
    """A call of this device has ended for one of higher precedence (`by`), or because its path can no longer carry it (`by` is null)."""

    type: Literal["preempted"] = "preempted"
    call_id: Id
    by: PrecedenceLabel | None


class ApprovalsChanged(Shape):
    """To custodians: requests for certificates changed."""

    type: Literal["approvals"] = "approvals"


class PlacesChanged(Shape):
    """To gateways: a site or a gateway joined or changed its place."""

    type: Literal["places"] = "places"


class FloorState(Shape):
    """The floor of a talk group as it is now. `position`: one's own in the queue; `event`: what happened to this device itself."""

    type: Literal["floor"] = "floor"
    call_id: Id
    state: Literal["idle", "taken"]
    holder_device_id: Id | None = None
    precedence: PrecedenceLabel | None = None
    until: UnixSeconds | None = None
    queued: int = 0
    position: int | None = None
    event: Literal["granted", "queued", "denied", "revoked_precedence", "revoked_time"] | None = None


class SealedTextCame(Shape):
    """A sealed text waits for this device: fetch it (`GET /me/sealed-texts`). Sent only to devices that have claimed a number."""

    type: Literal["sealed_text"] = "sealed_text"


class Reconnect(Shape):
    """The forwarder of a call is gone: connect again, with a new peer connection."""

    type: Literal["reconnect"] = "reconnect"
    call_id: Id


ClientFrame = Annotated[Hello | Ack | FloorWish | Ping | Pong, Field(discriminator="type")]
AnyServerFrame = (
    Ready
    | Deliver
    | Presence
    | DirectoryChanged
    | ConversationChanged
    | CallChanged
    | ApprovalsChanged
    | PlacesChanged
    | Preempted
    | FloorState
    | Reconnect
    | SealedTextCame
    | Ping
    | Pong
)
ServerFrame = Annotated[AnyServerFrame, Field(discriminator="type")]

_CLIENT_FRAME: TypeAdapter[Hello | Ack | FloorWish | Ping | Pong] = TypeAdapter(ClientFrame)


def parse_client_frame(text: str) -> Hello | Ack | FloorWish | Ping | Pong:
    """Read a frame of a client. Raises pydantic's `ValidationError` (a `ValueError`) on anything else."""
    return _CLIENT_FRAME.validate_json(text)


def encode(frame: AnyServerFrame) -> str:
    """A server frame as JSON text."""
    return frame.model_dump_json()
