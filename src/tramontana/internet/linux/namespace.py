"""Network namespaces, and commands in them. Secrets go to commands by standard input, never as arguments: those are public in /proc."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tramontana.errors import LocalError
from tramontana.network_namespace import NAMESPACES, within

COMMAND_TIMEOUT_S = 20


class HostRefused(LocalError):
    """Linux refused what a site or gateway needs; the message says what. It has to run as root, with iproute2, nftables and WireGuard."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace by its name (ip-netns(8)); None is the one in which this process runs."""

    name: str | None = None

    @property
    def exists(self) -> bool:
        return self.name is None or (NAMESPACES / self.name).exists()

    def ensure(self) -> None:
        """Make it if it is not there. Raises `HostRefused`."""
        if not self.exists:
            run(["ip", "netns", "add", str(self.name)])

    def remove(self) -> None:
        """Take it away if it is there; what moved into it from the first namespace goes back there."""
        if self.name is not None and self.exists:
            run(["ip", "netns", "del", self.name])

    def command(self, command: list[str]) -> list[str]:
        """A command line that runs in it. (`ip netns exec` would hide from others what the command does below /run/netns.)"""
        return command if self.name is None else ["nsenter", f"--net={NAMESPACES / self.name}", *command]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in it meanwhile (network_namespace.py). Raises `HostRefused`."""
        with ExitStack() as stack:
            try:
                stack.enter_context(within(self.name))
            except OSError as error:
                raise HostRefused(
                    f"cannot enter the network namespace {self.name} ({error.strerror}): is it there, and this root?"
                ) from error
            yield

    def set_sysctl(self, name: str, value: int) -> None:
        """name: below /proc/sys/net, such as `ipv4/ip_forward`. Raises `HostRefused`."""
        with self.entered():
            try:
                Path("/proc/sys/net", name).write_text(f"{value}\n")
            except OSError as error:
                raise HostRefused(f"cannot set net/{name} ({error.strerror}); run as root") from error


def run(command: list[str], *, stdin: str = "", namespace: Namespace | None = None) -> str:
    """What the command prints. Raises `HostRefused` with its complaint; what it got by standard input is not in it."""
    line = command if namespace is None else namespace.command(command)
    try:
        done = subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise HostRefused(f"{line[0]} is missing; install it (Debian: iproute2, nftables, wireguard-tools)") from error
    except OSError as error:  # no more files or processes to be had
        raise HostRefused(f"{line[0]} cannot be started ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise HostRefused(f"{line[0]} did not end within {COMMAND_TIMEOUT_S} s") from error
    if done.returncode:
        raise HostRefused(f"`{' '.join(command)}` was refused: {done.stderr.strip() or done.returncode}")
    return done.stdout


def allow_files() -> None:
    """As many open files as the system lets this process have: the usual 1024 a few strangers' connections would use up."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
