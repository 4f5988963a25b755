"""The file that says which message centres there are, who may bind to ours, and which numbers are for emergencies (TOML, docs/sms.md)."""

from __future__ import annotations

import re
import ssl
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from tramontana.cell.beam_capacity import REFERENCE_ALTITUDE_KM, Bandwidth, NotServed, beam_capacity
from tramontana.cell.forwarding import Route
from tramontana.cell.short_message import Concatenation, DefaultAlphabet
from tramontana.cell.smpp.driver import Centre, Peer
from tramontana.cell.smpp.pdu import CommandId, Password
from tramontana.cell.smpp.receipt import ReceiptIds
from tramontana.cell.smpp.session import Settings
from tramontana.errors import LocalError

BINDS = {
    "transceiver": CommandId.BIND_TRANSCEIVER,
    "transmitter": CommandId.BIND_TRANSMITTER,
    "receiver": CommandId.BIND_RECEIVER,
}
NUMBER = re.compile(r"^\+?[0-9]{2,20}$")
_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,31}$")


class OperatorsFileError(LocalError):
    """The file of message centres cannot be used; the message names the entry and what to write there."""


@dataclass(frozen=True, slots=True)
class CentreRules:
    """What is particular about an operator's centre."""

    centre: Centre
    concatenation: Concatenation = "udh"
    alphabet: DefaultAlphabet = "gsm-7"
    receipt_ids: ReceiptIds = "as-is"
    beam_messages_per_s: float | None = None
    """What one of its satellite beams carries; None for a terrestrial network, where the link is the limit."""
    receipts: bool = True


@dataclass(frozen=True, slots=True)
class Operators:
    """Everything that the file says."""

    centres: tuple[CentreRules, ...] = ()
    routes: tuple[Route, ...] = ()
    system_id: str = "TRAMONTANA"
    listen: tuple[str, int] | None = None
    tls: ssl.SSLContext | None = None
    """Of our own centre; None: whoever binds does so in the clear."""
    peers: tuple[Peer, ...] = ()
    emergency_numbers: tuple[str, ...] = ()
    sealed_numbers: tuple[str, ...] = ()
    """Numbers of ours that devices may be given for sealed texts."""
    sender: str = ""
    """The number that answers and other texts come from, where nothing else is said."""
    one_way: bool = False
    """SOS texts get one receipt and no dialogue: there is no beam time for more."""
    places: Path | None = None
    """Area catalogue (CSV: name, latitude, longitude, and what else) for place names in SOS texts."""


class _Table:
    """A TOML table that complains about what it does not know."""

    def __init__(self, where: str, table: object) -> None:
        if not isinstance(table, dict):
            raise OperatorsFileError(f"{where} must be a table")
        self.where, self._left = where, dict(table)

    def take(self, name: str, kind: type, default: Any = None, *, needed: bool = False) -> Any:
        if name not in self._left:
            if needed:
                raise OperatorsFileError(f"{self.where}: {name!r} is missing")
            return default
        value = self._left.pop(name)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            raise OperatorsFileError(f"{self.where}: {name!r} must be {kind.__name__}")
        return value

    def one_of(self, name: str, words: tuple[str, ...], default: str) -> str:
        word = cast(str, self.take(name, str, default))
        if word not in words:
            raise OperatorsFileError(f"{self.where}: {name!r} must be one of {', '.join(words)}")
        return word

    def end(self) -> None:
        if self._left:
            raise OperatorsFileError(f"{self.where}: nobody knows {sorted(self._left)[0]!r}; remove it or correct its spelling")


def _password(table: _Table, directory: Path) -> Password:
    path = directory / table.take("password_file", str, needed=True)
    try:
        if path.stat().st_mode & 0o077:
            raise OperatorsFileError(f"{table.where}: others can read {path}; chmod 600 it")
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorsFileError(f"{table.where}: the password file {path} cannot be read ({error})") from None
    if not 1 <= len(text) <= 8:  # SMPP 3.4 §5.2.2
        raise OperatorsFileError(f"{table.where}: an SMPP password has 1 to 8 characters; {path} has {len(text)}")
    return Password(text)


