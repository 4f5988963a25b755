"""Conferences and talk groups in real browsers: six phones, one is put out and can read nothing any more; push to talk."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Playwright, Route, expect

from tests.system.conftest import Recordings
from tests.system.phones import NEEDS_CHROMIUM, NEEDS_SPEECH, PATIENCE_MS, WATCH, Phone, chromium
from tests.system.service import running
from tests.system.test_precedence import Administrator

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_SPEECH]

POLL_MS = 100
FRAMES = 50
NAMES = ("Ada", "Bruno", "Consulate", "Dockyard", "Embassy", "Field post")
# What the worker that seals and opens the frames of a conference has counted; and a way to speak with the tap in it.
COUNTS = """
(() => {
  const Original = Worker;
  window.Worker = class extends Original {
    constructor(...settings) {
      super(...settings);
      window.testWorker = this;
      this.addEventListener('message', ({ data }) => data.kind === 'counts' && (window.testCounts = data.counts));
    }
  };
  window.testAsk = (question) => new Promise((resolve) => {
    const hear = ({ data }) => {
      if (data.test !== question.test) return;
      window.testWorker.removeEventListener('message', hear);
      resolve(data.answer);
    };
    window.testWorker.addEventListener('message', hear);
    window.testWorker.postMessage(question);
  });
})();
"""

# Put before the worker's own code. It keeps a copy of every sealed frame that comes from the forwarder; when told to, it withholds them
# from the phone; and it hands sealed frames to the phone's own gate, with whatever keys that has, and says how many it opens.
TAP = """
let gate = null, withholds = false, kept = [];
Object.defineProperty(self, 'onrtctransform', { set: (handler) => { gate = handler; } });
self.addEventListener('rtctransform', ({ transformer: { readable, writable, options } }) => {
  if (options.direction !== 'receive') return gate({ transformer: { readable, writable, options } });
  const tapped = readable.pipeThrough(new TransformStream({
    transform(frame, controller) {
      if (frame.data.byteLength > 0) kept.push(frame.data.slice(0));
      if (!withholds) controller.enqueue(frame);
    },
  }));
  gate({ transformer: { readable: tapped, writable, options } });
});
self.addEventListener('message', ({ data }) => {
  const answer = (value) => self.postMessage({ test: data.test, answer: value });
  if (data.test === 'withhold') { withholds = true; kept = []; answer(true); }
  if (data.test === 'forget') { kept = []; answer(true); }
  if (data.test === 'kept') answer(kept.slice(-data.count).map((frame) => [...new Uint8Array(frame)]));
  if (data.test === 'open') {
    let opened = 0;
    const frames = data.frames.map((bytes) => ({ data: new Uint8Array(bytes).buffer, timestamp: 0, getMetadata: () => ({}) }));
    const readable = new ReadableStream({ start(controller) { frames.forEach((one) => controller.enqueue(one)); controller.close(); } });
    const writable = new WritableStream({ write() { opened += 1; }, close() { answer(opened); } });
    gate({ transformer: { readable, writable, options: { direction: 'receive', slot: 0 } } });
  }
});
"""

# A phone that does not let go: it keeps connection, worker and keys when it is put out, and does not tell the server that it has left.
CLINGS = """
(() => {
  Worker.prototype.terminate = function () {};
  RTCPeerConnection.prototype.close = function () {};
  const { fetch } = window;
  window.fetch = (input, init) => (init?.method === 'DELETE' ? new Promise(() => {}) : fetch.call(window, input, init));
})();
"""


@contextmanager
def phones(
    playwright: Playwright, recordings: Recordings, data: Path, names: tuple[str, ...], clinging: str = ""
) -> Iterator[dict[str, Phone]]:
    """Enrolled phones that all see each other, in one browser with a store for each."""
    with ExitStack() as stack:
        service = stack.enter_context(running(data))
        administrator = stack.enter_context(Administrator.of(service))
        browser = stack.enter_context(chromium(playwright, f"--use-file-for-fake-audio-capture={recordings.ship}"))
        made: dict[str, Phone] = {}
        for name in names:
            context = browser.new_context(locale="en-GB", permissions=["microphone"], viewport={"width": 900, "height": 700})
            for script in (WATCH, COUNTS, CLINGS if name == clinging else ""):
                context.add_init_script(script)
            context.route("**/media-worker*.js", tap)
            made[name] = Phone(context.new_page(), name)
            made[name].enrol(service.authorise(administrator.post("/invitations", {"note": name})["link"]))
        yield made


def tap(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=TAP + answer.text())


def ask(of: Phone, question: str, **more: object) -> Any:
    """Of the tap in a phone's worker."""
    return of.page.evaluate("(question) => window.testAsk(question)", {"test": question, **more})


