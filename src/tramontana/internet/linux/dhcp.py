"""DHCP on an uplink, in the underlay: a client of its own whose address and router go where the uplink's mark leads, and nowhere else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from tramontana.internet.linux.namespace import HostRefused, Namespace

CLIENT: Final = "udhcpc"
PATHS: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
# The client sets these variables from addresses that it has parsed (udhcpc(8)); names and other texts of the server are not used.
_SCRIPT: Final = """#!/bin/sh
case "$1" in
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


class DhcpClient:
    """Of one uplink. Like WireGuard it outlives the agent that started it, and the next agent goes on with it."""

    def __init__(self, underlay: Namespace, interface: str, table: int, state: Path) -> None:
        self._underlay, self._interface, self._table = underlay, interface, table
        self._script, self._pid_file = state / f"dhcp-{interface}.sh", state / f"dhcp-{interface}.pid"
        self._process: subprocess.Popen[bytes] | None = None

    def ensure(self) -> None:
        """Start the client unless it runs. Raises `HostRefused`."""
        if self._pid() is not None or (self._process is not None and self._process.poll() is None):
            return
        path = os.environ.get("PATH", PATHS)
        program = shutil.which(CLIENT, path=path)
        if program is None:
            raise HostRefused(f"{CLIENT} is missing for `dhcp = true`; install it (Debian: udhcpc), or give the uplink `address` and `via`")
        self._script.write_text(_SCRIPT.format(table=self._table))
        self._script.chmod(0o700)
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
        self._process = subprocess.Popen(
            self._underlay.command(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": path},
            start_new_session=True,
        )

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
