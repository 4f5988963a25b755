"""Offers of phones and answers of the forwarder (RFC 8866, RFC 8829): audio over one bundled transport, Opus and RED, nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tramontana.errors import RemoteError
from tramontana.phone.stun import Address

MAX_OFFER_CHARACTERS: Final = 16 * 1024
MAX_SLOTS: Final = 3
AUDIO_LEVEL: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"  # RFC 6464 §4
OPUS, RED = "opus/48000/2", "red/48000/2"  # RFC 7587 §7, RFC 2198 §4
HOST_PRIORITY: Final = 2130706431  # RFC 8445 §5.1.2.1: host candidate, one interface, component 1
CNAME: Final = "tramontana"
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")  # RFC 8839 §5.4
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}")
_MID = re.compile(r"[!#-'*+.0-9A-Za-z^-~-]{1,16}")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_FIRST_DYNAMIC, _LAST_PAYLOAD_TYPE = 35, 127
_LAST_EXTENSION: Final = 14  # RFC 8285 §4.2


class OfferRefused(RemoteError):
    """The offer is not one that the forwarder can answer; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class Section:
    """One audio section. `level_id` is the header extension of the audio level, None where it is not offered."""

    mid: str
    opus: int
    red: int
    level_id: int | None
    sends: bool
    receives: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What an offer says. `fingerprint`: SHA-256 of the DTLS certificate. A lite agent checks nobody, so needs no password of the phone."""

    ufrag: str
    fingerprint: bytes
    sections: tuple[Section, ...]


def parse_offer(text: str) -> Offer:
    """Read an offer. Raises `OfferRefused`."""
    if len(text) > MAX_OFFER_CHARACTERS or not text.isascii():
        raise OfferRefused(f"an offer is at most {MAX_OFFER_CHARACTERS} ASCII characters")
    blocks: list[list[str]] = [[]]
    for line in text.replace("\r\n", "\n").rstrip("\n").split("\n"):
        if len(line) < 2 or line[1] != "=":
            raise OfferRefused("not a session description")
        if line.startswith("m="):
            blocks.append([])
        blocks[-1].append(line)
    session, media = blocks[0], blocks[1:]
    if not session or session[0] != "v=0":
        raise OfferRefused("not a session description")
    if not 1 <= len(media) <= MAX_SLOTS:
        raise OfferRefused(f"offer one to {MAX_SLOTS} audio sections")
    sections = tuple(_parse_section(block) for block in media)
    mids = [section.mid for section in sections]
    groups = [value.split() for value in _values(session, "group") if value.startswith("BUNDLE ")]
    if len(set(mids)) != len(mids) or groups != [["BUNDLE", *mids]]:
        raise OfferRefused("bundle all sections into one transport (a=group:BUNDLE)")
    transport = [*session, *media[0]]
    ufrag, password = _one(transport, "ice-ufrag"), _one(transport, "ice-pwd")
    if not _UFRAG.fullmatch(ufrag) or not _PASSWORD.fullmatch(password):
        raise OfferRefused("ice-ufrag or ice-pwd is missing or malformed")
    if "ice-lite" in [line[2:] for line in session]:
        raise OfferRefused("the phone must be a full ICE agent: the forwarder is a lite one")
    if _one(transport, "setup") not in ("actpass", "active"):
        raise OfferRefused("the phone must be able to begin the DTLS handshake (a=setup:actpass or active)")
    prints = [value.split(" ", 1)[-1] for value in _values(transport, "fingerprint") if value.lower().startswith("sha-256 ")]
    if len(set(prints)) != 1 or not _FINGERPRINT.fullmatch(prints[0]):
        raise OfferRefused("give one SHA-256 fingerprint of the DTLS certificate")
    return Offer(ufrag, bytes.fromhex(prints[0].replace(":", "")), sections)


def _parse_section(block: Sequence[str]) -> Section:
    media = block[0][2:].split()
    if len(media) < 4 or media[0] != "audio" or media[2] != "UDP/TLS/RTP/SAVPF":
        raise OfferRefused("only audio over UDP/TLS/RTP/SAVPF is forwarded")
    if "a=rtcp-mux" not in block:
        raise OfferRefused("RTP and RTCP must share one port (a=rtcp-mux)")
    types: dict[str, int] = {}
    for value in _values(block, "rtpmap"):
        number, _, encoding = value.partition(" ")
        if number in media[3:] and number.isdecimal() and _FIRST_DYNAMIC <= int(number) <= _LAST_PAYLOAD_TYPE:
            types.setdefault(encoding.lower(), int(number))
    if OPUS not in types or RED not in types:
        raise OfferRefused(f"offer both {RED} and {OPUS}: sealed frames cannot be converted")
    mid = _one(block, "mid")
    if not _MID.fullmatch(mid):
        raise OfferRefused("a section has no mid")
    directions = [line[2:] for line in block if line[:2] == "a=" and line[2:] in _DIRECTIONS] or ["sendrecv"]
    return Section(
        mid=mid,
        opus=types[OPUS],
        red=types[RED],
        level_id=_level_id(block),
        sends=directions[0] in ("sendrecv", "sendonly"),
        receives=directions[0] in ("sendrecv", "recvonly"),
    )


def _level_id(block: Sequence[str]) -> int | None:
    for value in _values(block, "extmap"):
        words = value.split()
        number = words[0].partition("/")[0] if words else ""
        if len(words) > 1 and words[1] == AUDIO_LEVEL and number.isdecimal() and len(number) < 3 and 1 <= int(number) <= _LAST_EXTENSION:
            return int(number)
    return None


def _values(block: Sequence[str], name: str) -> list[str]:
    prefix = f"a={name}:"
    return [line[len(prefix) :] for line in block if line.startswith(prefix)]


def _one(block: Sequence[str], name: str) -> str:
    """The value of an attribute that must be there and the same wherever it stands. Raises `OfferRefused`."""
    values = set(_values(block, name))
    if len(values) != 1:
        raise OfferRefused(f"a={name} is missing or not the same in all places")
    return values.pop()


def write_answer(
    offer: Offer, *, may_speak: bool, slots: int, ssrcs: Sequence[int], ufrag: str, password: str, fingerprint: str, candidate: Address
) -> str:
    """The answer: a lite agent with one candidate, passive in DTLS. Slot *n* is section *n*; sections beyond `slots` carry nothing."""
    host, port = candidate
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=- 1 1 IN {family} {host}",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE " + " ".join(section.mid for section in offer.sections),
        "a=ice-lite",
    ]
    for index, section in enumerate(offer.sections):
        takes, gives = index == 0 and section.sends and may_speak, index < slots and section.receives
        lines += [
            f"m=audio {port} UDP/TLS/RTP/SAVPF {section.red} {section.opus}",
            f"c=IN {family} {host}",
            f"a=mid:{section.mid}",
            "a=" + ("sendrecv" if takes and gives else "recvonly" if takes else "sendonly" if gives else "inactive"),
            "a=rtcp-mux",
            f"a=ice-ufrag:{ufrag}",
            f"a=ice-pwd:{password}",
            f"a=fingerprint:sha-256 {fingerprint}",
            "a=setup:passive",
            f"a=rtpmap:{section.red} {RED}",
            f"a=fmtp:{section.red} {section.opus}/{section.opus}",
            f"a=rtpmap:{section.opus} {OPUS}",
            f"a=fmtp:{section.opus} minptime=10;useinbandfec=1",
        ]
        if takes and section.level_id is not None:
            lines.append(f"a=extmap:{section.level_id} {AUDIO_LEVEL}")
        if gives:
            lines += [f"a=msid:slot{index} slot{index}", f"a=ssrc:{ssrcs[index]} cname:{CNAME}"]
        # In every section, although one is enough for browsers: aiortc reads those of the last.
        lines += [f"a=candidate:1 1 udp {HOST_PRIORITY} {host} {port} typ host", "a=end-of-candidates"]
    return "\r\n".join(lines) + "\r\n"
