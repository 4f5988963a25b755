"""The path player's control protocol: one JSON object a line over a Unix stream socket (`docs/protocols.md`, "Path player control").

Sans-I/O. The player parses requests, its client encodes them. A request that is not exactly right is `MalformedRequest` and
changes nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from tramontana.errors import RemoteError
from tramontana.path_profile import PathProfile, PathProfileError

MAX_LINE_BYTES: Final = 1 << 20
"""About 15,000 samples of a profile. Parsing holds up the packets for a while, so profiles are better sent ten minutes at a time."""
MAX_FLOW_CHARACTERS: Final = 128
_SEED_LIMIT: Final = 1 << 64
_INTERFACE: Final = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,15}")  # IFNAMSIZ, linux/if.h
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class MalformedRequest(RemoteError):
    """A control request was not understood; nothing was changed. Its text is the `error` of the answer."""


@dataclass(frozen=True, slots=True)
class Attach:
    """Play a profile between a front and an upstream.

    For a known flow: replace its profile and upstream, keep its packets, seed and port.
    """

    flow: str
    profile: PathProfile
    seed: int
    upstream: tuple[str, int]
    port: int | None = None
    """The front's UDP port, so that a restarted player can be given the old ones; None lets the system choose."""

    def encode(self) -> bytes:
        fields = {"op": "attach", "flow": self.flow, "seed": self.seed, "upstream": list(self.upstream), "port": self.port}
        return (json.dumps(fields)[:-1] + f', "profile": {self.profile.to_json()}}}\n').encode()


@dataclass(frozen=True, slots=True)
class Interface:
    """A TUN interface by name; `namespace` is a network namespace as ip-netns(8) names it, None the player's own."""

    namespace: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Wire:
    """Play a profile between two TUN interfaces that the player makes: up from `near`, the user's end, to `far`, down the other way.

    For a known flow: replace its profile, plug or pull its cable; its interfaces, seed and packets stay.
    """

    flow: str
    profile: PathProfile
    seed: int
    near: Interface
    far: Interface
    plugged: bool = True
    """False: the cable of the near end is pulled. It has no carrier, and the kernel tells those who watch it."""

    def encode(self) -> bytes:
        near, far = ([end.namespace, end.name] for end in (self.near, self.far))
        fields = {"op": "wire", "flow": self.flow, "seed": self.seed, "near": near, "far": far, "plugged": self.plugged}
        return (json.dumps(fields)[:-1] + f', "profile": {self.profile.to_json()}}}\n').encode()


@dataclass(frozen=True, slots=True)
class Detach:
    """Close a flow's front or interfaces and forget its packets. An unknown flow is no error."""

    flow: str

    def encode(self) -> bytes:
        return encode_line({"op": "detach", "flow": self.flow})


@dataclass(frozen=True, slots=True)
class Stats:
    """Ask for the counts of all flows."""

    def encode(self) -> bytes:
        return encode_line({"op": "stats"})


Request = Attach | Wire | Detach | Stats


def encode_line(document: dict[str, Any]) -> bytes:
    """One line of the protocol."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def parse_request(line: bytes) -> Request:
    """Read one request. Raises `MalformedRequest`."""
    if len(line) > MAX_LINE_BYTES:
        raise MalformedRequest(f"a request is at most {MAX_LINE_BYTES} octets")
    document = _parse_object(line)
    operation = document.pop("op", None)
    if operation == "attach":
        request: Request = _parse_attach(document)
    elif operation == "wire":
        request = _parse_wire(document)
    elif operation == "detach":
        request = Detach(_parse_flow(document))
    elif operation == "stats":
        request = Stats()
    else:
        raise MalformedRequest("op must be attach, wire, detach or stats")
    if document:
        raise MalformedRequest(f"unknown field {next(iter(document))!r}")
    return request


def parse_answer(line: bytes) -> dict[str, Any]:
    """Read one answer of the player. Raises `MalformedRequest` if it is none."""
    document = _parse_object(line)
    if not isinstance(document.get("ok"), bool):
        raise MalformedRequest("an answer must say whether it is ok")
    return document


def _parse_object(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedRequest("not one JSON object in UTF-8") from None
    if not isinstance(document, dict):
        raise MalformedRequest("not one JSON object in UTF-8")
    return document


def _parse_attach(document: dict[str, Any]) -> Attach:
    flow, seed = _parse_flow(document), _parse_seed(document)
    port, upstream = document.pop("port", None), document.pop("upstream", None)
    if port is not None and not _is_port(port):
        raise MalformedRequest("port must be null or a number from 1 to 65535")
    if not isinstance(upstream, list) or len(upstream) != 2 or not isinstance(upstream[0], str) or not _is_port(upstream[1]):
        raise MalformedRequest("upstream must be [IP address, port]")
    try:
        ip_address(upstream[0])
    except ValueError:
        raise MalformedRequest("upstream must be [IP address, port]") from None
    return Attach(flow, _parse_profile(document), seed, (upstream[0], upstream[1]), port)


def _parse_wire(document: dict[str, Any]) -> Wire:
    flow, seed = _parse_flow(document), _parse_seed(document)
    near, far = (_parse_interface(document.pop(end, None), end) for end in ("near", "far"))
    plugged = document.pop("plugged", True)
    if near == far:
        raise MalformedRequest("near and far must be two interfaces")
    if not isinstance(plugged, bool):
        raise MalformedRequest("plugged must be true or false")
    return Wire(flow, _parse_profile(document), seed, near, far, plugged)


def _parse_interface(value: object, end: str) -> Interface:
    if isinstance(value, list) and len(value) == 2:
        namespace, name = value
        if isinstance(name, str) and _INTERFACE.fullmatch(name) and (namespace is None or _is_namespace(namespace)):
            return Interface(namespace, name)
    raise MalformedRequest(f"{end} must be [namespace or null, interface name of 1 to 15 letters, digits, dots, dashes]")


def _is_namespace(value: object) -> bool:
    return isinstance(value, str) and _NAMESPACE.fullmatch(value) is not None


def _parse_profile(document: dict[str, Any]) -> PathProfile:
    try:
        return PathProfile.parse(json.dumps(document.pop("profile", None)))
    except (PathProfileError, OverflowError) as error:
        raise MalformedRequest(f"profile: {error}") from None


def _parse_seed(document: dict[str, Any]) -> int:
    seed = document.pop("seed", None)
    if not _is_whole(seed) or not 0 <= seed < _SEED_LIMIT:
        raise MalformedRequest("seed must be a whole number from 0 to 2**64 - 1")
    return int(seed)


def _parse_flow(document: dict[str, Any]) -> str:
    flow = document.pop("flow", None)
    if not isinstance(flow, str) or not 0 < len(flow) <= MAX_FLOW_CHARACTERS or not flow.isprintable():
        raise MalformedRequest(f"flow must be 1 to {MAX_FLOW_CHARACTERS} printable characters")
    return flow


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 65535
