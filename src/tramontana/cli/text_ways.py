"""Ways by which sealed texts leave a device and come to it: a datagram socket, or a message centre over SMPP (asyncio)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from tramontana.cell.short_message import CODING_BINARY, Part, is_binary, read, submit
from tramontana.cell.smpp.driver import Centre, EsmeLink, Outgoing
from tramontana.cell.smpp.pdu import Address, Message, Password, Status
from tramontana.cell.smpp.session import Answered
from tramontana.device.sealed_post import Departing, WhichDevice
from tramontana.errors import LocalError, RemoteError
from tramontana.keys.sealed_text import MOST_BYTES
from tramontana.precedence import Precedence
from tramontana.private_file import read_private

SMPP_PORT = 2775
MOST_PASSWORD = 8  # SMPP 3.4 §5.2.2


class BadWay(LocalError):
    """The way cannot be used; the message says what to write."""


class NotTaken(RemoteError):
    """The message centre did not take a text; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where datagrams go to or come from."""

    scheme: str
    host: str
    port: int
    user: str = ""

    @classmethod
    def parse(cls, text: str) -> Way:
        """`server`, `udp://HOST:PORT`, `smpp://SYSTEM_ID@HOST[:PORT]` or `smpps://…`. Raises `BadWay`."""
        if text == "server":
            return cls("server", "", 0)
        try:
            split: SplitResult = urlsplit(text)
            port = split.port
        except ValueError:
            raise BadWay(f"{text!r} has no usable port: write udp://HOST:PORT or smpp://SYSTEM_ID@HOST:PORT") from None
        if (
            split.scheme not in ("udp", "smpp", "smpps")
            or not split.hostname
            or split.path not in ("", "/")
            or split.query
            or split.fragment
        ):
            raise BadWay(f"{text!r} is no way: write server, udp://HOST:PORT, smpp://SYSTEM_ID@HOST:PORT or smpps://SYSTEM_ID@HOST:PORT")
        if split.password is not None:
            raise BadWay("a password does not belong into the address, where others read it: use --password-file")
        if split.scheme == "udp" and port is None:
            raise BadWay(f"{text!r} has no port: write udp://HOST:PORT")
        if split.scheme != "udp" and not split.username:
            raise BadWay(f"{text!r} has no system id: write {split.scheme}://SYSTEM_ID@HOST:PORT")
        return cls(split.scheme, split.hostname, port if port is not None else SMPP_PORT, split.username or "")

    def centre(self, password_file: Path | None) -> Centre:
        """Raises `BadWay`, `PrivateFileError`."""
        if password_file is None:
            raise BadWay("a message centre asks for a password: give --password-file")
        password = read_private(password_file).decode("ascii", "replace").strip()
        if not 1 <= len(password) <= MOST_PASSWORD:
            raise BadWay(f"an SMPP password has 1 to {MOST_PASSWORD} characters (SMPP 3.4 §5.2.2); {password_file} has {len(password)}")
        tls = ssl.create_default_context() if self.scheme == "smpps" else None
        return Centre(f"{self.host}:{self.port}", self.host, self.port, self.user, Password(password), tls=tls)


# Datagrams


def _udp(way: Way, *, bound: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(way.host, way.port, type=socket.SOCK_DGRAM)[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            (made.bind if bound else made.connect)(address)
        except BaseException:
            made.close()
            raise
    except OSError as error:
        what = "cannot listen at" if bound else "cannot send to"
        raise BadWay(f"{what} {way.host}:{way.port} ({error.strerror or error}): check address and port") from error
    return made


def for_one_device(waiting: Sequence[Departing], device_id: str | None) -> list[Departing]:
    """What an address gets: texts for one device, as no other one listens there. Raises `WhichDevice`."""
    meant = [each for each in waiting if device_id in (None, each.device_id)]
    devices = {each.device_id for each in meant}
    if len(devices) > 1:
        raise WhichDevice(f"texts wait for the devices {', '.join(sorted(devices))}: say with --device whose address this is")
    return meant


async def send_datagrams(way: Way, leaving: Sequence[Departing], times: int, pause_s: float) -> None:
    """Each one `times` over, as nobody answers; whoever gets it more than once opens it once. Raises `BadWay`."""
    with _udp(way, bound=False) as made:
        for turn in range(times):
            if turn:
                await asyncio.sleep(pause_s)
            for each in leaving:
                try:
                    await asyncio.get_running_loop().sock_sendall(made, each.datagram)
                except OSError as error:
                    raise BadWay(f"cannot send to {way.host}:{way.port} ({error.strerror or error}): the text is kept") from error


async def receive_datagrams(way: Way, take: Callable[[bytes, str], None], listening: Callable[[], None]) -> None:
    """Until cancelled: whatever comes to this address and port. Raises `BadWay`."""
    loop = asyncio.get_running_loop()
    with _udp(way, bound=True) as made:
        listening()
        while True:
            with suppress(ConnectionError):  # what an earlier answer ran into
                octets, sender = await loop.sock_recvfrom(made, MOST_BYTES + 1)
                take(octets, str(ipaddress.ip_address(sender[0].partition("%")[0])))


# Message centres


def short_message(datagram: bytes, source: str, number: str, precedence: Precedence) -> Message:
    """One short message of octets (data_coding 4, SMPP 3.4 §5.2.19)."""
    way = (Address.of(source) if source else Address("", 0, 0)), Address.of(number)
    return submit((Part(datagram, CODING_BINARY),), *way, way="udh", precedence=precedence, receipt=False)[0]


@dataclass
class Post:
    """Courier of one link whose books are the device's file: what is to leave stands there until the centre has taken it.

    Where an answer is lost the same octets go again: whoever gets them twice opens them once.
    """

    leaving: Callable[[], Sequence[Departing]]
    departed: Callable[[str], None]
    arrived: Callable[[bytes, str], None]
    """Octets and the number that they say they come from; they are stored when this returns."""
    source: str = ""
    precedence: Precedence = Precedence.ROUTINE
    news: asyncio.Event = field(default_factory=asyncio.Event)
    refused: list[str] = field(default_factory=list)
    """Of texts that the centre will not take, whatever is done."""
    _in_flight: set[str] = field(default_factory=set)

    async def take(self, _link: str, room: int) -> Sequence[Outgoing]:
        given = [each for each in self.leaving() if each.number and each.id not in self._in_flight][:room]
        self._in_flight |= {each.id for each in given}
        return [Outgoing(each.id, short_message(each.datagram, self.source, each.number, self.precedence)) for each in given]

    async def answered(self, _link: str, answers: Sequence[Answered]) -> None:
        for answer in answers:
            self._in_flight.discard(answer.key)
            if answer.status == Status.ROK:
                self.departed(answer.key)
            elif answer.status not in (Status.RTHROTTLED, Status.RMSGQFUL, Status.RX_T_APPN):
                self._in_flight.add(answer.key)  # not tried again by this process
                self.refused.append(f"the centre refused the text ({_name(answer.status)}); it is kept. Check the number and try again")
        self.news.set()

    async def unanswered(self, _link: str, keys: Sequence[str]) -> None:
        self._in_flight -= set(keys)

    async def received(self, _link: str, _session: str, messages: Sequence[Message]) -> Sequence[tuple[int, str]]:
        for message in messages:
            if not message.is_receipt and is_binary(message.data_coding):
                self.arrived(read(message).octets, message.source.number)
        self.news.set()
        return [(Status.ROK, "")] * len(messages)

    def heard(self, _link: str, _message_ids: Sequence[str]) -> None:
        return

    async def state_of(self, _link: str, _message_id: str) -> int | None:
        return None


def _name(status: int) -> str:
    try:
        return f"ESME_{Status(status).name}"
    except ValueError:
        return f"0x{status:x}"


async def keep_bound(centre: Centre, post: Post, on_state: Callable[[str], None]) -> None:
    """Until cancelled."""
    await EsmeLink(centre, post, on_state).run()
