"""A real base-station controller (Debian's osmo-bsc) with two cells, 1-6969 and 1-6970, for tests.

Its ports for base stations and for its terminal are fixed, so one of it runs at a time. Without SCTP in the kernel it goes on without a
switching centre, which cell broadcast does not need.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OSMO_BSC = shutil.which("osmo-bsc")
CELLS = ("1-6969", "1-6970")
VTY_PORT = 4242
_FIXED_PORTS = (3002, 3003, VTY_PORT, 4249)
_START_TIMEOUT_S = 60.0

_BTS = """ bts {number}
  type osmo-bts
  band DCS1800
  cell_identity {ci}
  location_area_code 1
  base_station_id_code 63
  ipa unit-id {ci} 0
  oml ipa stream-id 255 line 0
  gprs mode none
  trx 0
   rf_locked 0
   arfcn {arfcn}
   nominal power 23
   max_power_red 20
   rsl e1 tei 0
   timeslot 0
    phys_chan_config CCCH+SDCCH4+CBCH
    hopping enabled 0
"""


@dataclass(frozen=True)
class OsmoBsc:
    """A running controller."""

    cbsp_port: int

    def messages(self, bts: int) -> dict[tuple[int, int], int]:
        """(message identifier, serial number) → pages of what is on the air in a cell, as the controller's own terminal tells."""
        with socket.create_connection(("127.0.0.1", VTY_PORT), timeout=10) as terminal:
            _until(terminal, b"OsmoBSC> ")
            terminal.sendall(b"enable\n")
            _until(terminal, b"OsmoBSC# ")
            terminal.sendall(f"show bts {bts} smscb\n".encode())
            shown = _until(terminal, b"OsmoBSC# ")
        rows = re.findall(rb"^\s*([0-9a-f]{4}) \|\s+([0-9a-f]{4}) \|\s+(\d+) \|", shown, re.MULTILINE)
        return {(int(message, 16), int(serial, 16)): int(pages) for message, serial, pages in rows}


def why_not() -> str | None:
    """Why no controller can run here, or None."""
    if OSMO_BSC is None:
        return "osmo-bsc is not installed (Debian: apt-get install osmo-bsc)"
    for port in _FIXED_PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return f"something listens on port {port}, which osmo-bsc needs"
    return None


@contextmanager
def osmo_bsc(directory: Path, *, cbsp_port: int | None = None) -> Iterator[OsmoBsc]:
    """Start one; it is ended at the end."""
    assert OSMO_BSC is not None
    running = OsmoBsc(cbsp_port or _free_port())
    settings = directory / "osmo-bsc.cfg"
    settings.write_text(
        "log stderr\n logging level set-all notice\nline vty\n bind 127.0.0.1\n"
        "e1_input\n e1_line 0 driver ipa\nnetwork\n network country code 222\n mobile network code 1\n"
        + "".join(_BTS.format(number=n, ci=6969 + n, arfcn=871 + 2 * n) for n in range(len(CELLS)))
        + f"cbc\n mode server\n server\n  local-ip 127.0.0.1\n  local-port {running.cbsp_port}\n"
    )
    with (directory / "osmo-bsc.log").open("wb") as log:
        process = subprocess.Popen([OSMO_BSC, "-c", str(settings)], cwd=directory, stdout=log, stderr=log)
    try:
        _wait_until_it_listens(process, running.cbsp_port, directory / "osmo-bsc.log")
        yield running
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    needle = f":{port:04X} "
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")
        # Looked up, not tried: the controller takes a connection for a broadcast centre.
        if any(needle in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines()):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text(errors="replace"))


def _until(terminal: socket.socket, prompt: bytes) -> bytes:
    shown = b""
    while not shown.endswith(prompt):
        more = terminal.recv(65536)
        assert more, shown
        shown += more
    return shown


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
