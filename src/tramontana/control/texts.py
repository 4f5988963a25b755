"""Texts: the books between message centres, those who bind to ours, and whoever sends or answers here.

`Texts` is the courier of every SMPP link (cell/smpp/driver.py). One server process runs the links, the one that leads; the others only
write into the store, and the leader finds it there within a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.cell.beam_time import BeamQueue, BeamTime, Item, Rank
from tramontana.cell.forwarding import LATER_PAUSES_S, WAYS_OUT_S, Happening, of_answer, of_receipt, route
from tramontana.cell.short_message import CODING_BINARY, Part, is_binary, read, submit, write
from tramontana.cell.smpp.driver import EsmeLink, Outgoing, SmscServer
from tramontana.cell.smpp.pdu import Address, CommandId, Message, MessageState, Status
from tramontana.cell.smpp.receipt import FINAL as FINAL_RECEIPTS
from tramontana.cell.smpp.receipt import Receipt, id_in_receipts, parse_receipt
from tramontana.cell.smpp.session import Answered
from tramontana.control import peer_receipts
from tramontana.control.operators import CentreRules, Operators
from tramontana.control.store import audit, sealed_texts
from tramontana.control.store import texts as rows
from tramontana.control.store.database import Store, StoreUnavailable
from tramontana.control.store.texts import IncomingText, NewText
from tramontana.errors import LocalError
from tramontana.keys.sealed_text import HEADER_BYTES, MOST_BYTES, TAG_BYTES
from tramontana.precedence import Precedence

logger = logging.getLogger(__name__)
LOOK_EVERY_S = 1.0
EXPIRE_EVERY_S = 5.0
HANDLED_AT_ONCE = 50
HANDLED_AGAIN_S = (1.0, 2.0, 4.0, 15.0, 60.0, 300.0)
"""How long a text that could not be handled lets the others go first; the last pause repeats."""
HANDLED_WHOLE = 3
"""After so many failures a text is no longer parsed or forwarded: an SOS becomes a case with its bare words, another is given up."""
LISTEN_AGAIN_S = 5.0
ANSWERS_AWAITED_S = 5.0
"""At a stop in good order: how long answers of centres are waited for before what is open becomes unknown."""
NO_LIMIT_PER_S = 1e6
SEALED_WAYS_S = 2 * 86400.0
"""How long a sealed text is tried: its keys live three days (keys/sealed_text.py), and it has to be opened within them."""
HERE = ""
"""The link of what stays on this server."""
SHORTEST_SEALED = HEADER_BYTES + TAG_BYTES


class NoRoute(LocalError):
    """No message centre is configured for this number. Add one to the operators' file, or correct the number."""


@dataclass(frozen=True, slots=True)
class Queued:
    """What a sender is told: `wait_s` is about how long it will wait for its turn, None where nobody can say."""

    text_id: str
    wait_s: float | None
    device_id: str | None = None
    """Of ours, for which a sealed text waits already: it is told once this is committed."""


class BoxFull(LocalError):
    """Too many sealed texts wait for a device of ours; it has to take them first."""


HandleSos = Callable[[AsyncConnection, IncomingText, float], Awaitable[None]]