def wait_until(of: Phone, condition: Callable[[], bool]) -> None:
    """Lets the pages work on until it holds; fails the test when it takes too long."""
    deadline = time.monotonic() + PATIENCE_MS / 1_000
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        of.page.wait_for_timeout(POLL_MS)


def sealed_frames(of: Phone, count: int) -> list[list[int]]:
    """The last frames that the forwarder sent this phone, as they came; waits until there are as many."""
    wait_until(of, lambda: len(ask(of, "kept", count=count)) == count)
    return list(ask(of, "kept", count=count))


def make_group(by: Phone, others: list[Phone], title: str, kind: str) -> None:
    """And waits until the others see it."""
    found_group(by, [other.name for other in others], title, kind)
    for other in others:
        expect(other.page.get_by_role("list").get_by_role("button", name=title).first).to_be_visible(timeout=PATIENCE_MS)


def found_group(by: Phone, others: Iterable[str], title: str, kind: str) -> None:
    page = by.page
    page.get_by_role("button", name="New group").click()
    page.get_by_label("Name of the group").fill(title)
    page.get_by_role("radio", name=re.compile(f"^{kind} ")).check()
    for other in others:
        page.get_by_role("checkbox", name=other).check()
    page.get_by_role("button", name="Make the group").click()
    expect(page.get_by_role("heading", name=title)).to_be_visible(timeout=PATIENCE_MS)


def counts(of: Phone) -> dict[str, int]:
    return dict(of.page.evaluate("window.testCounts ?? { decrypted: 0, refused: 0, sealed: 0, withheld: 0 }"))


def wait_for_more(of: Phone, what: str, beyond: int) -> None:
    of.page.wait_for_function("([what, beyond]) => (window.testCounts?.[what] ?? 0) > beyond", arg=[what, beyond], timeout=PATIENCE_MS)


def code_of(one: Phone) -> str:
    code = one.page.get_by_role("region", name="Code of this conference").locator(".conference-code")
    expect(code).to_be_visible(timeout=PATIENCE_MS)
    return code.inner_text()


