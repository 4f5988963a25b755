"""`tramontana phone`: a phone without a browser, for machines that answer, announce, or watch the network."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tramontana.cli.beside import beside, run_until_stopped
from tramontana.cli.passphrases import passphrase, passphrase_fd_option, passphrase_option
from tramontana.device.device import Device
from tramontana.device.driver import OnlineDevice, ask_once
from tramontana.device.enrolment import Enrolment, Invitation, enrol
from tramontana.device.storage.driver import FILE_NAME, SealedStore
from tramontana.errors import LocalError, RemoteError
from tramontana.precedence import Precedence

if TYPE_CHECKING:
    from tramontana.phone.headless.call import CallState
    from tramontana.phone.headless.driver import HeadlessPhone
    from tramontana.phone.headless.measurement import Measurement
    from tramontana.phone.headless.media.driver import Recorder

T = TypeVar("T")
Command = Callable[..., None]

CALL_WITHIN_S = 90.0
"""A call rings for 45 s and connects within 30 s (docs/protocols.md); after this nothing more comes of it."""
REPORTS_S = 6.0
"""RTCP reports come every few seconds: a call that is measured lasts at least so long."""


_SOUND = click.Path(exists=True, dir_okay=False, path_type=Path)


class CallFailed(RemoteError):
    """The call did not come about; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where a device is, and how its passphrase is had."""

    data: Path
    passphrase_file: Path | None
    passphrase_fd: int | None

    def secret(self, *, new: bool = False) -> str:
        return passphrase(self.passphrase_file, "this device", new=new, descriptor=self.passphrase_fd)

    @contextlib.contextmanager
    def opened(self) -> Iterator[SealedStore]:
        store = SealedStore.open(self.data, self.secret())
        try:
            yield store
        finally:
            store.close()


def place_options(command: Command) -> Command:
    """Adds the options of `Place` and passes it as `place`."""

    @click.option(
        "--data", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIRECTORY", help="Where this device is kept."
    )
    @passphrase_option
    @passphrase_fd_option
    @functools.wraps(command)
    def run(*arguments: Any, data: Path, passphrase_file: Path | None, passphrase_fd: int | None, **others: Any) -> None:
        command(*arguments, place=Place(data.absolute(), passphrase_file, passphrase_fd), **others)

    return run


def voice_options(command: Command) -> Command:
    """Adds options for what is said and heard."""
    for option in (
        click.option(
            "--play", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Sound to play, again and again; else silence."
        ),
        click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="WAV file for what is heard."),
        click.option("--json", "as_json", is_flag=True, help="Say what happens as JSON, one object a line."),
    ):
        command = option(command)
    return command


precedence_option = click.option(
    "--precedence",
    type=click.Choice([level.label for level in Precedence]),
    default="routine",
    show_default=True,
    help="Level of the call.",
)


@click.group()
def phone() -> None:
    """A phone without a browser: answers, calls, measures. Needs the extra `headless` (pip install 'tramontana[headless]')."""


@phone.command("enrol")
@place_options
@click.option("--name", required=True, help="What the device is called, as people read it.")
@click.option("--wait/--no-wait", default=True, help="Wait until a custodian has certified it.")
@click.argument("link")
def enrol_command(place: Place, name: str, wait: bool, link: str) -> None:
    """Make this directory a device of the organisation that the invitation LINK names."""
    invitation = Invitation.parse(link)
    # A directory whose enrolment got no answer keeps its key: asked for again with it, the invitation is not used up.
    is_begun = (place.data / FILE_NAME).exists()
    secret = place.secret(new=not is_begun)
    store = SealedStore.open(place.data, secret) if is_begun else SealedStore.make(place.data, secret)
    try:
        if Enrolment.read(store) is not None:
            raise LocalError(f"there is a device in {place.data} already: use it, or choose another directory with --data")
        asyncio.run(ask_once(invitation.origin, enrol(store, invitation, name.strip())))
        device = Device(store)
        click.echo(f"Enrolled at {device.membership.root.name}. Code {device.code}: read it to the custodian who certifies you.")
        if wait:
            run_until_stopped(_certified(device))
            click.echo(f"Certified as {device.membership.name_of(device.enrolment.account_id)}.")
    finally:
        store.close()


async def _certified(device: Device) -> None:
    connected = OnlineDevice(device)

    async def known() -> None:
        await connected.until_certified()
        await connected.online.wait()  # its key packages are at the server then: it can be called from now on

    try:
        await beside(connected.run(), known())
    finally:
        await connected.close()


@phone.command()
@place_options
@voice_options
@click.option("--seconds", type=click.FloatRange(min=1), help="Hang up so long after the first sound; else the caller does.")
@click.option("--calls", type=click.IntRange(min=1), help="End after so many calls; else after Ctrl-C.")
def answer(place: Place, play: Path | None, record: Path | None, as_json: bool, seconds: float | None, calls: int | None) -> None:
    """Take every call by itself, until Ctrl-C."""
    say = _Say(as_json)
    with place.opened() as store, _phone(store, say, play, record, answers=True) as made:
        run_until_stopped(_answering(made, say, seconds, calls))


async def _answering(made: HeadlessPhone, say: _Say, seconds: float | None, calls: int | None) -> None:
    async def work() -> None:
        await made.online.online.wait()
        say("waiting", "Waiting for calls; Ctrl-C ends.")
        seen = ""
        for _ in range(calls or 1 << 62):
            state = await made.until(lambda state, seen=seen: state is not None and state.call_id != seen)  # type: ignore[misc]
            assert state is not None
            seen = state.call_id
            await _accompany(made, say, seen, seconds)

    await beside(made.run(), work())


@phone.command()
@place_options
@voice_options
@precedence_option
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(min=1), help="Hang up so long after the first sound.")
@click.argument("name")
def call(place: Place, play: Path | None, record: Path | None, as_json: bool, precedence: str, seconds: float, name: str) -> None:
    """Call the person of this NAME (or account id), play, record, and hang up."""
    say = _Say(as_json)
    with place.opened() as store, _phone(store, say, play, record) as made:
        run_until_stopped(_calling(made, say, name, Precedence.parse(precedence), seconds))


async def _calling(made: HeadlessPhone, say: _Say, name: str, precedence: Precedence, seconds: float) -> None:
    async def work() -> None:
        await made.online.online.wait()
        call_id = made.dial(made.online.device.find(name, made.online.now()), precedence)
        say("calling", f"Calling {name}.")
        state = await _accompany(made, say, call_id, seconds)
        if state.outcome != "answered":
            fault = made.line.fault if made.line is not None else None
            raise CallFailed(f"the call did not come about: {state.outcome}{f' ({fault})' if fault else ''}; try again later")

    await beside(made.run(), work())


async def _accompany(made: HeadlessPhone, say: _Say, call_id: str, seconds: float | None) -> CallState:
    """Say how a call goes on; hang up `seconds` after its first sound."""
    ended = asyncio.ensure_future(made.until(lambda state: state is None or state.call_id != call_id or state.outcome is not None))
    try:
        state = await made.until(lambda state: _is_over(state, call_id) or (_is_heard(state) and made.code is not None))
        if not _is_over(state, call_id):
            assert state is not None
            code = made.code or ""
            who = made.online.device.membership.name_of(state.peer) or state.peer
            say("talking", f"Talking with {who}, code {code[:3]} {code[3:]}.", call_id=call_id, peer=who, code=code)
            await asyncio.wait([ended], timeout=seconds)
            if not ended.done():
                made.hang_up()
        last = await ended
    finally:
        ended.cancel()
    if last is None or last.call_id != call_id:
        raise CallFailed("another call took its place")
    say("ended", f"Ended: {last.outcome}.", call_id=call_id, outcome=last.outcome)
    return last


def _is_over(state: CallState | None, call_id: str) -> bool:
    return state is None or state.call_id != call_id or state.outcome is not None


def _is_heard(state: CallState | None) -> bool:
    return state is not None and state.audio_since is not None


@phone.command()
@place_options
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="WAV file for what is heard; else nothing is kept.")
@click.option("--json", "as_json", is_flag=True, help="Say what happens as JSON, one object a line.")
@click.option("--seconds", type=click.FloatRange(min=1), help="End after so long; else after Ctrl-C.")
@click.argument("title")
def listen(place: Place, record: Path | None, as_json: bool, seconds: float | None, title: str) -> None:
    """Listen to the talk group of this TITLE (or id); its members see this device as one of them."""
    say = _Say(as_json)
    with place.opened() as store, _headless():
        from tramontana.phone.headless.media.driver import Recorder

        recorder = None if record is None else Recorder(record)
        try:
            run_until_stopped(_listening(Device(store), recorder, say, title, seconds))
        finally:
            if recorder is not None:
                recorder.close()


async def _listening(device: Device, recorder: Recorder | None, say: _Say, title: str, seconds: float | None) -> None:
    from tramontana.phone.headless.listener.driver import Listener

    def speaks(device_id: str | None) -> None:
        certificate = None if device_id is None else device.membership.certificate(device_id)
        name = None if certificate is None else device.membership.name_of(certificate.grant.account_id)
        say("floor", f"{name} speaks." if name else "The floor is free.", device_id=device_id, name=name)

    def joined(call_id: str | None) -> None:
        say("joined" if call_id else "left", "In the call." if call_id else "Out of the call.", call_id=call_id)

    made = Listener(device, recorder=recorder, on_floor=speaks, on_call=joined, on_refused=_dropped)

    async def work() -> None:
        await made.online.online.wait()
        conversation_id = made.find(title)
        say("waiting", "Waiting for somebody to speak; Ctrl-C ends.", conversation_id=conversation_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await made.listen(conversation_id)
        senders = made.gate.senders.values() if made.gate is not None else ()
        heard, lost = sum(each.opened for each in senders), sum(each.lost for each in senders)
        say("ended", f"{heard} frames heard, {lost} lost.", frames=heard, lost=lost)

    await beside(made.run(), work())


@phone.command()
@place_options
@precedence_option
@click.option(
    "--every",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="From one call's beginning to the next.",
)
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(min=REPORTS_S), help="Length of a call.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many; else after Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and measurement, with how each figure came about.")
@click.option(
    "--metrics",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for a monitoring system (Prometheus text), replaced as a whole after every measurement.",
)
@click.argument("name")
def measure(
    place: Place, precedence: str, every: float, seconds: float, count: int | None, as_json: bool, metrics: Path | None, name: str
) -> None:
    """Call NAME again and again and say what the calls are like: the network operator's monitor. Progress goes to standard error."""
    with place.opened() as store, _phone(store, _Say(False, quiet=True), None, None) as made:
        from tramontana.cli.phone_metrics import MetricsFile

        def said(taken: Measurement) -> None:
            click.echo(json.dumps(taken.document(), ensure_ascii=False) if as_json else _sentence(taken))
            if file is not None:
                file.take(taken)

        file = None if metrics is None else MetricsFile(metrics)
        run_until_stopped(_measuring(made, name, Precedence.parse(precedence), every, seconds, count, said))


