"""Links, addresses, routes and rules, as the tool `ip` sets them: each call says what has to be, and doing it twice changes nothing."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tramontana.internet.linux.namespace import Namespace, run


def batch(namespace: Namespace, lines: Iterable[str]) -> None:
    """Several commands of `ip` at once. Raises `HostRefused`."""
    text = "".join(line + "\n" for line in lines)
    if text:
        run(["ip", *_where(namespace), "-batch", "-"], stdin=text)


def has_link(namespace: Namespace, name: str) -> bool:
    with namespace.entered(), suppress(OSError):
        socket.if_nametoindex(name)
        return True
    return False


def move_link(name: str, source: Namespace, target: Namespace) -> None:
    """Into another namespace, unless it is there already. Raises `HostRefused`."""
    if not has_link(target, name):
        run(["ip", *_where(source), "link", "set", name, "netns", target.name or str(os.getpid())])


def ensure_rules(namespace: Namespace, marks: Iterable[int]) -> None:
    """Packets with mark n are routed by table n. Raises `HostRefused`."""
    for family in ("-4", "-6"):
        rules: list[dict[str, Any]] = json.loads(run(["ip", *_where(namespace), "-json", family, "rule", "show"]) or "[]")
        there = {(int(rule["fwmark"], 16), str(rule["table"])) for rule in rules if "fwmark" in rule and "table" in rule}
        for mark in marks:
            if (mark, str(mark)) not in there:
                run(["ip", *_where(namespace), family, "rule", "add", "fwmark", str(mark), "lookup", str(mark)])


def _where(namespace: Namespace) -> list[str]:
    return [] if namespace.name is None else ["-n", namespace.name]