def _name(table: _Table, name: str) -> str:
    value = cast(str, table.take(name, str, needed=True))
    if not _NAME.match(value):
        raise OperatorsFileError(f"{table.where}: {name!r} has lower-case letters, digits, dots and hyphens, 32 at most")
    return value


def _certificate(table: _Table, directory: Path) -> ssl.SSLContext | None:
    certificate, key = table.take("tls_cert", str), table.take("tls_key", str)
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise OperatorsFileError(f"{table.where}: 'tls_cert' and 'tls_key' belong together")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(directory / certificate, directory / key)
    except OSError as error:
        raise OperatorsFileError(f"{table.where}: the certificate or its key cannot be used ({error.strerror or error})") from error
    return context


def _numbers(table: _Table, name: str) -> tuple[str, ...]:
    values = table.take(name, list, [])
    if not all(isinstance(value, str) and NUMBER.match(value) for value in values):
        raise OperatorsFileError(f'{table.where}: {name!r} must be numbers in quotes, for example "112" or "+390651234"')
    return tuple(values)


def _port(table: _Table) -> int:
    port = cast(int, table.take("port", int, 2775))
    if not 0 <= port < 65536:
        raise OperatorsFileError(f"{table.where}: 'port' must be 0 to 65535")
    return port


def _positive(table: _Table, name: str, default: float | None, most: float) -> float | None:
    value = cast("float | None", table.take(name, float, default))
    if value is not None and not 0 < value <= most:
        raise OperatorsFileError(f"{table.where}: {name!r} must be above 0 and at most {most:g}")
    return value


def _settings(table: _Table) -> Settings:
    window = cast(int, table.take("window", int, 10))
    if not 1 <= window <= 1000:
        raise OperatorsFileError(f"{table.where}: 'window' must be 1 to 1000")
    idle, answer = _positive(table, "enquire_link_s", 30.0, 3600), _positive(table, "response_timeout_s", 30.0, 600)
    assert idle is not None
    assert answer is not None
    return Settings(window, idle, answer)


def _beam_messages_per_s(table: _Table) -> float | None:
    """Of a satellite beam: as the operator said it, or by the link budget of `[centre.beam]`."""
    said = _positive(table, "beam_messages_per_s", None, 10_000)
    entry = table.take("beam", dict)
    if entry is None:
        return said
    beam = _Table(f"{table.where}, [centre.beam]", entry)
    if said is not None:
        raise OperatorsFileError(f"{beam.where}: 'beam_messages_per_s' says already what a beam carries; remove one of the two")
    bandwidth = cast(Bandwidth, beam.one_of("bandwidth", get_args(Bandwidth), ""))
    elevation_deg = beam.take("elevation_deg", float, needed=True)
    altitude_km = _positive(beam, "altitude_km", REFERENCE_ALTITUDE_KM, 2000)
    indoors = beam.take("indoors", bool, False)
    beam.end()
    assert altitude_km is not None
    try:
        carried = beam_capacity(elevation_deg, altitude_km=altitude_km, bandwidth=bandwidth, indoors=indoors)
    except NotServed as error:
        raise OperatorsFileError(f"{beam.where}: {error}") from None
    if carried.messages_per_s == 0:
        raise OperatorsFileError(
            f"{beam.where}: at {carried.snr_db:.1f} dB phones there decode nothing; plan with a higher elevation or outdoors"
        )
    return carried.messages_per_s


