"""Network namespaces that a test makes for itself and takes away again."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import pytest


@lru_cache(maxsize=1)
def why_not() -> str | None:
    """What this machine lacks for namespaces, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root: tests of tunnels and traffic control are skipped"
    lacking = [tool for tool in ("ip", "tc", "nft") if shutil.which(tool) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed: tests of tunnels and traffic control are skipped"
    name = f"probe{secrets.token_hex(3)}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "this machine permits no network namespaces: tests of tunnels and traffic control are skipped"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


def require_namespaces(*tools: str) -> None:
    """Skip the calling test where the machine lacks what it needs."""
    reason = why_not() or next((f"{tool} is not installed: tests of tunnels are skipped" for tool in tools if not shutil.which(tool)), None)
    if reason:
        pytest.skip(reason)


@dataclass
class Lab:
    """Namespaces by short name; the real names are unique on this machine."""

    prefix: str
    names: list[str] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def add(self, *names: str) -> None:
        for name in names:
            run("ip", "netns", "add", self.real(name))
            self.names.append(name)
            self.run(name, "ip", "link", "set", "lo", "up")
            self.run(name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")

    def real(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def run(self, name: str, *words: str, check: bool = True) -> str:
        return run("ip", "netns", "exec", self.real(name), *words, check=check)

    def start(self, name: str, *words: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = ["ip", "netns", "exec", self.real(name), *words]
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.processes.append(process)
        return process

    def python(self, name: str, *words: str) -> subprocess.Popen[str]:
        return self.start(name, sys.executable, "-u", *words)

    def join(self, left: str, left_device: str, left_address: str, right: str, right_device: str, right_address: str) -> None:
        """A veth pair with an address at each end."""
        left_end = ("name", left_device, "netns", self.real(left))
        right_end = ("name", right_device, "netns", self.real(right))
        run("ip", "link", "add", *left_end, "type", "veth", "peer", *right_end)
        for name, device, address in ((left, left_device, left_address), (right, right_device, right_address)):
            self.run(name, "ip", "address", "add", address, "dev", device)
            self.run(name, "ip", "link", "set", device, "up")

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", self.real(name)], capture_output=True, check=False)


def run(*words: str, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout


@contextmanager
def lab() -> Iterator[Lab]:
    made = Lab(f"t{secrets.token_hex(2)}")
    try:
        yield made
    finally:
        made.close()
