"""Asks a Starlink terminal at its local gRPC address: once, or beside a site's agent again and again.

The library that asks knows nothing of marks and namespaces, so the agent makes the connection to the terminal itself, with the uplink's
mark, in the namespace of the uplinks, and hands it on at a socket of its state directory. Nothing else reaches the terminal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tramontana.control_socket import private_listener
from tramontana.errors import LocalError
from tramontana.internet.dish import ASK_EVERY_S, PORT, DishState, encode_answer, parse_answer, read_dish
from tramontana.internet.linux.namespace import Namespace

RESTART_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 5.0
PIECE_OCTETS: Final = 1 << 16
LONGEST_LINE: Final = 1 << 20
LONGEST_FAULT: Final = 200
NOT_INSTALLED: Final = "reading a Starlink terminal needs the package starlink-grpc-core: pip install 'tramontana[starlink]'"

log = logging.getLogger("tramontana.site")


def ask_dish(address: str) -> DishState:
    """Ask a terminal everything. address: HOST:PORT, or unix:PATH. Raises `LocalError` if it does not answer, or without the package."""
    try:
        import starlink_grpc
    except ImportError:
        raise LocalError(NOT_INSTALLED) from None
    context: Any = starlink_grpc.ChannelContext(target=address)
    try:
        try:
            status, _, alerts = starlink_grpc.status_data(context)
        except starlink_grpc.GrpcError as error:
            raise LocalError(f"no Starlink terminal answers at {address}: {_complaint(error)}") from None
        outages: list[tuple[str, int]] | None
        try:
            history = starlink_grpc.get_history(context)
            outages = [(_cause(outage), int(outage.duration_ns)) for outage in history.outages]
        except Exception:  # the history, or the outages in it, are gone from some firmware: whatever it fails with
            outages = None
        try:
            rows = starlink_grpc.obstruction_map(context)
        except starlink_grpc.GrpcError:
            rows = None
        return read_dish(status, alerts, outages, rows or None)
    finally:
        context.close()


def _cause(outage: Any) -> str:
    try:
        return str(type(outage).Cause.Name(outage.cause))
    except (AttributeError, ValueError):
        return str(getattr(outage, "cause", "unknown"))


def _complaint(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else repr(error)


class Dish:
    """The terminal of one uplink."""

    def __init__(self, underlay: Namespace, uplink: int, address: str, path: Path) -> None:
        """path: of the socket at which its connections are handed on."""
        self._underlay, self._uplink, self._address, self._path = underlay, uplink, address, path
        self.state: DishState | None = None
        self.fault: str | None = "it was not asked yet"

    def status(self) -> dict[str, Any]:
        """For people."""
        state = self.state
        said: dict[str, Any] = {"state": None, "is_obstructed": None, "alerts": []}
        if state is not None:
            said = {"state": state.state, "is_obstructed": state.is_obstructed, "alerts": list(state.alerts)}
        return {"uplink": self._uplink, **said, "fault": self.fault}

    async def follow(self, told: Callable[[int, DishState | None], None]) -> None:
        """Tell what the terminal of this uplink says, again and again, None when it does not answer; until cancelled."""
        while True:  # whatever happens to it, the site goes on without its terminal's word
            try:
                self._path.unlink(missing_ok=True)
                async with await asyncio.start_unix_server(self._hand_on, sock=private_listener(self._path)):
                    await self._ask(told)
            except (OSError, LocalError, ValueError) as error:
                self._heard(None, _complaint(error))
            told(self._uplink, None)
            await asyncio.sleep(RESTART_S)

    async def _ask(self, told: Callable[[int, DishState | None], None]) -> None:
        """Until the process that asks ends. Raises `OSError` where it cannot be begun, `ValueError` for a line without end."""
        words = ("-P", "-m", __name__, f"unix:{self._path}")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=pipe, stdout=pipe, limit=LONGEST_LINE)
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                try:
                    self._heard(parse_answer(line), None)
                except ValueError:
                    self._heard(None, line.decode(errors="replace"))
                told(self._uplink, self.state)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self._heard(None, self.fault or "the process that asks it has ended")

    def _heard(self, state: DishState | None, fault: str | None) -> None:
        self.state, fault = state, fault and fault.strip()[:LONGEST_FAULT]
        if fault != self.fault:
            self.fault = fault
            log.info("the terminal of uplink %d %s", self._uplink, "answers" if fault is None else f"does not answer: {fault}")

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection of the process that asks, to the terminal."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                onward_reader, onward = await asyncio.open_connection(sock=await self._reached())
        except (OSError, LocalError):
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_carry(reader, onward))
                tasks.create_task(_carry(onward_reader, writer))
        finally:
            onward.close()
            writer.close()

    async def _reached(self) -> socket.socket:
        with self._underlay.entered():
            made = socket.socket(socket.AF_INET6 if ":" in self._address else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._uplink)
            await asyncio.get_running_loop().sock_connect(made, (self._address, PORT))
        except BaseException:
            made.close()
            raise
        return made


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_OCTETS):
            writer.write(piece)
            await writer.drain()
    writer.close()


def main(target: str) -> None:
    """The process: a line for each answer, or a sentence where there is none, until its standard input ends: with the agent."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # an agent with real-time priority hands it down
    os.nice(19)
    try:
        import starlink_grpc
    except ImportError:
        print(NOT_INSTALLED, flush=True)
        return
    context: Any = starlink_grpc.ChannelContext(target=target)
    while not select.select([sys.stdin], [], [], ASK_EVERY_S)[0]:
        try:
            status, _, alerts = starlink_grpc.status_data(context)
            line = encode_answer(status, alerts)
        except Exception as error:  # whatever a firmware that nobody has seen makes the library fail with
            line = _complaint(error).encode() + b"\n"
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
