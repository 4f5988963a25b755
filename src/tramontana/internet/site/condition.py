"""A site's condition, as its status shows it, put into the words of a report to the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tramontana.carrier_hours import CarrierHour
from tramontana.internet.driver import position_of
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.overlay import TunnelId
from tramontana.internet.report import MAX_WORDS, MOST_SWITCHES, MOST_TUNNELS, Carrying, SiteReport, Switched, Tunnel
from tramontana.internet.settings import SiteSettings
from tramontana.internet.uplink_choice import Changed, UplinkChoice


def report_of(
    condition: Mapping[str, Any], settings: SiteSettings, log_size: int, hours: tuple[CarrierHour, ...], now: float
) -> SiteReport:
    """now: POSIX seconds."""
    carriers = {uplink.index: uplink.carrier for uplink in settings.uplink}
    carrying = condition["carrying"]
    return SiteReport(
        at=now,
        log_size=log_size,
        carrying=None if carrying is None else Carrying(**carrying, carrier=carriers[carrying["uplink"]]),
        blocked=None if condition["blocked"] is None else condition["blocked"][:MAX_WORDS],
        tunnels=tuple(_tunnel_report(each, carriers) for each in condition["tunnels"][:MOST_TUNNELS]),
        switches=tuple(
            Switched(
                at=now - each["ago_s"],
                before=carriers.get(each["from"]),
                after=carriers.get(each["to"]),
                reason=each["reason"][:MAX_WORDS],
            )
            for each in condition["history"]
            if FlowClass.DATA_ROUTINE.label in each["flows"]
        )[-MOST_SWITCHES:],
        hours=hours,
        position=position_of(settings),
    )


def by_reason(blocked: Mapping[FlowClass, str]) -> list[dict[str, Any]]:
    """The flows of each reason: why they are blocked, or go once."""
    reasons: dict[str, list[str]] = {}
    for flow, reason in blocked.items():
        reasons.setdefault(reason, []).append(flow.label)
    return [{"flows": flows, "reason": reason} for reason, flows in reasons.items()]


def copies_status(choice: UplinkChoice | None) -> dict[str, Any]:
    """What goes twice, and through which tunnel the second time; what the policy wants to go twice at all times and does not, and why."""
    over: dict[TunnelId, list[str]] = {}
    for flow, tunnel in () if choice is None else choice.duplicated.items():
        if tunnel is not None:
            over.setdefault(tunnel, []).append(flow.label)
    return {
        "over": [{"gateway": tunnel.gateway, "uplink": tunnel.uplink, "flows": flows} for tunnel, flows in over.items()],
        "paused": [] if choice is None else by_reason(choice.uncopied),
    }


def _tunnel_report(status: dict[str, Any], carriers: dict[int, str]) -> Tunnel:
    round_trip_s = status["round_trip_s"]
    return Tunnel(
        gateway=status["gateway"],
        uplink=status["uplink"],
        carrier=carriers[status["uplink"]],
        up=status["up"],
        health=status["health"],
        delay_ms=None if round_trip_s is None else round(round_trip_s * 1e3, 1),
        loss=status["loss"],
        key_age_s=status["key_age_s"],
        handshake_age_s=status["last_handshake_age_s"],
    )


def changed(change: Changed, now: float) -> dict[str, Any]:
    """now: by the clock of the uplinks' driver."""
    return {
        "ago_s": round(now - change.at, 1),
        "flows": [flow.label for flow in change.flows],
        "from": change.before.uplink if change.before else None,
        "to": change.after.uplink if change.after else None,
        "reason": change.reason,
    }
