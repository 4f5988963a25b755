"""SOS: texts to the emergency number become cases; what cases say goes out as texts. Both stand in one transaction.

A case is stored with the text that changed it and with the answers that it asked for, so a crash leaves either all of it or nothing;
the text is then still unhandled and is handled again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.cell import sos_case
from tramontana.cell.beam_time import Rank
from tramontana.cell.position import PlaceCatalogue, find_position
from tramontana.cell.silence import NOBODY, Silence
from tramontana.cell.sos_case import Case, Outcome, Said
from tramontana.control.store import audit, sos
from tramontana.control.store.database import Store, StoreUnavailable
from tramontana.control.store.sos import Stored
from tramontana.control.store.texts import IncomingText
from tramontana.control.texts import HANDLED_WHOLE, NoRoute, Texts
from tramontana.errors import LocalError

logger = logging.getLogger(__name__)
LOOK_EVERY_S = 5.0
WAYS_OUT_S = 6 * 3600.0
"""How long an answer to somebody in need is tried: later it would only confuse."""
PERSON, AUTOMATIC = "person", "automatic"


class MustNotEmit(LocalError):
    """Nothing is sent to this telephone and nothing of its case passed on: take its unit out of [[units.silent]] if it may emit again."""


@dataclass
class Sos:
    """The service. `places` is the operator's area catalogue, or None."""

    store: Store
    texts: Texts
    clock: Callable[[], float]
    places: PlaceCatalogue | None = None
    one_way: bool = False
    """No beam time for a dialogue: one receipt for each case. An operator may still write."""
    silence: Silence = NOBODY
    """Telephones to which nothing is sent."""

    async def handle_text(self, connection: AsyncConnection, text: IncomingText, now: float) -> None:
        """A text to the emergency number, in the transaction that marks it as handled."""
        if text.attempts >= HANDLED_WHOLE:
            await self._open_bare(connection, text, now)
            return
        known = await sos.of_phone(connection, text.source, now)
        if known is None:
            known = await self._open(connection, text, now)
        found = find_position(text.body, self.places)
        outcome = sos_case.texted(replace(known.case, one_way=self.one_way), text.body, found, now)
        await self._store(connection, known, outcome, author=PERSON, now=now, link=text.link, text_id=text.text_id)
        imsi = outcome[0].imsi
        if imsi and imsi != known.case.imsi:
            await self._note_same_device(connection, known, imsi, now)

    async def _open(self, connection: AsyncConnection, text: IncomingText, now: float) -> Stored:
        number = await sos.next_number(connection)
        opened = await sos.add(connection, sos_case.open_case(number, text.source, now, one_way=self.one_way))
        await audit.append(
            connection, now=now, actor=audit.SERVER, action="sos.opened", subject=f"case {opened.case_id}", details={"number": number}
        )
        return opened

    async def _open_bare(self, connection: AsyncConnection, text: IncomingText, now: float) -> None:
        """Handling this text failed again and again: its words stand in a case of their own, unread, for an operator."""
        opened = await self._open(connection, text, now)
        case = replace(opened.case, state="waiting", last_text=text.body, last_text_at=now)
        await sos.keep(connection, opened, case)
        await sos.note(connection, opened.case_id, at=now, kind="text", author=PERSON, body=text.body, text_id=text.text_id)
        body = "the server could not read this text; nothing was answered"
        await sos.note(connection, opened.case_id, at=now, kind="state", author=AUTOMATIC, body=body)
        details = {"number": opened.case.number, "text": text.text_id, "attempts": text.attempts}
        subject = f"case {opened.case_id}"
        await audit.append(connection, now=now, actor=audit.SERVER, action="sos.unread", subject=subject, details=details)

    async def _note_same_device(self, connection: AsyncConnection, mine: Stored, imsi: str, now: float) -> None:
        """A phone that texts from two numbers, or after its number changed, is one person: both cases say so."""
        for other in await sos.of_device(connection, imsi):
            if other.case_id != mine.case_id:
                for one, another in ((mine, other), (other, mine)):
                    body = f"same device as case {another.case.number}"
                    await sos.note(connection, one.case_id, at=now, kind="state", author=AUTOMATIC, body=body)

    async def _store(
        self,
        connection: AsyncConnection,
        before: Stored,
        outcome: Outcome,
        *,
        author: str,
        now: float,
        link: str | None = None,
        text_id: str | None = None,
    ) -> Stored:
        case, said, noted = outcome
        kept = await sos.keep(connection, before, case)
        if kept is None:
            raise sos_case.NotNow("the case changed meanwhile: load it again")
        for each in noted:
            carried = text_id if each.kind in ("text", "repeat") else None
            await sos.note(connection, before.case_id, at=now, kind=each.kind, author=author, body=each.body, text_id=carried)
        await self._say(connection, kept, said, author=AUTOMATIC if author == PERSON else author, now=now, link=link)
        return kept

    async def _say(
        self, connection: AsyncConnection, kept: Stored, said: Sequence[Said], *, author: str, now: float, link: str | None
    ) -> None:
        if said and self.silence.of_phone(kept.case.phone):
            await sos.note(
                connection, kept.case_id, at=now, kind="state", author=AUTOMATIC, body="nothing was sent: the unit must not emit"
            )
            return
        for each in said:
            text_id = None
            try:
                queued = await self.texts.put(
                    connection,
                    origin=f"sos {kept.case_id}",
                    destination=kept.case.phone,
                    body=each.body,
                    rank=Rank.SOS,
                    beam=beam_of(kept.case),
                    ways_s=WAYS_OUT_S,
                    if_unknown="again",  # an answer that comes twice harms nobody
                    link=None if self.texts.link_for(kept.case.phone) else link,
                )
                text_id = queued.text_id
            except LocalError as error:
                if isinstance(error, StoreUnavailable) or (author != AUTOMATIC and not isinstance(error, NoRoute)):
                    raise  # an operator hears what is wrong with his answer
                logger.error("case %s cannot be answered: %s", kept.case_id, error)
                why = "no route" if isinstance(error, NoRoute) else str(error)
                await sos.note(connection, kept.case_id, at=now, kind="state", author=AUTOMATIC, body=f"cannot be answered: {why}")
            await sos.note(connection, kept.case_id, at=now, kind="answer", author=author, body=each.body, text_id=text_id)

    def check_may_emit(self, case: Case) -> None:
        """Raises `MustNotEmit`."""
        if self.silence.of_phone(case.phone):
            raise MustNotEmit("the unit of this telephone must not emit, so nothing is sent to it and nothing of it passed on")

    async def act(
        self, case_id: str, version: int | None, operator: str, action: str, work: Callable[[Case, float], Outcome], *, by: str
    ) -> Stored | None:
        """What an operator does; audited. None where there is no such case. Raises `NotNow`, `TextTooLong`, `MustNotEmit`.

        version: of the case that the operator saw, or None where it does not matter. by: the actor of the audit trail.
        """
        now = self.clock()
        async with self.store.write() as connection:
            found = await sos.find(connection, case_id)
            if found is None:
                return None
            if version is not None and version != found.version:
                raise sos_case.NotNow("the case changed meanwhile: load it again")
            if action == "answered":
                self.check_may_emit(found.case)
            kept = await self._store(connection, found, work(found.case, now), author=operator, now=now)
            details = {"operator": operator, "number": found.case.number}
            subject = f"case {case_id}"
            await audit.append(connection, now=now, actor=by, action=f"sos.{action}", subject=subject, details=details)
        self.texts.wake()
        return kept

    def wait_s(self, case: Case) -> float | None:
        """About how long an answer to this case would wait."""
        link = self.texts.link_for(case.phone)
        return self.texts.wait_s(link, beam_of(case), Rank.SOS, case.phone) if link else None

    async def run(self) -> None:
        """Until cancelled: ask again where nobody answered."""
        while True:
            try:
                if await self.store.leads():
                    await self._ask_again()
            except Exception:
                logger.exception("asking again failed; it is tried again")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _ask_again(self) -> None:
        now = self.clock()
        async with self.store.read() as connection:
            due = [each for each in await sos.asking(connection) if (at := sos_case.next_timer(each.case)) is not None and at <= now]
        for each in due:
            try:
                async with self.store.write() as connection:
                    found = await sos.find(connection, each.case_id)
                    if found is not None:
                        await self._store(connection, found, sos_case.handle_timer(found.case, now), author=AUTOMATIC, now=now)
            except StoreUnavailable:
                raise
            except Exception:
                logger.exception("case %s could not be asked again; the others are", each.case_id)
        if due:
            self.texts.wake()


def beam_of(case: Case) -> str:
    """The beam that reaches a case: a square of about a beam's width (79 km) around its position; without a position the common queue.

    The operator's network knows the true beam; the squares keep one place's flood from delaying another's.
    """
    if case.position is None:
        return ""
    return f"{round(case.position.latitude / 0.71)}/{round(case.position.longitude / 0.97)}"
