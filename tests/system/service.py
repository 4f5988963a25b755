"""A real service under test: `tramontana up` in an unprivileged process of its own, watched through what it prints."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tramontana.cli.demonstration import AUTHORISED_NAME, Demonstration
from tramontana.cli.organisation_key import organisation_dir
from tramontana.keys.approval import issue_preauthorisation
from tramontana.precedence import Precedence
from tramontana.private_file import replace_private

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
# Root without any capability may do what any user may do with files of his own: the service must need no more.
UNPRIVILEGED = (str(shutil.which("setpriv")), "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs") if os.getuid() == 0 else ()


def free_port() -> int:
    """A port that was free a moment ago, for both TCP and UDP."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """One running `tramontana up`."""

    def __init__(self, data: Path, port: int, arguments: tuple[str, ...] = ()) -> None:
        self.data = data
        self.port = port
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [*UNPRIVILEGED, sys.executable, "-m", "tramontana.cli.main", "up", "--data", str(data), "--port", str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_for_line(self, pattern: str, timeout_s: float = READY_TIMEOUT_S, after: int = 0) -> re.Match[str]:
        """The first line (from number `after`) that the pattern matches; fails the test with all output if none comes."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for line in self.lines[after:]:
                    if found := expression.search(line):
                        return found
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"no line matched {pattern!r}; the service printed:\n" + "\n".join(self.lines))
                self._changed.wait(min(left, 0.5))

    @property
    def output(self) -> str:
        with self._changed:
            return "\n".join(self.lines)

    def invitations(self) -> list[str]:
        self.wait_for_line(r"Phone invitation 2")
        return re.findall(r"(http\S+/phone#invite=\S+)", self.output)

    def administrator_link(self) -> str:
        return self.wait_for_line(r"(http\S+/console#admin=\S+)").group(1)

    def authorise(self, link: str, ceiling: Precedence = Precedence.ROUTINE, roles: tuple[str, ...] = ("member",)) -> str:
        """The custodians of the demonstration will let in whoever uses this invitation; returns the link."""
        return self.authorise_all([link], ceiling, roles)[0]

    def authorise_all(
        self, links: Sequence[str], ceiling: Precedence = Precedence.ROUTINE, roles: tuple[str, ...] = ("member",)
    ) -> Sequence[str]:
        """The same for several at once."""
        directory = organisation_dir(None, self.data.absolute())
        key, until = Demonstration.open(directory).key, int(time.time()) + 3600
        tokens = [parse_qs(urlsplit(link).fragment)["invite"][0] for link in links]
        digests = [hashlib.sha256(base64.urlsafe_b64decode(f"{token}=")).digest() for token in tokens]
        statements = [issue_preauthorisation(key, digest, "", roles, ceiling, until) for digest in digests]
        listed = json.loads((directory / AUTHORISED_NAME).read_bytes())
        added = [base64.b64encode(each.encoded).decode() for each in statements]
        replace_private(directory / AUTHORISED_NAME, json.dumps([*listed, *added]).encode())
        return links

    def child_pid(self, command: str) -> int:
        """The process id of one supervised part: ``serve``, ``relay`` or ``player``."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command.encode() in arguments:
                return int(pid)
        raise AssertionError(f"no {command} among the children {children}")

    def kill_child(self, command: str) -> None:
        """kill -9, as a crash would."""
        os.kill(self.child_pid(command), signal.SIGKILL)

    def stop(self) -> int:
        """Ctrl-C; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.returncode


@contextmanager
def running(data: Path, *arguments: str, port: int | None = None) -> Iterator[Service]:
    """A service that is ready, and stopped at the end."""
    service = Service(data, port or free_port(), arguments)
    try:
        service.wait_for_line(r"Phone invitation 2")
        yield service
    finally:
        service.stop()