@dataclass
class Texts:
    """The service. `operators` is what the file says; without it nothing is sent and nothing comes in."""

    store: Store
    operators: Operators
    clock: Callable[[], float]
    on_sos: HandleSos | None = None
    on_sealed: Callable[[str], None] = lambda device_id: None
    """A sealed text waits for this device."""
    on_listening: Callable[[int], None] = lambda port: None
    links: dict[str, EsmeLink] = field(default_factory=dict, init=False)
    _rules: dict[str, CentreRules] = field(init=False)
    _sealed: frozenset[str] = field(init=False)
    _sealed_for: set[str] = field(default_factory=set, init=False)
    """Devices for which sealed texts were kept in the transaction under way."""
    _beams: dict[str, BeamTime] = field(init=False)
    _server: SmscServer | None = field(default=None, init=False)
    _heard: dict[str, float] = field(default_factory=dict, init=False)
    """Messages whose senders are known to have our answer, and since when."""
    _look: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _stopping: bool = field(default=False, init=False)
    _in_flight: set[str] = field(default_factory=set, init=False)
    _adrift: dict[str, Happening] = field(default_factory=dict, init=False)
    """Messages that no session has any more and whose state could not be written: what is to be written."""
    _settling: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._rules = {rules.centre.name: rules for rules in self.operators.centres}
        self._sealed = frozenset(self.operators.sealed_numbers)
        per_s = {name: rules.beam_messages_per_s or NO_LIMIT_PER_S for name, rules in self._rules.items()}
        per_s |= {peer.system_id: NO_LIMIT_PER_S for peer in self.operators.peers}
        self._beams = {name: BeamTime(rate) for name, rate in per_s.items()}
        if self.operators.listen is not None:
            self._server = SmscServer(self.operators.system_id, self.operators.peers, self)

    # Sending

    def link_for(self, number: str) -> str | None:
        """By which link a number is reached."""
        return route(number, self.operators.routes)

    async def put(
        self,
        connection: AsyncConnection,
        *,
        origin: str,
        destination: str,
        body: str,
        datagram: bytes = b"",
        rank: Rank,
        source: str = "",
        beam: str = "",
        ways_s: float = WAYS_OUT_S,
        if_unknown: str = "hold",
        request_id: str | None = None,
        link: str | None = None,
    ) -> Queued:
        """Keep a text in the transaction of what it belongs to; call `wake` after it. Raises `NoRoute`, `TextTooLong`, `PduError`.

        datagram: octets that go as one message in the place of `body`.
        """
        by = link if link is not None else self.link_for(destination)
        if by is None:
            raise NoRoute(f"no message centre is configured for numbers like {destination[:6]}…; add one to the operators' file")
        now = self.clock()
        reference = rows.new_reference()
        rules = self._rules.get(by)
        messages = submit(
            (Part(datagram, CODING_BINARY),) if datagram else write(body, reference),
            Address.of(source or self.operators.sender or self.operators.system_id),
            Address.of(destination),
            way=rules.concatenation if rules and not datagram else "udh",
            precedence=Precedence(min(int(rank), int(Precedence.FLASH_OVERRIDE))),
            receipt=bool(rules and rules.receipts),
            validity_s=ways_s if rules else None,
            user_reference=reference if rules else None,
            command_id=CommandId.SUBMIT_SM if rules else CommandId.DELIVER_SM,
        )
        text = NewText(origin, by, source or self.operators.sender, destination, body, rank, now + ways_s, beam, if_unknown, request_id)
        text_id, new = await rows.put(connection, text, messages, reference, now)
        return Queued(text_id, self.wait_s(by, beam, rank, destination) if new else None)

    async def put_sealed(
        self,
        connection: AsyncConnection,
        *,
        device_id: str,
        source: str,
        destination: str,
        datagram: bytes,
        rank: Rank,
        request_id: str,
    ) -> Queued:
        """Keep a sealed text, to leave as one short message of octets; call `wake` after it. Raises `NoRoute`, `BoxFull`.

        The phone opens it once however often it comes, so it is sent again where nobody knows whether the centre has it. For a number
        of ours it leaves nowhere: it waits for the device at once.
        """
        here = destination in self._sealed
        to = await sealed_texts.device_at(connection, destination) if here else None
        if here and to is None:
            raise NoRoute("no device has this number: ask the other one for its number again")
        queued = await self.put(
            connection,
            origin=rows.sealed_origin(device_id),
            destination=destination,
            body="",
            datagram=datagram,
            rank=rank,
            source=source,
            ways_s=SEALED_WAYS_S,
            if_unknown="again",
            request_id=request_id,
            link=HERE if here else None,
        )
        if to is None:
            return queued
        if keys := await rows.keys_of(connection, queued.text_id, ("queued",)):
            if not await sealed_texts.keep(connection, to, source, datagram, self.clock()):
                raise BoxFull("too many sealed texts wait for this device")
            for happening in ("taken", "receipt delivered"):
                await rows.apply(connection, happening, self.clock(), keys=keys)
        return Queued(queued.text_id, 0.0, to)

    def wait_s(self, link: str, beam: str, rank: Rank, phone: str) -> float | None:
        """About how long a text would wait for its turn; None where nobody can say."""
        return self._beams[link].beam(beam).wait_s(rank, phone) if link in self._beams else None

    def wake(self) -> None:
        """Something new stands in the store."""
        self._look.set()

    def wait_of(self, link: str, beam: str, message_key: str) -> float | None:
        """About how long a message that is queued still waits for its turn; None where nobody can say."""
        return self._beams[link].beam(beam).wait_of(message_key) if link in self._beams else None

    def queues(self) -> dict[str, dict[str, BeamQueue]]:
        """By link and beam."""
        return {link: dict(beams.beams()) for link, beams in self._beams.items()}

    def bound(self) -> dict[str, str]:
        """What each link is doing."""
        found = {name: link.state for name, link in self.links.items()}
        if self._server is not None:
            sessions = self._server.bound()
            found |= {peer.system_id: "bound" if sessions.get(peer.system_id) else "closed" for peer in self.operators.peers}
        return found

    # Running

    async def run(self) -> None:
        """Until cancelled: wait to be the leader, then keep all links."""
        if not self._beams and self._server is None:
            await asyncio.Event().wait()
        while True:
            try:
                if await self.store.leads():
                    await self._lead()
            except Exception:
                logger.exception("the message links failed; they are begun again")
            await asyncio.sleep(LOOK_EVERY_S)

    async def stop(self) -> None:
        """Send nothing new and wait a little for the answers that are under way; then cancel `run`."""
        self._stopping = True
        for _ in range(int(ANSWERS_AWAITED_S / 0.05)):
            if not self._in_flight:
                return
            await asyncio.sleep(0.05)

    async def _lead(self) -> None:
        names = list(self._beams)
        async with self.store.write() as connection:
            # Whoever ran the links before died with these on the wire, or perhaps not on it.
            lost = [change for name in names for change in await rows.apply(connection, "unanswered", self.clock(), link=name)]
            await self._after_unknown(connection, lost)
        self._in_flight.clear()
        self._adrift.clear()
        self.links = {name: EsmeLink(rules.centre, self) for name, rules in self._rules.items()}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(link.run()) for link in self.links.values()]
            tasks += [group.create_task(self._deliver()), group.create_task(self._expire())]
            if self._server is not None and self.operators.listen is not None:
                tasks.append(group.create_task(self._listen(self._server, *self.operators.listen)))
            leads = True
            while leads:
                await asyncio.sleep(LOOK_EVERY_S)
                leads = await self.store.still_leads()
            logger.warning("another server process leads now: this one closes its message links")
            for task in tasks:
                task.cancel()

    async def _listen(self, server: SmscServer, host: str, port: int) -> None:
        """A port that another process holds, or a session that fails, must not end the links to the operators."""
        while True:
            try:
                await server.run(host, port, self.on_listening, self.operators.tls)
            except Exception as error:
                logger.error("nobody can bind to our message centre at %s:%d: %r; tried again in %.0f s", host, port, error, LISTEN_AGAIN_S)
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def _deliver(self) -> None:
        """What stands in the store goes on: new messages to their queues, texts that came in to whoever they are for."""
        while True:
            self._look.clear()
            try:
                await self._settle()
                await self._fill()
                await self._hand_on()
            except Exception:
                logger.exception("handing texts on failed; it is tried again")
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._look.wait()
            except TimeoutError:
                pass

    async def _fill(self) -> None:
        after: tuple[float, str, int] | None = None
        while True:
            async with self.store.read() as connection:
                found = await rows.waiting(connection, list(self._beams), after)
            self._queue(found)
            if len(found) < rows.MAX_FILLED:
                return
            after = found[-1].place

    def _queue(self, found: Sequence[rows.Waiting]) -> None:
        now = self.clock()
        woken = set()
        for each in found:
            if each.not_before > now or each.message_key in self._in_flight or each.message_key in self._adrift:
                continue
            queue = self._beams[each.link].beam(each.beam)
            if each.message_key not in queue:
                queue.put(Item(each.message_key, Rank(each.rank), each.destination, each.created_at, each.text_id))
                woken.add(each.link)
        for link in woken:
            self._wake_link(link)

    def _wake_link(self, link: str) -> None:
        if link in self.links:
            self.links[link].wake()
        elif self._server is not None:
            self._server.wake(link)

    async def _hand_on(self) -> None:
        alphabets = {name: rules.alphabet for name, rules in self._rules.items()}
        async with self.store.write() as connection:
            await rows.join_parts(connection, self.clock(), alphabets)
            texts = await rows.unhandled(connection, HANDLED_AT_ONCE, self.clock())
        try:
            await self._hand_on_these(texts)
        except StoreUnavailable:
            raise
        except Exception:
            await self._hand_on_singly(texts)
        if len(texts) == HANDLED_AT_ONCE:
            self._look.set()
        elif texts:
            await self._fill()

    async def _hand_on_these(self, texts: Sequence[IncomingText]) -> None:
        """In one transaction: in a flood a commit for each would be the limit."""
        if not texts:
            return
        self._sealed_for.clear()
        async with self.store.write() as connection:
            for text in texts:
                await self._hand_on_one(connection, text)
                await rows.handled(connection, text.text_id, self.clock())
        for device_id in self._sealed_for:  # only now: a device that looks before the commit would find nothing
            self.on_sealed(device_id)

    async def _hand_on_singly(self, texts: Sequence[IncomingText]) -> None:
        """One that cannot be handled must not hold up the others: it is put off, and tried again."""
        for text in texts:
            try:
                await self._hand_on_these([text])
            except StoreUnavailable:
                raise
            except Exception:
                logger.exception("text %s could not be handed on", text.text_id)
                async with self.store.write() as connection:
                    pause_s = HANDLED_AGAIN_S[min(text.attempts, len(HANDLED_AGAIN_S) - 1)]
                    await rows.put_off(connection, text.text_id, self.clock() + pause_s)

    async def _hand_on_one(self, connection: AsyncConnection, text: IncomingText) -> None:
        if self._is_emergency(text.destination) and self.on_sos is not None:
            await self.on_sos(connection, text, self.clock())
            return
        if text.destination in self._sealed:
            await self._hand_on_sealed(connection, text)
            return
        link = self.link_for(text.destination)
        if link is None or link == text.link:
            await self._refuse(connection, text, "text.unrouted", link=text.link)
            return
        if text.attempts >= HANDLED_WHOLE:
            await self._refuse(connection, text, "text.undeliverable", reason="its handling failed again and again; the log says why")
            return
        origin = f"link {text.link}"
        messages = await rows.submitted(connection, text.text_id)
        if any(is_binary(each.message.data_coding) for each in messages):
            await self._refuse(connection, text, "text.undeliverable", reason="a binary message; only texts are forwarded")
            return
        priority = max((each.message.priority_flag for each in messages), default=0)
        rank = Rank(min(priority, int(Rank.IMMEDIATE)))  # flash is for those whose right to it we know ourselves
        try:
            await self.put(
                connection,
                origin=origin,
                destination=text.destination,
                body=text.body,
                rank=rank,
                source=text.source,
                request_id=text.text_id,
                link=link,
            )
        except StoreUnavailable:
            raise
        except LocalError as error:
            await self._refuse(connection, text, "text.undeliverable", reason=str(error))

    async def _hand_on_sealed(self, connection: AsyncConnection, text: IncomingText) -> None:
        """Octets for one of our devices' numbers: they wait for it as they came."""
        parts = [read(each.message) for each in await rows.submitted(connection, text.text_id)]
        is_sealed = len(parts) == 1 and is_binary(parts[0].data_coding) and SHORTEST_SEALED <= len(parts[0].octets) <= MOST_BYTES
        device_id = await sealed_texts.device_at(connection, text.destination)
        if not is_sealed:
            await self._refuse(connection, text, "text.undeliverable", reason="no sealed text, for a number that takes nothing else")
        elif device_id is None:
            await self._refuse(connection, text, "text.undeliverable", reason="a sealed text for a number that no device has")
        elif not await sealed_texts.keep(connection, device_id, text.source, parts[0].octets, self.clock()):
            await self._refuse(connection, text, "text.undeliverable", reason="too many sealed texts wait for this device")
        else:
            await self._tell(connection, text, MessageState.DELIVERED)
            self._sealed_for.add(device_id)

    async def _refuse(self, connection: AsyncConnection, text: IncomingText, action: str, **details: str) -> None:
        """A text that was taken cannot go on: the trail says it, and its sender hears it where he asked for receipts."""
        await rows.refused(connection, text.text_id, self.clock())
        await self._tell(connection, text, MessageState.REJECTED)
        subject = f"text {text.text_id}"
        await audit.append(connection, now=self.clock(), actor=audit.SERVER, action=action, subject=subject, details=details)

    def _is_emergency(self, number: str) -> bool:
        return number.lstrip("+") in {each.lstrip("+") for each in self.operators.emergency_numbers}

    async def _expire(self) -> None:
        while True:
            try:
                async with self.store.write() as connection:
                    expired = await rows.expire(connection, self.clock())
                    await self._tell_settled(connection, {change.text_id for change in expired})
                for change in expired:
                    for beams in self._beams.values():
                        for _, queue in beams.beams():
                            queue.remove(change.message_key)
            except Exception:
                logger.exception("giving up what waited too long failed; it is tried again")
            await asyncio.sleep(EXPIRE_EVERY_S)

    # The courier of the links

    async def take(self, link: str, room: int) -> Sequence[Outgoing]:
        if self._stopping:
            return ()
        beams = self._beams[link]
        items = beams.take(self.clock(), room)
        if not items:
            return ()
        try:
            async with self.store.write() as connection:
                taken = await rows.take(connection, [item.key for item in items], self.clock())
                await self._audit_preemptions(connection, link)
        except BaseException:
            # Whether this was written is not known; certainly none is on the wire.
            self._adrift |= dict.fromkeys((item.key for item in items), "told later")
            self._look.set()
            raise
        self._in_flight |= set(taken)
        return [Outgoing(item.key, taken[item.key]) for item in items if item.key in taken]

    async def _audit_preemptions(self, connection: AsyncConnection, link: str) -> None:
        for name, queue in self._beams[link].beams():
            for event in queue.audit:
                details = {"link": link, "beam": name, "rank": event.rank.name.lower(), "for": event.by_rank.name.lower()}
                await audit.append(
                    connection, now=self.clock(), actor=audit.SERVER, action="text.preempted", subject=f"text {event.text}", details=details
                )
            queue.audit.clear()

    async def answered(self, link: str, answers: Sequence[Answered]) -> None:
        try:
            await self._answered(link, answers)
        except BaseException:
            # The link closes, and its session knows these no longer: what is not written now becomes unknown.
            self._adrift |= dict.fromkeys((answer.key for answer in answers), "unanswered")
            self._look.set()
            raise
        self._in_flight -= {answer.key for answer in answers}

    async def _answered(self, link: str, answers: Sequence[Answered]) -> None:
        now = self.clock()
        way = self._rules[link].receipt_ids if link in self._rules else "as-is"
        texts: set[str] = set()
        async with self.store.write() as connection:
            for answer in answers:
                happening = of_answer(answer.status)
                values: dict[str, Any] = {"status": answer.status}
                if happening == "answered":
                    values["operator_id"] = id_in_receipts(answer.message_id, way)
                elif happening == "told later":
                    tried = await rows.attempts(connection, answer.key)
                    values["not_before"] = now + LATER_PAUSES_S[min(tried, len(LATER_PAUSES_S)) - 1]
                texts |= {change.text_id for change in await rows.apply(connection, happening, now, keys=[answer.key], **values)}
                if happening == "answered" and link not in self._rules:
                    # A system that binds to ours has its message with its answer: no receipt comes back from it.
                    await rows.apply(connection, "receipt delivered", now, keys=[answer.key])
            await self._tell_settled(connection, texts)

    async def unanswered(self, link: str, keys: Sequence[str]) -> None:
        self._adrift |= dict.fromkeys(keys, "unanswered")
        await self._settle()

    async def _settle(self) -> None:
        """Write what became of messages that no session has any more; what cannot be written now stays for the next time."""
        async with self._settling:  # one at a time: a message that was settled may be on the wire again
            adrift = dict(self._adrift)
            if not adrift:
                return
            now = self.clock()
            async with self.store.write() as connection:
                unsent = [key for key, happening in adrift.items() if happening == "told later"]
                await rows.apply(connection, "told later", now, keys=unsent)
                lost = await rows.apply(connection, "unanswered", now, keys=[key for key in adrift if key not in unsent])
                await self._after_unknown(connection, lost)
            for key in adrift:
                self._adrift.pop(key, None)
            self._in_flight -= adrift.keys()
        self._look.set()

    async def _after_unknown(self, connection: AsyncConnection, lost: Sequence[rows.Changed]) -> None:
        again = [change.message_key for change in lost if change.if_unknown == "again"]
        if again:
            await rows.apply(connection, "send again", self.clock(), keys=again)
        held = len(lost) - len(again)
        if held:
            await audit.append(
                connection, now=self.clock(), actor=audit.SERVER, action="text.unknown", details={"held": held, "again": len(again)}
            )

    async def received(self, link: str, session: str, messages: Sequence[Message]) -> Sequence[tuple[int, str]]:
        verdicts: list[tuple[int, str]] = [(Status.ROK, "")] * len(messages)
        kept: list[int] = []
        async with self.store.write() as connection:
            for position, message in enumerate(messages):
                if link not in self._rules and not message.is_receipt and self._is_lost_on_the_way(message):
                    verdicts[position] = (Status.RINVDCS, "")
                    subject, details = f"link {link}", {"reason": "a binary message; only texts are forwarded"}
                    now = self.clock()
                    await audit.append(connection, now=now, actor=audit.SERVER, action="text.refused", subject=subject, details=details)
                    continue
                receipt = parse_receipt(message)
                if receipt is not None and link in self._rules:
                    await self._apply_receipt(connection, link, receipt)
                elif message.is_receipt:
                    continue  # one that nobody can read is taken: again it would not read better
                elif self._may_take(link, message):
                    kept.append(position)
                else:
                    verdicts[position] = (Status.RINVDSTADR, "")
            taken = [messages[position] for position in kept]
            ids = await rows.take_in(connection, link, session, taken, self.clock(), self._heard)
            for position, message_id in zip(kept, ids, strict=True):
                verdicts[position] = (Status.ROK, message_id)
        self._look.set()
        return verdicts

    def _may_take(self, link: str, message: Message) -> bool:
        if link in self._rules:
            return True  # from an operator everything is taken: a text for nobody is recorded, not refused
        number = message.destination.number
        return self._is_emergency(number) or number in self._sealed or self.link_for(number) not in (None, link)

    def _is_lost_on_the_way(self, message: Message) -> bool:
        """Octets do not survive being written anew as a text; an emergency case takes whatever comes, sealed texts stay as they are."""
        number = message.destination.number
        return is_binary(message.data_coding) and not self._is_emergency(number) and number not in self._sealed

    def heard(self, link: str, message_ids: Sequence[str]) -> None:
        now = self.clock()
        for each in message_ids:
            self._heard[each] = now
        while self._heard and next(iter(self._heard.values())) < now - rows.REPEATED_WITHIN_S:
            del self._heard[next(iter(self._heard))]

    async def _apply_receipt(self, connection: AsyncConnection, link: str, receipt: Receipt) -> None:
        happening = of_receipt(receipt.state)
        if happening is None or receipt.state not in FINAL_RECEIPTS:
            return
        key = await rows.of_receipt(connection, link, receipt.message_id, receipt.reference)
        if key is None:
            logger.warning("a receipt of %s is about no message of ours", link)
            return
        values = {"error": receipt.error[:8]} | ({"operator_id": receipt.message_id} if receipt.message_id else {})
        changed = await rows.apply(connection, happening, self.clock(), keys=[key], **values)
        await self._tell_settled(connection, {change.text_id for change in changed})

    async def _tell(self, connection: AsyncConnection, text: IncomingText, state: MessageState) -> None:
        await peer_receipts.tell(connection, text.text_id, state, self._rules, self.clock())
        self._look.set()

    async def _tell_settled(self, connection: AsyncConnection, text_ids: set[str]) -> None:
        await peer_receipts.tell_settled(connection, text_ids, self._rules, self.clock())
        self._look.set()

    async def state_of(self, link: str, message_id: str) -> int | None:
        async with self.store.read() as connection:
            states = await rows.state_for_peer(connection, link, message_id)
        return None if states is None else int(peer_receipts.state_for_peer(states))