def test_six_confer_and_whoever_is_put_out_reads_not_one_frame_more(playwright: Playwright, recordings: Recordings, tmp_path: Path) -> None:
    with phones(playwright, recordings, tmp_path / "data", NAMES, clinging="Field post") as made:
        ada, leaver = made["Ada"], made["Field post"]
        others = [each for each in made.values() if each is not ada]
        make_group(ada, others, "Convoy", "Group")
        ada.page.get_by_role("button", name="Conference", exact=True).click()
        # One answers the ringing, the others come later, out of the thread.
        made["Bruno"].page.get_by_role("alertdialog").get_by_role("button", name="Join").click()
        for each in others[1:]:
            ringing = each.page.get_by_role("alertdialog").get_by_role("button", name="Decline")
            each.page.add_locator_handler(ringing, lambda decline: decline.click())
            each.page.get_by_role("list").get_by_role("button", name="Convoy").first.click()
            each.page.get_by_role("button", name="Conference", exact=True).click()
        for each in made.values():
            expect(each.page.get_by_role("heading", name="6 people here")).to_be_visible(timeout=PATIENCE_MS)
            wait_for_more(each, "decrypted", 50)
        expect(ada.page.get_by_text("Speaks").first).to_be_visible(timeout=PATIENCE_MS)
        before = code_of(ada)
        assert {code_of(each) for each in made.values()} == {before}

        # The leaver's phone is no more his own: it keeps what the forwarder sends, and its keys. Now it can still open it.
        ask(leaver, "withhold")
        assert ask(leaver, "open", frames=sealed_frames(leaver, FRAMES)) == FRAMES

        ada.page.get_by_role("button", name="Messages", exact=True).click()
        ada.page.get_by_role("button", name="Members and name").click()
        ada.page.get_by_role("button", name="Remove Field post").click()
        expect(leaver.page.get_by_text("The conference is over")).to_be_visible(timeout=PATIENCE_MS)
        stayers = [each for each in made.values() if each is not leaver]
        for each in stayers:
            expect(each.page.get_by_text("6 people here")).to_have_count(0, timeout=PATIENCE_MS)
        for each in stayers[1:]:
            expect(each.page.get_by_role("heading", name="5 people here")).to_be_visible(timeout=PATIENCE_MS)
        # Whoever still seals under the keys of before has not heard of the change: all five have to show the new code.
        ada.page.keyboard.press("Escape")
        ada.page.get_by_role("button", name="Show call").click()
        wait_until(ada, lambda: len(codes := {code_of(each) for each in stayers}) == 1 and before not in codes)
        # The frames that come to one who stayed, the next ones as they were sealed, are nothing to the leaver with all his keys.
        bruno = made["Bruno"]
        wait_for_more(bruno, "decrypted", counts(bruno)["decrypted"] + 6 * FRAMES)  # none of before the change is under way any more
        ask(bruno, "forget")
        after = sealed_frames(bruno, FRAMES)
        assert ask(leaver, "open", frames=after) == 0, sorted({bytes(frame[:4]).hex() for frame in after})
        # The forwarder sends him nothing any more either, though his phone did not hang up.
        ask(leaver, "forget")
        for each in stayers:
            wait_for_more(each, "decrypted", counts(each)["decrypted"] + FRAMES)
        assert ask(leaver, "kept", count=FRAMES) == []


def test_the_floor_of_a_talk_group_is_asked_for_with_the_space_bar(playwright: Playwright, recordings: Recordings, tmp_path: Path) -> None:
    with phones(playwright, recordings, tmp_path / "data", NAMES[:3]) as made:
        ada, bruno, consulate = made.values()
        make_group(ada, [bruno, consulate], "Harbour", "Talk group")
        for each in (bruno, consulate):
            each.page.get_by_role("list").get_by_role("button", name="Harbour").first.click()
        for each in made.values():
            each.page.get_by_role("button", name="Listen and talk").click()
            expect(each.page.get_by_text("The floor is free")).to_be_visible(timeout=PATIENCE_MS)
        assert [counts(each)["sealed"] for each in made.values()] == [0, 0, 0]

        ada.page.keyboard.down("Space")
        expect(ada.page.get_by_text("You have the floor: speak")).to_be_visible(timeout=PATIENCE_MS)
        for each in (bruno, consulate):
            expect(each.page.get_by_text("Ada is speaking")).to_be_visible(timeout=PATIENCE_MS)
            wait_for_more(each, "decrypted", 50)
        bruno.page.get_by_role("button", name="Hold to talk").hover()
        bruno.page.mouse.down()
        expect(bruno.page.get_by_text("You are number 1 of 1 in the queue")).to_be_visible(timeout=PATIENCE_MS)
        ada.page.keyboard.up("Space")
        expect(bruno.page.get_by_text("You have the floor: speak")).to_be_visible(timeout=PATIENCE_MS)
        expect(ada.page.get_by_text("Bruno is speaking")).to_be_visible(timeout=PATIENCE_MS)
        wait_for_more(ada, "decrypted", 50)
        sealed = counts(ada)["sealed"]
        bruno.page.mouse.up()
        expect(consulate.page.get_by_text("The floor is free")).to_be_visible(timeout=PATIENCE_MS)
        assert counts(ada)["sealed"] == sealed  # Ada's microphone has been shut since she let go
        assert counts(consulate)["sealed"] == 0
