"""The real agents in the laboratory: an organisation made for it, a certified site and two certified gateways, and their configuration.

Keys, certificates and the log live in the laboratory's own directory and end with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tramontana.cli.lab_network import GATEWAYS, UPLINKS, Network
from tramontana.keys.certificate import Certificate, Grant, issue_certificate, issue_log_key
from tramontana.keys.identity import DeviceKey
from tramontana.keys.log import LogKey
from tramontana.keys.organisation import OrganisationKey
from tramontana.keys.profiles import DEFAULT_PROFILE
from tramontana.precedence import Precedence
from tramontana.private_file import make_private
from tramontana.space.ground import Place

SITE_NUMBER: Final = 2
SITE_NETWORK: Final = "10.64.1.0/24"
WIREGUARD_SOCKETS: Final = Path("/var/run/wireguard")
LIFETIME_S: Final = 30 * 86400
_STATUS_TIMEOUT_S: Final = 5.0


@dataclass(slots=True)
class Agents:
    """What `prepare` made: a configuration for each agent."""

    network: Network
    directory: Path
    place: Place
    data: Path
    hosts: dict[str, str] = field(default_factory=dict)
    """By device id."""

    def command(self, host: str) -> list[str]:
        """The agent of a host, as arguments of `tramontana`."""
        return ["site" if host == "site" else "gateway", "run", "--config", str(self._config(host))]

    def prepare(self) -> None:
        """Make organisation, certificates and configurations. Raises `LocalError`."""
        now = int(time.time()) - 60  # clocks of one machine, but whole seconds
        key = OrganisationKey.generate("Laboratory", DEFAULT_PROFILE, now=now)
        entries = [key.root.encoded, issue_log_key(key, secrets.token_hex(16), LogKey.generate().public_bytes, now=now).encoded]
        founders = [_certify(key, DeviceKey.generate(), name, ("custodian", "member"), (), now) for name in ("First", "Second")]
        made = {host: DeviceKey.generate() for host in ("site", "gateway1", "gateway2")}
        approvers = tuple(founder.grant.device_id for founder in founders)
        certificates = {
            host: _certify(key, device, host, ("site" if host == "site" else "gateway",), approvers, now) for host, device in made.items()
        }
        entries += [each.encoded for each in (*founders, *certificates.values())]
        (self.directory / "log").write_bytes(b"".join(len(entry).to_bytes(4, "big") + entry for entry in entries))
        ids = {host: certificate.grant.device_id for host, certificate in certificates.items()}
        self.hosts = {device_id: host for host, device_id in ids.items()}
        for host, device in made.items():
            own = self._state(host)
            own.mkdir(mode=0o700)
            make_private(own / "device.key", device.reveal())
            (own / "certificate").write_bytes(certificates[host].encoded)
            text = self._common(host, key.root.fingerprint_text)
            text += self._site(ids) if host == "site" else self._gateway(int(host[-1]) - 1, ids)
            self._config(host).write_text(text)

    def announce(self, outages: dict[str, tuple[float, float]]) -> None:
        """Tell the site of outages as its carriers would: by a file."""
        text = ""
        for carrier, (start, end) in outages.items():
            begins, ends = (datetime.fromtimestamp(at, UTC).isoformat() for at in (start, end))
            text += f'[[outage]]\ncarrier = "{carrier}"\nfrom = {begins}\nuntil = {ends}\nreason = "announced outage"\n'
        temporary = self.directory / "announced.new"
        temporary.write_text(text)
        temporary.replace(self.directory / "announced.toml")

    def status(self, host: str) -> dict[str, Any] | None:
        """What an agent says of itself; None while nobody answers."""
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_STATUS_TIMEOUT_S)
            connection.connect(str(self._state(host) / "status.sock"))
            with connection.makefile("rb") as lines:
                found: dict[str, Any] = json.loads(lines.readline())
                return found
        return None

    def _common(self, host: str, organisation: str) -> str:
        own = self._state(host)
        return (
            f'tag = "{tag(self.network, host)}"\nstate = "{own}"\ndevice_key = "{own}/device.key"\ncertificate = "{own}/certificate"\n'
            f'log = "{self.directory}/log"\norganisation = "{organisation}"\n'
        )

    def _site(self, ids: dict[str, str]) -> str:
        underlay = self.network.namespace("underlay")
        text = f'number = {SITE_NUMBER}\nnetworks = ["{SITE_NETWORK}"]\nunderlay = "{underlay}"\nlocal = ["lan"]\n'
        text += f'announced = "{self.directory}/announced.toml"\n'
        place = f"latitude_deg = {self.place.latitude_deg}\nlongitude_deg = {self.place.longitude_deg}\nheight_m = {self.place.height_m}\n"
        text += f'[lookout]\n{place}data = "{self.data}"\nsimulated = true\n'
        for uplink in UPLINKS:
            text += (
                f'[[uplink]]\nindex = {uplink.number}\ninterface = "{uplink.carrier_id}"\ncarrier = "{uplink.carrier_id}"\n'
                f'address = "{uplink.near_address[0]}/30"\nvia = "{uplink.far_address[0]}"\n'
            )
        for number, (address, _) in enumerate(GATEWAYS):
            text += f'[[gateway]]\nid = "{ids[f"gateway{number + 1}"]}"\nnumber = {number}\naddress = "{address}"\n'
        return text

    def _gateway(self, number: int, ids: dict[str, str]) -> str:
        indexes = ", ".join(str(uplink.number) for uplink in UPLINKS)
        return (
            f'number = {number}\naddress = "{GATEWAYS[number][0]}"\noutside = "eth0"\nuplinks = [{indexes}]\n'
            f'[[site]]\nid = "{ids["site"]}"\nnumber = {SITE_NUMBER}\nnetworks = ["{SITE_NETWORK}"]\n'
        )

    def _state(self, host: str) -> Path:
        return self.directory / host

    def _config(self, host: str) -> Path:
        return self.directory / f"{host}.toml"


def tag(network: Network, host: str) -> str:
    """What the names of an agent's interfaces begin with: unique on the machine, whatever laboratories run."""
    part = {"site": "s", "gateway1": "a", "gateway2": "b"}[host]
    return f"t{hashlib.sha256(network.name.encode()).hexdigest()[:4]}{part}"


def remove_wireguard(network: Network) -> None:
    """End the wireguard-go processes of a laboratory that was killed, by their sockets' names, and remove those."""
    for host in ("site", "gateway1", "gateway2"):
        for path in WIREGUARD_SOCKETS.glob(f"{tag(network, host)}*.sock"):
            with suppress(OSError):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(path))
                    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                os.kill(int.from_bytes(credentials[:4], "little"), signal.SIGTERM)
            path.unlink(missing_ok=True)


def _certify(
    key: OrganisationKey, device: DeviceKey, name: str, roles: tuple[str, ...], approvers: tuple[str, ...], now: int
) -> Certificate:
    grant = Grant(
        account_id=secrets.token_hex(16),
        device_id=secrets.token_hex(16),
        signature_public_key=device.public_bytes,
        display_name=name,
        unit="Laboratory",
        roles=tuple(sorted(roles)),
        ceiling=Precedence.ROUTINE,
        not_after=now + LIFETIME_S,
    )
    return issue_certificate(key, secrets.token_hex(16), grant, list(approvers), now=now)