async def _measuring(
    made: HeadlessPhone,
    name: str,
    precedence: Precedence,
    every: float,
    seconds: float,
    count: int | None,
    said: Callable[[Measurement], None],
) -> None:
    async def work() -> None:
        await made.online.online.wait()
        account_id = made.online.device.find(name, made.online.now())
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number in range(1, (count or 1 << 62) + 1):
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + every, loop.time())
            click.echo(f"{time.strftime('%H:%M:%S', time.gmtime())} UTC  measurement {number}: calling {name}", err=True)
            said(await _measured(made, account_id, name, precedence, seconds))

    await beside(made.run(), work())


async def _measured(made: HeadlessPhone, account_id: str, name: str, precedence: Precedence, seconds: float) -> Measurement:
    from tramontana.phone.headless.measurement import Measurement

    began_at = time.time()
    call_id = made.dial(account_id, precedence)
    line = made.line
    assert line is not None
    state: CallState | None = None
    try:
        async with asyncio.timeout(CALL_WITHIN_S + seconds):
            state = await made.until(lambda state: _is_over(state, call_id) or _is_heard(state))
            if not _is_over(state, call_id):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await made.until(lambda state: _is_over(state, call_id))
    except TimeoutError:
        line.fault = line.fault or "no end of the call within the time that one takes"
    round_trip_s = line.media.round_trip_s if line.media is not None else None
    made.hang_up()
    state = await made.until(lambda state: _is_over(state, call_id))
    assert state is not None
    media = line.media
    set_up_s = None if state.audio_since is None else state.audio_since - state.began_at
    heard = None if media is None or set_up_s is None else media.meter.result()
    playout_s = media.playout.delay_s if media is not None else 0.0
    return Measurement(began_at, name, state.outcome or "failed", line.is_simulated, set_up_s, round_trip_s, playout_s, heard, line.fault)


