"""Flow classes: what kind of traffic at which precedence, and the DSCP that says so inside the tunnel.

The marks mean something inside the organisation only; the outer packet carries none (WireGuard copies ECN, not DSCP), so a carrier
cannot tell a flash call from a download. Standard codepoints where there is one, local ones (xxxx11, RFC 2474 §6 pool 2) where not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from tramontana.precedence import Precedence


class Kind(StrEnum):
    """What the traffic is, which decides how it suffers: by delay or by volume."""

    VOICE = "voice"
    """Media of calls: small packets, worthless when late."""
    DATA = "data"
    BULK = "bulk"
    """Whatever may wait for hours. It has no precedence."""


class FlowClass(IntEnum):
    """Every kind at every level. The number is its place in SWITCH, and in marks of packets; the order is no rank (see `rank`)."""

    BULK = 0
    DATA_ROUTINE = 1
    DATA_PRIORITY = 2
    DATA_IMMEDIATE = 3
    DATA_FLASH = 4
    DATA_FLASH_OVERRIDE = 5
    VOICE_ROUTINE = 6
    VOICE_PRIORITY = 7
    VOICE_IMMEDIATE = 8
    VOICE_FLASH = 9
    VOICE_FLASH_OVERRIDE = 10

    @classmethod
    def of(cls, kind: Kind, precedence: Precedence = Precedence.ROUTINE) -> FlowClass:
        """The class of this kind at this level; bulk has one."""
        if kind is Kind.BULK:
            return cls.BULK
        return cls((1 if kind is Kind.DATA else 6) + precedence)

    @property
    def kind(self) -> Kind:
        return Kind.BULK if self is FlowClass.BULK else Kind.VOICE if self >= 6 else Kind.DATA

    @property
    def precedence(self) -> Precedence:
        return Precedence.ROUTINE if self is FlowClass.BULK else Precedence((self - 1) % 5)

    @property
    def rank(self) -> int:
        """What is served first has the higher rank: by level, and voice as if one level higher; bulk last."""
        return -1 if self is FlowClass.BULK else self.precedence + (self.kind is Kind.VOICE)

    @property
    def dscp(self) -> int:
        return _DSCP[self]

    @property
    def label(self) -> str:
        """For people, e.g. ``voice, flash``."""
        return "bulk" if self is FlowClass.BULK else f"{self.kind}, {self.precedence.label}"

    @property
    def is_urgent(self) -> bool:
        """Small packets of it are worth sending twice."""
        return self in URGENT


URGENT: Final = tuple(flow for flow in FlowClass if flow.kind is Kind.VOICE or flow.precedence >= Precedence.IMMEDIATE)
"""Of which small packets are worth sending twice; PROBE has a bit for each, in this order."""
_DSCP: Final = {
    FlowClass.BULK: 1,  # lower effort, RFC 8622
    FlowClass.DATA_ROUTINE: 0,  # default forwarding, RFC 2474 §4.1
    FlowClass.DATA_PRIORITY: 11,
    FlowClass.DATA_IMMEDIATE: 19,
    FlowClass.DATA_FLASH: 27,
    FlowClass.DATA_FLASH_OVERRIDE: 31,
    FlowClass.VOICE_ROUTINE: 46,  # expedited forwarding, RFC 3246
    FlowClass.VOICE_PRIORITY: 35,
    FlowClass.VOICE_IMMEDIATE: 39,
    FlowClass.VOICE_FLASH: 43,
    FlowClass.VOICE_FLASH_OVERRIDE: 47,
}
CONTROL_DSCP: Final = 48
"""Probes and SWITCH: class selector 6, network control (RFC 4594 §3.1). Nobody on the local network may use it."""
_FOREIGN: Final = {44: FlowClass.VOICE_ROUTINE, 8: FlowClass.BULK}  # VOICE-ADMIT (RFC 5865); CS1, the old lower effort (RFC 4594 §4.10)
_CLASS_OF_DSCP: Final = {dscp: flow for flow, dscp in _DSCP.items()} | _FOREIGN


def of_dscp(dscp: int, ceiling: Precedence) -> FlowClass:
    """The class of a packet from the local network whose sender may use levels up to `ceiling`.

    A mark above it counts as the ceiling; an unknown one, and network control, as routine data: a mark can never open more than its sender
    was granted.
    """
    flow = _CLASS_OF_DSCP.get(dscp, FlowClass.DATA_ROUTINE)
    return FlowClass.of(flow.kind, min(flow.precedence, ceiling))


@dataclass(frozen=True, slots=True)
class VoiceService:
    """Where media of the phone service go: a relay or forwarder. What goes there and comes from there is voice, marked or not."""

    network: IPv4Network | IPv6Network
    first_port: int
    last_port: int

    def __post_init__(self) -> None:
        if not 1 <= self.first_port <= self.last_port <= 65535:
            raise ValueError(f"ports {self.first_port} to {self.last_port}: use 1 to 65535, the lower one first")


def in_order() -> list[FlowClass]:
    """All classes, the first served first; voice before data of equal rank."""
    return sorted(FlowClass, key=lambda flow: (flow.rank, flow.precedence, flow.kind is Kind.VOICE), reverse=True)
