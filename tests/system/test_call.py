"""The main job: two real browsers hold an end-to-end encrypted call over a satellite path, and the server learns nothing."""

from __future__ import annotations

import base64
import random
import re
import struct
import time
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, expect

from tests.system.audio import OTHER_SPEECH, match
from tests.system.conftest import Line, Recordings
from tests.system.phones import NEEDS_CHROMIUM, NEEDS_SPEECH, PATIENCE_MS, RAW_MICROPHONE, WRONG_MEDIA_KEY, Phone, phone
from tests.system.service import running

DELIVERED = re.compile(r"^(Delivered|Read)$")
"""Whoever has the thread in front of him has read what was delivered."""

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_SPEECH]


def talk(caller: Phone, callee: Phone) -> None:
    caller.call(callee.name)
    callee.answer()
    caller.expect_audio()
    callee.expect_audio()


def noise_png(width: int, height: int) -> bytes:
    """A grey picture that does not shrink (PNG, W3C Recommendation, third edition, §5): more than two chunks of an attachment."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    rows = b"".join(b"\0" + random.Random(row).randbytes(2 * width) for row in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def short_code(of: Phone) -> str:
    shown = of.page.get_by_text(re.compile(r"^\d{3}\s\d{3}$"))
    expect(shown).to_be_visible()
    return shown.inner_text()


def send_picture(ada: Phone, bruno: Phone, picture: Path) -> None:
    """Sealed in chunks, shown and saved by the other one."""
    picture.write_bytes(noise_png(300, 300))
    with ada.page.expect_file_chooser() as chooser:
        ada.page.get_by_role("button", name="Send a file").click()
    chooser.value.set_files(picture)
    bruno.expect_text("bridge.png")
    bruno.page.get_by_role("button", name="Show picture bridge.png").click()
    shown = bruno.page.get_by_role("img", name="bridge.png")
    expect(shown).to_be_visible(timeout=PATIENCE_MS)
    bruno.page.wait_for_function("() => document.querySelector('img.file-picture')?.naturalWidth === 300", timeout=PATIENCE_MS)
    with bruno.page.expect_download() as download:
        bruno.page.get_by_role("button", name="Save bridge.png").click()
    assert download.value.suggested_filename == "bridge.png"
    assert Path(download.value.path()).read_bytes() == picture.read_bytes()
    delivered = ada.page.get_by_role("listitem").filter(has_text="bridge.png").get_by_text(DELIVERED)
    expect(delivered).to_be_visible(timeout=PATIENCE_MS)


def send_voice(ada: Phone, bruno: Phone) -> None:
    """Recorded for some seconds by keyboard, and played by the other one."""
    ada.page.get_by_role("button", name="Record a voice message").press("Enter")
    recorder = ada.page.get_by_role("group", name="Voice message")
    expect(recorder.get_by_role("timer")).to_have_text(re.compile(r"^0:(0[3-9]|[1-5]\d)$"), timeout=PATIENCE_MS)
    recorder.get_by_role("button", name="Send").press("Enter")
    bruno.page.get_by_role("button", name=re.compile("^Play Voice message, 0:")).press("Enter", timeout=PATIENCE_MS)
    bruno.page.wait_for_function("() => document.querySelector('audio.file-voice')?.currentTime > 1", timeout=PATIENCE_MS)
    expect(ada.page.get_by_role("listitem").filter(has_text="Voice message").get_by_text(DELIVERED).first).to_be_visible(
        timeout=PATIENCE_MS
    )


def test_two_phones_hear_each_other_over_a_satellite_path(line: Line, recordings: Recordings) -> None:
    ada, bruno = line.ada, line.bruno
    talk(ada, bruno)

    assert short_code(ada) == short_code(bruno)
    for each in (ada, bruno):
        panel = each.page.get_by_role("region", name="Your path")
        expect(panel.get_by_text("Simulated").first).to_be_visible()
        expect(panel.get_by_text(re.compile(r"GEN1 AS FILED")).first).to_be_visible()
        expect(panel.get_by_text(re.compile(r"^\d+\sms$")).first).to_be_visible()
        expect(panel.get_by_text("Next handover in")).to_be_visible()
    assert line.service.wait_for_line("1 call in progress", timeout_s=40)

    at_bruno, at_ada = bruno.expect_speech(recordings.ship, 9), ada.expect_speech(recordings.perugia, 9)
    assert match(*at_bruno, recordings.perugia).stoi < OTHER_SPEECH
    assert match(*at_ada, recordings.ship).stoi < OTHER_SPEECH

    # The round trip that WebRTC measures crosses both phones' paths twice: more than any terrestrial loopback would show.
    measured = ada.page.get_by_text("Round trip").locator("..").get_by_text(re.compile(r"\d+\sms"))
    expect(measured).to_be_visible()
    assert int(re.findall(r"\d+", measured.inner_text())[0]) >= 40

    ada.hang_up()
    bruno.expect_text("Incoming call")
    line.service.wait_for_line("0 calls in progress", timeout_s=40)


def test_texts_and_a_picture_travel_and_show_their_state(line: Line, tmp_path: Path) -> None:
    ada, bruno = line.ada, line.bruno
    ada.write("Bruno", "Is the road to Norcia open?")
    bruno.expect_text("Is the road to Norcia open?")
    expect(ada.page.get_by_role("listitem").get_by_text(DELIVERED).first).to_be_visible(timeout=PATIENCE_MS)
    bruno.write("Ada", "Closed since Tuesday.")
    ada.expect_text("Closed since Tuesday.")

    # A phone that is away gets it later, and a phone that is opened again still has everything.
    bruno.page.goto("about:blank")
    ada.write("Bruno", "Call me when you are back.")
    expect(ada.page.get_by_role("listitem").get_by_text("Sent", exact=True)).to_be_visible()
    bruno.page.go_back()
    bruno.open_thread("Ada")
    for text in ("Is the road to Norcia open?", "Closed since Tuesday.", "Call me when you are back."):
        bruno.expect_text(text)
    ada.page.reload()
    ada.open_thread("Bruno")
    ada.expect_text("Closed since Tuesday.")

    send_picture(ada, bruno, tmp_path / "bridge.png")
    send_voice(ada, bruno)


def test_a_call_is_declined_cancelled_and_missed(line: Line) -> None:
    ada, bruno = line.ada, line.bruno
    ada.call("Bruno")
    bruno.page.get_by_role("button", name="Decline").click()
    ada.expect_text("Call declined")
    ada.page.get_by_role("button", name="Close").click()

    ada.call("Bruno")
    expect(bruno.page.get_by_role("button", name="Answer")).to_be_visible()
    ada.page.get_by_role("button", name="Cancel call").click()
    bruno.expect_text("Missed call")
    expect(bruno.page.get_by_role("button", name="Answer")).to_be_hidden()


def test_the_server_dies_in_mid_call(line: Line, recordings: Recordings) -> None:
    ada, bruno, service = line.ada, line.bruno, line.service
    talk(ada, bruno)
    seen = len(service.lines)
    service.kill_child("serve")
    bruno.expect_speech(recordings.ship)  # begins while there is no server
    service.wait_for_line("The server runs again", after=seen)
    ada.page.get_by_role("button", name="Messages", exact=True).click()
    ada.write("Bruno", "Did you notice the restart?")
    bruno.page.get_by_role("button", name="Messages", exact=True).click()
    bruno.expect_text("Did you notice the restart?")
    ada.expect_speech(recordings.perugia)
    service.wait_for_line("1 call in progress", timeout_s=40, after=seen)


def test_a_wrong_key_gives_silence_and_says_so(playwright: Playwright, recordings: Recordings, tmp_path: Path) -> None:
    with (
        running(tmp_path / "data") as service,
        phone(playwright, "Ada", recordings.ship, RAW_MICROPHONE, WRONG_MEDIA_KEY) as ada,
        phone(playwright, "Bruno", recordings.perugia, RAW_MICROPHONE) as bruno,
    ):
        first, second = service.invitations()
        ada.enrol(first)
        bruno.enrol(second)
        ada.open_thread("Bruno")
        ada.call("Bruno")
        bruno.answer()
        expect(bruno.page.get_by_role("alert").filter(has_text="cannot be decrypted").first).to_be_visible()
        heard, _ = bruno.listen(4)
        assert float(abs(heard).max()) < 0.001
        ada.expect_audio()  # the other direction has the right key: the test's own instrument works
        ada.expect_speech(recordings.perugia)


def test_the_server_keeps_and_logs_neither_plaintext_nor_key(line: Line) -> None:
    ada, bruno, service = line.ada, line.bruno, line.service
    texts = ["Meet at the prefecture at nine", "Understood, at nine"]
    ada.write("Bruno", texts[0])
    bruno.expect_text(texts[0])
    bruno.write("Ada", texts[1])
    ada.expect_text(texts[1])
    talk(ada, bruno)
    time.sleep(2)
    ada.hang_up()
    bruno.expect_text("Incoming call")
    keys = {key for each in (ada, bruno) for key in each.secrets() if any(key)}
    descriptions = {sdp for each in (ada, bruno) for sdp in each.page.evaluate("[...window.testWatch.sdp]")}
    assert len(keys) > 20, "the instrument saw no keys"
    assert len(descriptions) == 2

    tokens = [re.split("[=&]", link)[1] for link in (*service.invitations(), service.administrator_link())]
    printed = service.output
    for token in tokens:
        printed = printed.replace(token, "", 1)  # printed once, on purpose, for the person at the terminal
    running_files = {path: path.read_bytes() for path in service.data.rglob("*") if path.is_file()}
    service.stop()
    stopped_files = {path: path.read_bytes() for path in service.data.rglob("*") if path.is_file()}
    assert sum(len(content) for path, content in running_files.items() if path.name.startswith("tramontana.db")) > 50_000
    everything = b"\0".join([printed.encode(), *running_files.values(), *stopped_files.values()])

    secret_lines = {part for sdp in descriptions for part in sdp.splitlines() if re.match(r"a=(ice-ufrag|ice-pwd|fingerprint)", part)}
    assert len(secret_lines) >= 6
    for text in (*texts, *secret_lines, *tokens, "candidate:"):
        assert text.encode() not in everything
    for key in keys:
        for form in (key, key.hex().encode(), base64.b64encode(key).rstrip(b"="), base64.urlsafe_b64encode(key).rstrip(b"=")):
            assert form not in everything
