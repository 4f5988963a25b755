"""PostgreSQL is restarted under two people who talk: nobody hears it, and what they write meanwhile arrives once.

Real: PostgreSQL, NATS, the server over both, browsers, relay, calls, texts, commits. The database is away for as long as it takes until
both phones have seen that what they sent was not taken.
"""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from playwright.sync_api import Playwright, expect

from tests.control.peers import PASSWORD, Nats, Postgresql
from tests.system.conftest import Recordings
from tests.system.phones import NEEDS_CHROMIUM, NEEDS_SPEECH, PATIENCE_MS, RAW_MICROPHONE, Phone, phone
from tests.system.service import running
from tests.system.test_call import short_code, talk
from tests.system.test_offline import expect_waiting

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_SPEECH]
DATABASE = "postgres"
PACKETS = 100
POLL_MS = 200


def write_in_the_dark(first: Phone, second: Phone, round_of: str) -> tuple[str, str]:
    """Both write, and see that it was not taken."""
    texts = f"{round_of}, from {first.name}", f"{round_of}, from {second.name}"
    for of, to, text in ((first, second, texts[0]), (second, first, texts[1])):
        of.write(to.name, text)
        expect_waiting(of, text)
    return texts


def expect_once(of: Phone, texts: tuple[str, str]) -> None:
    for text in texts:
        row = of.page.locator(".entries").get_by_role("listitem").filter(has_text=text)  # the list of contacts shows the last one too
        expect(row).to_have_count(1, timeout=PATIENCE_MS)
        expect(row.get_by_text("Waiting", exact=True)).to_have_count(0, timeout=PATIENCE_MS)


def expect_more_sound(*phones: Phone) -> None:
    """Frames go on to be opened: on the screen, and packet by packet. How it sounds is for the tests of calls."""
    for each in phones:
        before = each.heard()["packetsReceived"]
        each.expect_audio()
        while each.heard()["packetsReceived"] < before + PACKETS:
            each.page.wait_for_timeout(POLL_MS)
        each.expect_audio()


async def epochs(own_postgresql: Postgresql) -> list[int]:
    """Of the one conversation, those that a commit was accepted in, in order of acceptance."""
    connection = await asyncpg.connect(own_postgresql.url(DATABASE), password=PASSWORD)
    try:
        return [int(row["epoch"]) for row in await connection.fetch("SELECT epoch FROM commits ORDER BY accepted_at")]
    finally:
        await connection.close()


def test_the_database_crashes_and_comes_back_under_two_who_talk(
    playwright: Playwright,
    recordings: Recordings,
    tmp_path: Path,
    own_postgresql: Postgresql,
    nats_server: Nats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRAMONTANA_DATABASE_PASSWORD", PASSWORD)
    with (
        running(tmp_path / "data", "--database", own_postgresql.url(DATABASE), "--events", nats_server.url) as service,
        phone(playwright, "Ada", recordings.ship, RAW_MICROPHONE) as ada,
        phone(playwright, "Bruno", recordings.perugia, RAW_MICROPHONE) as bruno,
    ):
        for each, link in zip((ada, bruno), service.invitations(), strict=False):
            each.enrol(link)
        ada.open_thread("Bruno")
        bruno.open_thread("Ada")
        talk(ada, bruno)
        code = short_code(ada)

        own_postgresql.stop(signal.SIGQUIT)  # as in a crash
        for each in (ada, bruno):
            each.page.get_by_role("button", name="Messages", exact=True).click()
        first = write_in_the_dark(ada, bruno, "Without a database")
        expect_more_sound(ada, bruno)  # the server has nothing to do with what is said
        own_postgresql.start()
        for each in (ada, bruno):
            expect_once(each, first)
            each.page.get_by_role("button", name="Show call").click()
            each.expect_audio()
        assert short_code(ada) == short_code(bruno) == code, "it is still the same call"

        # Once more, and now both have a commit to make meanwhile: whoever hangs up renews the keys.
        own_postgresql.stop(signal.SIGQUIT)
        for each in (ada, bruno):
            each.hang_up()
            each.page.get_by_role("button", name="Close", exact=True).click()
        second = write_in_the_dark(ada, bruno, "Hung up")
        own_postgresql.start()
        for each in (ada, bruno):
            expect_once(each, second)
        talk(bruno, ada)
        assert short_code(ada) == short_code(bruno) != code, "both are in the same epoch"
        expect_more_sound(ada, bruno)
        with ThreadPoolExecutor(1) as elsewhere:  # Playwright has this thread's event loop
            accepted = elsewhere.submit(asyncio.run, epochs(own_postgresql)).result()
        assert accepted == list(range(len(accepted)))
