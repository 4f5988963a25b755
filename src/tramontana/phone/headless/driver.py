"""Carries out what the call table decides: messages, grants, media, keys, short code (asyncio)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tramontana.device import messages
from tramontana.device.conversations import NotReady, Received
from tramontana.device.device import Device, quietly
from tramontana.device.driver import OnlineDevice
from tramontana.device.membership import names_of
from tramontana.device.messages import MalformedMessage
from tramontana.device.requests import Refusal, Request, Unreachable
from tramontana.errors import TramontanaError
from tramontana.keys.mls.outcomes import EpochKeys
from tramontana.phone.headless import call, signalling
from tramontana.phone.headless.call import CallState, Phase
from tramontana.phone.headless.media.driver import CallMedia, MediaBlocked, Recorder
from tramontana.phone.headless.short_code import commit_to, reveal_matches, short_code
from tramontana.phone.headless.signalling import Answer, Cancel, Candidate, Candidates, Decline, End, EndReason, Invite, Reveal
from tramontana.precedence import Precedence

TICK_S = 0.25
SEND_FOR_S = 45.0
"""How long a call message is tried again while the server is away."""
WELCOME_PAUSE_S = 0.3
WAITING_PAUSE_S = 2.0
RENEWAL_PAUSE_S = 1.5
"""Let the farewell go first."""
PART_S = 5.0
"""How long the end of the phone waits for its last words to be sent."""
_FAREWELLS = (Cancel, Decline, End, signalling.Busy)


@dataclass
class Line:
    """What belongs to one call and is not in its state."""

    call_id: str
    peer: str
    precedence: Precedence
    peer_device: str | None = None
    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(signalling.NONCE_BYTES), repr=False)
    peer_nonce: bytes | None = field(default=None, repr=False)
    commitment: bytes | None = None
    keys: EpochKeys | None = field(default=None, repr=False)
    media: CallMedia | None = None
    early: list[Candidate] = field(default_factory=list)
    code: str | None = None
    """The short code, once both nonces are known."""
    is_simulated: bool | None = None
    """Whether the server plays the radio path."""
    fault: str | None = None
    is_released: bool = False
    work: asyncio.Lock = field(default_factory=asyncio.Lock)


class HeadlessPhone:
    """One phone. `run` must run in the caller's task group.

    `answers`: whether it takes every call by itself. `voice` are Opus frames of 20 ms, `recorder` gets what is heard.
    """

    def __init__(
        self,
        device: Device,
        *,
        voice: Sequence[bytes],
        recorder: Recorder | None = None,
        answers: bool = False,
        on_refused: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.online = OnlineDevice(device, on_message=self._receive, on_frame=self._frame, on_refused=on_refused)
        self.answers = answers
        self.state: CallState | None = None
        self.line: Line | None = None
        self.changed = asyncio.Condition()
        self._voice, self._recorder = voice, recorder
        self._outgoing = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None
        self._parting: set[asyncio.Task[None]] = set()
        """What must not be cut off: messages on their way, and calls that are being left."""

    # What a person could do

    def dial(self, account_id: str, precedence: Precedence = Precedence.ROUTINE) -> str:
        """Call somebody: the call's id."""
        call_id = secrets.token_hex(16)
        self._step(call.Dial(call_id, account_id, precedence))
        return call_id

    def hang_up(self) -> None:
        self._step(call.PressHangUp())

    @property
    def code(self) -> str | None:
        """The short code of the call, once both sides know it."""
        return None if self.line is None else self.line.code

    async def until(self, condition: Callable[[CallState | None], bool]) -> CallState | None:
        """Wait until the call is in a state."""
        async with self.changed:
            await self.changed.wait_for(lambda: condition(self.state))
        return self.state

    # Running

    async def run(self) -> None:
        """Be reachable until cancelled; a call in progress is hung up then. Raises what `OnlineDevice.run` raises."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self.online.run())
                try:
                    while True:
                        await asyncio.sleep(TICK_S)
                        self._step(call.Tick())
                finally:
                    await self._part()
        finally:
            self._group = None
            if self.line is not None and self.line.media is not None:
                await self.line.media.close()
            await self.online.close()

    async def _part(self) -> None:
        """Say goodbye, without waiting long for a server that is away."""
        self._step(call.PressHangUp())
        if self._parting:
            await asyncio.wait(self._parting, timeout=PART_S)

    def _step(self, given: call.Input) -> None:
        before = self.state
        self.state, effects = call.step(before, given, self.online.now())
        after = self.state
        if after is not None and (before is None or after.call_id != before.call_id):
            previous, self.line = self.line, Line(after.call_id, after.peer, after.precedence)
            if previous is not None:
                self._spawn(self._release(previous), is_parting=True)
        for effect in effects:
            self._carry_out(effect)
        if effects or after != before:
            self._spawn(self._tell())

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def _spawn(self, work: Coroutine[Any, Any, None], *, is_parting: bool = False) -> None:
        if self._group is None:
            work.close()
            return
        task = self._group.create_task(work)
        if is_parting:
            self._parting.add(task)
            task.add_done_callback(self._parting.discard)

    def _carry_out(self, effect: call.Effect) -> None:
        line = self.line
        match effect:
            case call.Send():
                of_line = line if line is not None and line.call_id == effect.call_id else None
                self._spawn(self._post(effect, of_line), is_parting=True)
            case call.Prepare(invite=invite) if line is not None:
                if invite is not None:
                    line.commitment = invite.commitment
                self._attempt(line, self._prepare(line, invite))
            case call.ToMedia(call_id=call_id, message=message) if line is not None and line.call_id == call_id:
                self._attempt(line, self._to_media(line, message))
            case call.Release(call_id=call_id) if line is not None and line.call_id == call_id:
                self._spawn(self._release(line), is_parting=True)
            case call.RenewKeys(peer=peer):
                self._spawn(self._renew_keys(peer))
            case _:
                pass

    def _attempt(self, line: Line, work: Coroutine[Any, Any, None]) -> None:
        """Work of one call, in order; what fails ends the call."""

        async def run() -> None:
            try:
                async with line.work:
                    if not line.is_released:
                        await work
            except (TramontanaError, TimeoutError) as error:
                self._failed(line, error)
            finally:
                work.close()

        self._spawn(run())

    def _failed(self, line: Line, error: Exception) -> None:
        if line.is_released:
            return
        line.fault = str(error)
        if isinstance(error, Refusal) and error.code == "call_preempted":
            self._step(call.Preempted(line.call_id, None))
            return
        no_room = isinstance(error, Refusal) and error.code in ("no_capacity", "call_waiting")
        reason: EndReason = "no_capacity" if no_room else "media"
        self._step(call.SetupFailed(line.call_id, reason))

    # Setting up

    async def _prepare(self, line: Line, invite: Invite | None) -> None:
        if invite is None:
            await self._conversation(line)
        media = await self._open_media(line)
        prepared: Invite | Answer
        if invite is None:
            prepared = Invite(await media.offer(), commit_to(line.nonce), line.precedence)
        else:
            sdp = await media.answer_offer(invite.sdp)
            await media.add_candidates(line.early)
            line.early.clear()
            prepared = Answer(sdp, line.nonce)
        if not line.is_released:
            self._step(call.Prepared(line.call_id, prepared))

    async def _conversation(self, line: Line) -> None:
        """Wait for a welcome that is on its way, for as long as the call is wanted."""
        conversations = self.online.device.conversations
        conversation_id = conversations.with_peer(line.peer)
        while not line.is_released:
            try:
                await self.online.in_conversation(conversation_id, lambda: conversations.ready(conversation_id, self.online.now()))
                return
            except NotReady as not_ready:
                if not not_ready.is_soon:
                    raise
            await asyncio.sleep(WELCOME_PAUSE_S)

    async def _open_media(self, line: Line) -> CallMedia:
        grant = await self._grant(line)
        line.is_simulated = bool(grant["simulated"])
        line.media = CallMedia(
            grant["ice_servers"],
            self._voice,
            self._recorder,
            connected=lambda: self._step(call.Connected(line.call_id)),
            disconnected=lambda: self._step(call.Disconnected(line.call_id)),
            audio_began=lambda: self._step(call.AudioBegan(line.call_id)),
        )
        if line.is_released:
            await line.media.close()
            raise MediaBlocked("the call is over")
        self._spawn(self._playing(line, line.media))
        return line.media

    async def _playing(self, line: Line, media: CallMedia) -> None:
        playing = asyncio.ensure_future(media.run())
        try:
            while not line.is_released:
                await asyncio.wait([playing], timeout=TICK_S)
                if playing.done():
                    playing.result()
        finally:
            playing.cancel()

    async def _grant(self, line: Line) -> dict[str, Any]:
        conversation_id = self.online.device.conversations.with_peer(line.peer)
        request = Request("PUT", f"/calls/{line.call_id}", {"conversation_id": conversation_id, "precedence": line.precedence.label})
        while True:
            try:
                grant: dict[str, Any] = await self.online.request(request)
                return grant
            except Refusal as refused:
                if refused.code != "call_waiting" or line.is_released:
                    raise
                await asyncio.sleep(refused.retry_after_s or WAITING_PAUSE_S)
                if line.is_released:
                    raise

    async def _to_media(self, line: Line, message: Answer | Reveal | Candidates) -> None:
        media = line.media
        match message:
            case Candidates(candidates):
                if media is None:
                    line.early += candidates
                else:
                    await media.add_candidates(candidates)
            case Answer(sdp, nonce):
                if media is None:
                    raise MediaBlocked("an answer without an offer")
                line.peer_nonce = nonce
                await media.accept_answer(sdp)
                self._use_keys(line)
                self._spawn(self._post(call.Send(line.peer, line.call_id, Reveal(line.nonce)), line))
                self._show_code(line, line.nonce, nonce)
            case Reveal(nonce):
                if line.commitment is None or line.peer_nonce is not None:
                    return
                line.peer_nonce = nonce
                if reveal_matches(line.commitment, nonce):
                    self._show_code(line, nonce, line.nonce)
                else:
                    line.fault = "the other phone's nonce does not match its commitment: somebody may sit in between"
                    self._step(call.RevealFailed(line.call_id))

    def _use_keys(self, line: Line) -> None:
        """Media keys of the epoch in which the answer was sealed. Raises `MediaBlocked`."""
        members = () if line.keys is None else line.keys.members
        leaf = next((each.leaf_index for each in members if names_of(each.credential) == (line.peer, line.peer_device)), None)
        if line.keys is None or leaf is None or line.media is None:
            raise MediaBlocked("the answer came in an epoch that is over, or its sender is not in the conversation; call again")
        line.media.gate.use_keys(line.keys, line.call_id, leaf)
        line.media.keys_are_set()

    def _show_code(self, line: Line, caller_nonce: bytes, callee_nonce: bytes) -> None:
        if line.keys is not None:
            line.code = short_code(line.keys, line.call_id, caller_nonce, callee_nonce)
            self._spawn(self._tell())

    # Messages

    async def _post(self, send: call.Send, line: Line | None) -> None:
        """Send a call message, in order, for a while also if the server is away."""
        try:
            async with self._outgoing:
                if line is not None and line.is_released and not isinstance(send.message, _FAREWELLS):
                    return
                await self._deliver(send, line)
        except (TramontanaError, TimeoutError) as error:
            if isinstance(send.message, Invite | Answer) and line is not None:
                self._failed(line, error)

    async def _deliver(self, send: call.Send, line: Line | None) -> None:
        def sealed(keys: EpochKeys) -> None:
            if isinstance(send.message, Answer) and line is not None:
                line.keys = keys
                self._use_keys(line)

        conversation_id = self.online.device.conversations.with_peer(send.peer)
        async with asyncio.timeout(SEND_FOR_S):
            await self.online.send(conversation_id, signalling.encode(send.call_id, send.message), sealed)

    async def _receive(self, received: Received) -> None:
        try:
            fields = messages.parse(received.plaintext)
            parsed = signalling.parse(fields) if fields["type"] == "call" else None
        except MalformedMessage:
            return
        if parsed is None:
            return
        call_id, message = parsed
        device = self.online.device
        if received.account_id == device.enrolment.account_id:
            if isinstance(message, Answer | Decline):
                self._step(call.TakenElsewhere(call_id))
            return
        if device.conversations.peer_of(received.conversation_id) != received.account_id:
            return
        now = self.online.now()
        if isinstance(message, Invite):
            ceiling = device.membership.ceiling(received.device_id, now)
            message = Invite(message.sdp, message.commitment, min(message.precedence, ceiling))
        if isinstance(message, Answer) and self.line is not None and (self.line.call_id, self.line.peer) == (call_id, received.account_id):
            self.line.peer_device, self.line.keys = received.device_id, received.keys
        self._step(call.Told(call_id, received.account_id, message, now - received.accepted_at))
        if self.line is not None and self.line.call_id == call_id and isinstance(message, Invite):
            self.line.peer_device = self.line.peer_device or received.device_id
        if self.answers and self.state is not None and self.state.phase is Phase.INCOMING:
            self._step(call.PressAnswer())

    def _frame(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "preempted":
            by = None if frame["by"] is None else Precedence.parse(str(frame["by"]))
            self._step(call.Preempted(str(frame["call_id"]), by))

    # Ending

    async def _release(self, line: Line) -> None:
        if line.is_released:
            return
        line.is_released = True
        if line.media is not None:
            line.media.play_on()
            await line.media.close()
        with suppress(Refusal, Unreachable):  # it ends by itself if this is lost
            await self.online.request(Request("DELETE", f"/calls/{line.call_id}"))

    async def _renew_keys(self, peer: str) -> None:
        await asyncio.sleep(RENEWAL_PAUSE_S)
        if self.state is not None and self.state.phase is not Phase.ENDED:
            return
        conversations = self.online.device.conversations
        conversation_id = conversations.with_peer(peer)
        await self.online.in_conversation(conversation_id, lambda: quietly(conversations.renew(conversation_id, self.online.now())))
