"""`tramontana text`: sealed texts of this device, each one short message or one small datagram, where there is no network for more."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from tramontana.cell.small_text import decode_text, encode_text
from tramontana.cli.beside import beside, run_until_stopped
from tramontana.cli.phone import Place, place_options
from tramontana.cli.text_ways import NotTaken, Post, Way, for_one_device, keep_bound, receive_datagrams, send_datagrams
from tramontana.device import messages
from tramontana.device.device import Device
from tramontana.device.driver import OnlineDevice
from tramontana.device.sealed_post import Arrived, Departing
from tramontana.errors import LocalError, RemoteError
from tramontana.keys.sealed_text import EPOCH_KEPT_S, MOST_PLAINTEXT_BYTES, Gone, NotYet, Refused
from tramontana.precedence import Precedence

T = TypeVar("T")

AGAIN_AFTER_S = 2.0
"""Between two sendings of one datagram: longer than a handover between satellites takes."""

number_option = click.option(
    "--to", "number", default="", metavar="NUMBER", help="Telephone number, if not the one that the other device told."
)
device_option = click.option("--device", "device_id", metavar="ID", help="Which of the person's devices, where there are several.")
via_option = click.option(
    "--via", required=True, metavar="ADDRESS", help="server, udp://HOST:PORT, smpp://SYSTEM_ID@HOST:PORT, or smpps://… with TLS."
)
password_option = click.option(
    "--password-file", type=click.Path(dir_okay=False, path_type=Path), help="The message centre's password; readable by its owner alone."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group()
def text() -> None:
    """Sealed texts: end-to-end encrypted, each in one SMS or one small datagram of 140 octets, 117 of them yours.

    Meet a person once while there is a network; from then on texts need none. Keys that nobody renewed end three days after a new
    epoch began, and at once when somebody is taken out of the conversation.
    """


def _said(account_id: str, device: Device) -> str:
    return device.membership.name_of(account_id) or account_id


def _read(argument: str) -> str:
    """`-` is standard input."""
    return sys.stdin.read().rstrip("\n") if argument == "-" else argument


def _check_number(number: str) -> None:
    if not messages.is_number(number):
        raise LocalError(f"{number!r} is no telephone number: write digits with their country, for example +881612345678")


def _sealed(device: Device, name: str, body: str, device_id: str | None, number: str) -> Departing:
    now = time.time()
    if number:
        _check_number(number)
    plaintext = encode_text(body)
    leaving = device.seal_text(device.find(name, now), plaintext, now, device_id=device_id, number=number)
    click.echo(f"{len(plaintext)} of {MOST_PLAINTEXT_BYTES} octets, {len(leaving.datagram)} on the way.", err=True)
    if (met_at := device.followed_at) is not None and now - met_at > EPOCH_KEPT_S:
        days = (now - met_at) / 86400
        click.echo(
            f"warning: this device has had no network for {days:.0f} days: if the conversation has gone on, the other one can no longer "
            "open this. Ask for an answer.",
            err=True,
        )
    return leaving


async def _online(device: Device, work: Callable[[OnlineDevice], Awaitable[T]], on_sealed: Callable[[], None] | None = None) -> T:
    """Do something while the device is connected. Raises what either does."""

    def dropped(sentence: str) -> None:
        click.echo(f"dropped: {sentence}", err=True)

    connected = OnlineDevice(device, on_refused=dropped, on_sealed=on_sealed)
    try:
        return await beside(connected.run(), work(connected))
    finally:
        await connected.close()


@text.command()
@place_options
@click.option("--number", help="Where this device takes sealed texts: a telephone number, or `server` for one of the server's.")
@click.argument("name")
def meet(place: Place, number: str | None, name: str) -> None:
    """While there is a network: get keys for the person of this NAME, so that texts need none later."""
    if number is not None and number != "server":
        _check_number(number)
    with place.opened() as store:
        device = Device(store)

        async def work(connected: OnlineDevice) -> str:
            await connected.caught_up.wait()
            account_id = device.find(name, connected.now())
            conversation_id = device.conversations.with_peer(account_id)
            own = device.sealed.numbers().get(device.enrolment.device_id, "")
            if number is not None:
                own = await connected.ask(device.claim_number()) if number == "server" else number
                device.sealed.learn_number(device.enrolment.device_id, own)
            await connected.send(conversation_id, messages.number_told(own))
            await connected.in_conversation(conversation_id, lambda: device.tidy(conversation_id, connected.now()))
            return conversation_id

        conversation_id = asyncio.run(_online(device, work))
        numbers = device.sealed.numbers()
        for device_id in device.sealed.devices(conversation_id):
            click.echo(f"Keys for {name}'s device {device_id}{f', number {numbers[device_id]}' if device_id in numbers else ''}.")


@text.command()
@place_options
@number_option
@device_option
@click.option("--form", type=click.Choice(["hex", "octets"]), default="hex", show_default=True, help="How the datagram is written.")
@click.argument("name")
@click.argument("body")
def seal(place: Place, number: str, device_id: str | None, form: str, name: str, body: str) -> None:
    """Seal BODY (or - for standard input) for the person of this NAME, and write the datagram: whatever carries 140 octets may carry it."""
    with place.opened() as store:
        device = Device(store)
        leaving = _sealed(device, name, _read(body), device_id, number)
        if form == "hex":
            click.echo(leaving.datagram.hex())
        else:
            sys.stdout.buffer.write(leaving.datagram)
        device.sealed.departed(leaving.id)


@text.command("open")
@place_options
@json_option
@click.argument("datagrams", nargs=-1)
def open_command(place: Place, as_json: bool, datagrams: tuple[str, ...]) -> None:
    """Open DATAGRAMS in hex, given or one a line on standard input. Status 1 if one of them could not be opened."""
    lines = datagrams or tuple(line for line in sys.stdin.read().split("\n") if line.strip())
    with place.opened() as store:
        device = Device(store)
        failed = [line for line in lines if not _take(device, _octets(line), "")]
        _show(device, as_json)
    if failed:
        raise RemoteError(f"{len(failed)} of {len(lines)} could not be opened; each says above why")


def _octets(line: str) -> bytes:
    try:
        return bytes.fromhex(line)
    except ValueError:
        raise LocalError("a datagram is written in hex, two digits an octet: copy it whole") from None


def _take(device: Device, datagram: bytes, source: str) -> bool:
    """Whether it was opened, or was there before."""
    came = f"from {source}: " if source else ""
    try:
        device.open_text(datagram, time.time())
    except (Refused, Gone, NotYet) as problem:
        click.echo(f"{came}{problem}", err=True)
        return False
    return True


def _show(device: Device, as_json: bool) -> int:
    """What was opened and not shown yet; a crash before its end shows it again."""
    shown = device.sealed.arrived()
    for each in shown:
        click.echo(_line(device, each, as_json))
        sys.stdout.flush()
        device.sealed.shown(each.id)
    return len(shown)


def _line(device: Device, arrived: Arrived, as_json: bool) -> str:
    who = _said(arrived.account_id, device)
    try:
        body = decode_text(arrived.plaintext)
    except Refused as problem:
        body = f"[{problem}]"
    if as_json:
        at = round(arrived.received_at, 3)
        row = {
            "from": who,
            "account_id": arrived.account_id,
            "device_id": arrived.device_id,
            "at": at,
            "epoch": arrived.epoch,
            "body": body,
        }
        return json.dumps(row, ensure_ascii=False)
    # A text must not move the cursor of whoever reads it, nor look like the next one.
    lines = ("".join(each if each.isprintable() else chr(0xFFFD) for each in line) for line in body.split("\n"))
    return f"{who}: " + "\n  ".join(lines)


@text.command()
@place_options
@via_option
@password_option
@number_option
@device_option
@click.option("--from", "source", default="", metavar="NUMBER", help="This device's own number, for the message centre.")
@click.option("--times", default=3, show_default=True, type=click.IntRange(1, 20), help="How often a datagram is sent over UDP.")
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(min=1), help="How long the message centre is tried.")
@click.option(
    "--precedence", type=click.Choice([level.label for level in Precedence]), default="routine", show_default=True, help="For the networks."
)
@click.argument("name", required=False)
@click.argument("body", required=False)
def send(
    place: Place,
    via: str,
    password_file: Path | None,
    number: str,
    device_id: str | None,
    source: str,
    times: int,
    seconds: float,
    precedence: str,
    name: str | None,
    body: str | None,
) -> None:
    """Seal BODY (or -) for NAME and send it; without them, send what is still to leave. It is kept until the centre has taken it."""
    way = Way.parse(via)
    centre = way.centre(password_file) if way.scheme.startswith("smpp") else None
    if (name is None) is not (body is None):
        raise LocalError("who and what belong together: give NAME and BODY, or neither")
    with place.opened() as store:
        device = Device(store)
        if name is not None and body is not None:
            leaving = _sealed(device, name, _read(body), device_id, number)
            device_id = leaving.device_id
            if way.scheme != "udp" and not leaving.number:
                device.sealed.departed(leaving.id)
                raise LocalError("the other device told no number: give one with --to")
        waiting = device.sealed.departing()
        waiting = for_one_device(waiting, device_id) if way.scheme == "udp" else [each for each in waiting if each.number]
        if way.scheme == "server":

            async def hand_over(connected: OnlineDevice) -> None:
                await connected.caught_up.wait()
                await connected.ask(device.claim_number())
                for each in waiting:
                    await connected.ask(device.hand_over(each, precedence))

            asyncio.run(_online(device, hand_over))
        elif centre is None:
            asyncio.run(send_datagrams(way, waiting, times, AGAIN_AFTER_S))
            for each in waiting:
                device.sealed.departed(each.id)
        else:

            def take(datagram: bytes, sender: str) -> None:
                _take(device, datagram, sender)

            level = Precedence.parse(precedence)
            post = Post(device.sealed.departing, device.sealed.departed, take, source, level)

            async def work() -> None:
                async with asyncio.timeout(seconds):
                    while any(each.number for each in device.sealed.departing()) and not post.refused:
                        post.news.clear()
                        await post.news.wait()

            states: list[str] = []
            try:
                asyncio.run(beside(keep_bound(centre, post, states.append), work()))
            except TimeoutError:
                last = states[-1] if states else "not reached"
                raise NotTaken(
                    f"the message centre took nothing in {seconds:.0f} s ({last}); the text is kept: `text send` tries again"
                ) from None
            if post.refused:
                raise NotTaken(post.refused[0])
        click.echo(f"Sent: {len(waiting)}.", err=True)


@text.command()
@place_options
@via_option
@password_option
@json_option
@click.option("--count", type=click.IntRange(min=1), help="End after so many texts; else after Ctrl-C.")
def receive(place: Place, via: str, password_file: Path | None, as_json: bool, count: int | None) -> None:
    """Show sealed texts as they come: to a datagram port of this machine, or from a message centre."""
    way = Way.parse(via)
    centre = way.centre(password_file) if way.scheme.startswith("smpp") else None
    with place.opened() as store:
        device = Device(store)
        news = asyncio.Event()

        def take(datagram: bytes, source: str) -> None:
            _take(device, datagram, source)
            news.set()

        async def show() -> None:
            left = count
            while True:
                news.clear()
                shown = _show(device, as_json)
                if left is not None:
                    left -= shown
                    if left <= 0:
                        return
                await news.wait()

        async def running() -> None:
            if way.scheme == "server":
                await _online(device, lambda connected: asyncio.Event().wait(), news.set)
            elif centre is None:
                await receive_datagrams(way, take, lambda: click.echo(f"Listening at {way.host}:{way.port}; Ctrl-C ends.", err=True))
            else:
                post = Post(device.sealed.departing, device.sealed.departed, take)
                await keep_bound(centre, post, lambda state: click.echo(f"{centre.name}: {state}", err=True))

        run_until_stopped(beside(running(), show()))


@text.command()
@place_options
def waiting(place: Place) -> None:
    """What was sealed and has not left, what was opened and not shown, and whom this device has keys for."""
    with place.opened() as store:
        device = Device(store)
        now = time.time()
        numbers = device.sealed.numbers()
        for conversation_id in device.conversations.ids():
            device.conversations.note_epoch(conversation_id, now)
            peer = device.conversations.peer_of(conversation_id)
            if peer is None:
                continue  # sealed texts are between two persons
            who = _said(peer, device)
            for device_id in device.sealed.devices(conversation_id):
                click.echo(f"keys: {who}, device {device_id}{f', number {numbers[device_id]}' if device_id in numbers else ''}")
        for each in device.sealed.departing():
            when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(each.sealed_at))
            click.echo(f"to leave: sealed {when}{f', for {each.number}' if each.number else ''}")
        click.echo(f"not shown yet: {len(device.sealed.arrived())}")