def _centre(number: int, entry: object, directory: Path) -> tuple[CentreRules, tuple[Route, ...]]:
    table = _Table(f"[[centre]] {number}", entry)
    name = _name(table, "name")
    table.where = f"centre {name!r}"
    rate = _positive(table, "messages_per_s", 50.0, 100_000)
    assert rate is not None
    tls = ssl.create_default_context(cafile=None) if table.take("tls", bool, False) else None
    centre = Centre(
        name,
        table.take("host", str, needed=True),
        _port(table),
        table.take("system_id", str, needed=True),
        _password(table, directory),
        table.take("system_type", str, ""),
        BINDS[table.one_of("bind", tuple(BINDS), "transceiver")],
        rate,
        _settings(table),
        tls,
    )
    rules = CentreRules(
        centre,
        cast(Concatenation, table.one_of("concatenation", get_args(Concatenation), "udh")),
        cast(DefaultAlphabet, table.one_of("alphabet", get_args(DefaultAlphabet), "gsm-7")),
        cast(ReceiptIds, table.one_of("receipt_ids", get_args(ReceiptIds), "as-is")),
        _beam_messages_per_s(table),
        table.take("receipts", bool, True),
    )
    prefixes = table.take("prefixes", list, [""])
    if not all(isinstance(prefix, str) and re.fullmatch(r"\+?[0-9]*", prefix) for prefix in prefixes):
        raise OperatorsFileError(f"{table.where}: 'prefixes' must be beginnings of numbers in quotes, for example \"+39\"")
    table.end()
    return rules, tuple(Route(prefix, name) for prefix in prefixes)


def _sealed_numbers(table: _Table) -> tuple[str, ...]:
    """All numbers with this beginning and so many digits more: operators give a short code with its extensions."""
    prefix = cast(str, table.take("prefix", str, ""))
    digits = cast(int, table.take("digits", int, 3))
    table.end()
    if not prefix:
        return ()
    if not NUMBER.match(prefix) or not 1 <= digits <= 4 or len(prefix) + digits > 20:
        raise OperatorsFileError("[sealed]: 'prefix' must be the beginning of your numbers in quotes, 'digits' (1 to 4) what follows it")
    return tuple(f"{prefix}{number:0{digits}d}" for number in range(10**digits))


def parse_operators(text: str, directory: Path) -> Operators:
    """Read the file; password files stand relative to `directory`. Raises `OperatorsFileError`."""
    try:
        top = _Table("the file", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise OperatorsFileError(f"it is not TOML: {error}") from None
    centres, routes = [], list[Route]()
    for number, entry in enumerate(top.take("centre", list, []), 1):
        rules, its_routes = _centre(number, entry, directory)
        centres.append(rules)
        routes += its_routes
    names = [rules.centre.name for rules in centres]
    if len(set(names)) != len(names):
        raise OperatorsFileError("two centres have the same name: give each its own")
    listen, tls, peers, system_id = None, None, list[Peer](), "TRAMONTANA"
    if (entry := top.take("server", dict)) is not None:
        table = _Table("[server]", entry)
        listen = (cast(str, table.take("host", str, "127.0.0.1")), _port(table))
        system_id, tls = table.take("system_id", str, system_id), _certificate(table, directory)
        for number, each in enumerate(table.take("peer", list, []), 1):
            of_peer = _Table(f"[[server.peer]] {number}", each)
            rate = _positive(of_peer, "messages_per_s", 200.0, 100_000)
            assert rate is not None
            name = of_peer.take("system_id", str, needed=True)
            peers.append(Peer(name, _password(of_peer, directory), rate, of_peer.take("sessions", int, 4)))
            routes += [Route(prefix, name) for prefix in _numbers(of_peer, "numbers")]
            of_peer.end()
        table.end()
    if set(names) & {peer.system_id for peer in peers}:
        raise OperatorsFileError("a centre and a system that binds to ours have the same name: rename the centre")
    emergency_table = _Table("[sos]", top.take("sos", dict, {}))
    numbers = _numbers(emergency_table, "numbers")
    one_way = emergency_table.take("one_way", bool, False)
    places = emergency_table.take("places", str)
    sender = emergency_table.take("sender", str, numbers[0] if numbers else "")
    emergency_table.end()
    sealed = _sealed_numbers(_Table("[sealed]", top.take("sealed", dict, {})))
    top.end()
    return Operators(
        tuple(centres),
        tuple(routes),
        system_id,
        listen,
        tls,
        tuple(peers),
        numbers,
        sealed,
        sender,
        one_way,
        directory / places if places else None,
    )
