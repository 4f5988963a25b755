"""What a gateway tells a monitoring system: the text format of Prometheus, version 0.0.4, out of the gateway's status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with all its values."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: tuple[tuple[Labels, float], ...]


def exposition(families: Iterable[Family]) -> str:
    """The text; families without a value are left out."""
    lines = []
    for family in families:
        if family.samples:
            lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
            for labels, value in family.samples:
                written = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels.items())
                lines.append(f"{family.name}{{{written}}} {value:.15g}" if written else f"{family.name} {value:.15g}")
    return "".join(line + "\n" for line in lines)


@dataclass(frozen=True, slots=True)
class ShapedCount:
    """What a gateway sent to a site through one tunnel, since its share is shaped."""

    site: str
    uplink: int
    octets: int
    packets: int


def gateway_families(status: Mapping[str, Any], shaped: Iterable[ShapedCount], proxy: Mapping[str, Any] | None) -> list[Family]:
    """status: as `tramontana gateway status` prints it; proxy: the TCP proxy's, if it runs. A site is named by its device id."""
    sites = [({"site": site["site"]}, site) for site in status["sites"]]
    tunnels = [({"site": tunnel["site"], "uplink": str(tunnel["uplink"])}, tunnel) for _, site in sites for tunnel in site["tunnels"]]
    sent = [({"site": each.site, "uplink": str(each.uplink)}, {"octets": each.octets, "packets": each.packets}) for each in shaped]

    def gauge(name: str, text: str, found: Iterable[tuple[Labels, float | None]]) -> Family:
        return Family(f"tramontana_{name}", "gauge", text, tuple((labels, float(v)) for labels, v in found if v is not None))

    def counter(name: str, text: str, found: Iterable[tuple[Labels, float | None]]) -> Family:
        return Family(f"tramontana_{name}_total", "counter", text, gauge(name, text, found).samples)

    def of(found: Iterable[tuple[Labels, Mapping[str, Any]]], key: str) -> Iterable[tuple[Labels, float | None]]:
        return ((labels, each[key]) for labels, each in found)

    families = [
        gauge("gateway_fault", "1 while the gateway has a fault; its status says which.", [({}, status["fault"] is not None)]),
        counter("gateway_malformed", "Datagrams in tunnels that were none of ours.", [({}, status["malformed"])]),
        gauge("site_control_open", "1 while the site's control connection is open.", [(s, each["control"] == "open") for s, each in sites]),
        gauge("site_blocked", "1 while no uplink leads routine data to the site.", [(s, each["carrying"] is None) for s, each in sites]),
        gauge("site_carrying_uplink", "Index of the uplink that leads routine data to the site.", of(sites, "carrying")),
        counter("site_switches", "How often the site moved traffic.", of(sites, "switches")),
        gauge("site_probe_age_seconds", "Since the site's last probe.", of(sites, "probe_age_s")),
        counter("site_sent_octets", "To the site, before encryption, since its share of the tunnel is shaped.", of(sent, "octets")),
        counter("site_sent_packets", "To the site, before encryption, since its share of the tunnel is shaped.", of(sent, "packets")),
        gauge("tunnel_up", "1 while the tunnel has a session.", [(labels, each["up"]) for labels, each in tunnels]),
        gauge("tunnel_key_age_seconds", "Age of the post-quantum preshared key.", of(tunnels, "key_age_s")),
        gauge("tunnel_handshake_age_seconds", "Since WireGuard's last handshake.", of(tunnels, "last_handshake_age_s")),
        counter("tunnel_received_octets", "From the site, as WireGuard counts.", of(tunnels, "received")),
        counter("tunnel_sent_octets", "To the site, as WireGuard counts.", of(tunnels, "sent")),
    ]
    if proxy is not None:
        families += [
            gauge("tcp_proxy_connections", "TCP connections that the proxy carries.", [({}, proxy["connections"])]),
            counter("tcp_proxy_carried", "TCP connections that the proxy let in.", [({}, proxy["carried"])]),
            counter("tcp_proxy_refused", "TCP connections that could not be made.", [({}, proxy["refused"])]),
            counter("tcp_proxy_passed_on", "TCP connections left as they are, because there were too many.", [({}, proxy["passed_on"])]),
        ]
    return families
