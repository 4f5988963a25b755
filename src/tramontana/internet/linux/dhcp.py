"""DHCP on an uplink, in the underlay: a client of its own whose address and router go where the uplink's mark leads, and nowhere else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tramontana.internet.linux.namespace import HostRefused, Namespace

CLIENT: Final = "udhcpc"
PATHS: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
# The client sets these variables from addresses that it has parsed (udhcpc(8)); names and other texts of the server are not used.
_NEVER: Final = ("0.*", "127.*", "169.254.*", "22[4-9].*", "2[3-5][0-9].*")
"""Addresses that nobody leases, as patterns of the shell (RFC 6890 §2.2.2, RFC 3927 §1.6, RFC 5771 §3)."""
_SCRIPT: Final = """#!/bin/sh
event="$1"
case "$event" in
bound | renew)
    case "$ip" in
    {forbidden}) event=nak ;;
    esac
    ;;
esac
case "$event" in
deconfig)
    ip link set "$interface" up
    ;;
bound | renew)
    for old in $(ip -4 -o address show dev "$interface" | awk '{{ print $4 }}'); do
        [ "$old" = "$ip/$mask" ] || ip address del "$old" dev "$interface"
    done
    ip address replace "$ip/$mask" dev "$interface"
    for each in $router; do
        ip route replace default via "$each" dev "$interface" onlink table {table}
        break
    done
    ;;
leasefail | nak)
    ip -4 address flush dev "$interface"
    ip -4 route flush table {table}
    ;;
esac
exit 0
"""


def lease_script(table: int, gateways: Iterable[str]) -> str:
    """What the client runs at every event. gateways: addresses that no lease may have, or their packets would end on this machine."""
    own = sorted(each for each in gateways if ":" not in each)
    return _SCRIPT.format(table=table, forbidden=" | ".join([*_NEVER, *own]))


def client_program() -> str | None:
    """The client's path; None where it is not installed."""
    return shutil.which(CLIENT, path=os.environ.get("PATH", PATHS))


class DhcpClient:
    """Of one uplink. Like WireGuard it outlives the agent that started it, and the next agent goes on with it."""

    def __init__(self, underlay: Namespace, interface: str, table: int, state: Path, gateways: Iterable[str]) -> None:
        self._underlay, self._interface, self._text = underlay, interface, lease_script(table, gateways)
        self._script, self._pid_file = state / f"dhcp-{interface}.sh", state / f"dhcp-{interface}.pid"
        self._process: subprocess.Popen[bytes] | None = None

    def ensure(self) -> None:
        """Start the client unless it runs; one that runs goes on with this script. Raises `HostRefused`."""
        self._write_script()
        if self._pid() is not None or (self._process is not None and self._process.poll() is None):
            return
        program = client_program()
        if program is None:
            raise HostRefused(f"{CLIENT} is missing for `dhcp = true`; install it (Debian: udhcpc), or give the uplink `address` and `via`")
        command = [
            program,
            "-f",
            "-R",
            "-i",
            self._interface,
            "-s",
            str(self._script),
            "-p",
            str(self._pid_file),
            "-t",
            "5",
            "-T",
            "2",
            "-A",
            "3",
        ]
        try:
            self._process = subprocess.Popen(
                self._underlay.command(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", PATHS)},
                start_new_session=True,
            )
        except OSError as error:  # no more files or processes to be had
            raise HostRefused(f"{CLIENT} cannot be started ({error.strerror})") from error

    def _write_script(self) -> None:
        with suppress(FileNotFoundError):
            if self._script.read_text() == self._text:
                return
        made = self._script.with_suffix(".new")  # in one step: the client may be about to run it
        made.write_text(self._text)
        made.chmod(0o700)
        made.replace(self._script)

    def stop(self) -> None:
        """Give the address back, and end. Nothing if it does not run."""
        pid = self._pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for file in (self._script, self._pid_file):
            file.unlink(missing_ok=True)

    def _pid(self) -> int | None:
        """Of the client, if it runs: a number may belong to another process after a restart of the machine."""
        try:
            pid = int(self._pid_file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if str(self._script).encode() in words else None