def _sentence(taken: Measurement) -> str:
    shown = taken.document()
    if taken.heard is None:
        return f"{taken.to}: {taken.outcome}{f' ({taken.fault})' if taken.fault else ''}"

    def figure(name: str, unit: str) -> str:
        value = shown[name][unit]
        if value is None:
            return "–"
        return f"{100 * value:.2f} %" if unit == "share" else f"{value:.0f} ms"

    measured = f"set-up {figure('set_up', 'ms')}, loss {figure('loss', 'share')}, jitter {figure('jitter', 'ms')}"
    measured += f", round trip {figure('round_trip', 'ms')}, {shown['gaps']['count']} gaps, the longest {figure('gaps', 'longest_ms')}"
    return f"{taken.to}: measured: {measured}; computed: delay {figure('delay', 'ms')}; radio path {shown['radio_path']}"


class _Say:
    """What happens, for a person or a program."""

    def __init__(self, as_json: bool, *, quiet: bool = False) -> None:
        self._as_json, self._quiet = as_json, quiet

    def __call__(self, event: str, sentence: str, **fields: object) -> None:
        if self._as_json:
            click.echo(json.dumps({"event": event, **fields}, ensure_ascii=False))
        elif not self._quiet:
            click.echo(sentence)


def _dropped(sentence: str) -> None:
    click.echo(f"dropped: {sentence}", err=True)


@contextlib.contextmanager
def _headless() -> Iterator[None]:
    """Says which extra is missing, if it is."""
    try:
        yield
    except ImportError as error:
        raise LocalError(f"this needs the extra `headless` ({error.name} is missing): pip install 'tramontana[headless]'") from error


@contextlib.contextmanager
def _phone(store: SealedStore, say: _Say, play: Path | None, record: Path | None, *, answers: bool = False) -> Iterator[HeadlessPhone]:
    with _headless():
        from tramontana.phone.headless.driver import HeadlessPhone
        from tramontana.phone.headless.media.driver import Recorder, load_voice
    device, voice = Device(store), load_voice(play)
    recorder = None if record is None else Recorder(record)

    try:
        yield HeadlessPhone(device, voice=voice, recorder=recorder, answers=answers, on_refused=_dropped)
    finally:
        if recorder is not None:
            recorder.close()
