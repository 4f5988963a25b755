"""The end of a router's secrets, by its crew's command or by the organisation's order. What was begun is finished at the next start.

The rules stay: a site without keys lets nothing out, a gateway without them forwards nothing. Overwriting reaches what the file system has
still in the same place; flash memory and journals may keep older copies, as any machine's do.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tramontana.errors import LocalError, TramontanaError
from tramontana.internet.linux import tcp_proxy
from tramontana.internet.log_file import LogFile
from tramontana.internet.settings import GatewaySettings, SiteSettings
from tramontana.private_file import replace_private

MARK = "zeroised"
"""The file of the state directory that is there from the beginning of it on."""
_DRAFT = f".*.{'[0-9a-f]' * 16}"
KEYS = ("*.key", "*.tunnel", "tls.pem", "device.secret", "device.db*", _DRAFT, f"{_DRAFT}.new")
"""First of all, with drafts that a crash may have left (`private_file`)."""
KNOWLEDGE = ("networks.json", "usage.json", "service.json", "gateways.json", "sites.json", "sequence*", "routes*.json")
"""Who the organisation's members are, where a site was, which sites and gateways there are."""
PIECE_BYTES = 1 << 16
_ORGANISATION = re.compile(rb"^organisation\s*=.*$", re.MULTILINE)
Step = Callable[[], object]

log = logging.getLogger("tramontana.zeroise")


class Zeroised(LocalError):
    """This router's keys were destroyed; it stays closed until it joins again with a new invitation."""


def is_begun(state: Path) -> bool:
    return (state / MARK).exists()


def begin(state: Path, why: str, now: float) -> None:
    """From now on there is no way back, whatever happens to this process. why: by whose word; now: POSIX seconds.

    Raises `PrivateFileError`.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_begun(state):
        replace_private(state / MARK, json.dumps({"why": why, "at": now}).encode())


def check(trust: LogFile, device_id: str, state: Path, now: float) -> None:
    """Raises `Zeroised` where the organisation orders it, or somebody here has begun it. now: POSIX seconds."""
    try:
        found = trust.revocation(device_id)
        if found is not None and found.orders_zeroise:
            begin(state, "the organisation ordered it", now)
    except TramontanaError as error:  # the tunnels of a revoked router are closed all the same, and this is tried again
        log.error("this router cannot be zeroised yet: %s", error)
    if is_begun(state):
        raise Zeroised(sentence(state))


def finish(settings: SiteSettings | GatewaySettings, config: Path, shut: Step, tunnels: Iterable[Step]) -> None:
    """Let nothing through, destroy keys, close tunnels, destroy the rest. May be repeated; what fails does not keep the rest from it.

    shut: draws the machine's rules tight; tunnels: take them away. Raises `LocalError` for the first that failed.
    """
    state, entries = settings.state, settings.log
    elsewhere = [settings.certificate, entries, entries.with_name(f"{entries.name}.revoked")]
    failures: list[TramontanaError] = []

    def attempt(step: Step) -> None:
        try:
            step()
        except TramontanaError as error:
            failures.append(error)

    attempt(shut)
    for path in [settings.device_key, *_matching(state, KEYS)]:
        attempt(partial(erase, path))
    tcp_proxy.stop(state / tcp_proxy.STATUS_SOCKET)
    for step in tunnels:
        attempt(step)
    for path in [*elsewhere, *_matching(state, (*KEYS, *KNOWLEDGE))]:
        attempt(partial(erase, path))
    attempt(partial(_forget_organisation, config))
    if failures:
        raise failures[0]


def erase(path: Path) -> None:
    """Overwrite a file and remove it. Raises `LocalError`."""
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            left = os.fstat(descriptor).st_size
            while left > 0:
                left -= file.write(secrets.token_bytes(min(PIECE_BYTES, left)))
            os.fsync(descriptor)
        path.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise LocalError(f"{path} cannot be destroyed ({error.strerror}); destroy it by hand, or the disk") from error


def forget(state: Path) -> None:
    """The machine is to join again."""
    (state / MARK).unlink(missing_ok=True)


def sentence(state: Path) -> str:
    """What is blocked, why, and what to do."""
    try:
        why = str(json.loads((state / MARK).read_bytes())["why"])
    except (OSError, ValueError, KeyError, TypeError):
        why = "nobody knows by whose word"
    return f"zeroised; {why}; its keys are destroyed; for service again, take its rules away (`down`) and join with a new invitation"


def condition(settings: SiteSettings | GatewaySettings, fault: str | None) -> dict[str, Any]:
    """As `SiteAgent.status` and `GatewayAgent.status`."""
    blocked = sentence(settings.state)
    said = {
        "id": None,
        "name": settings.tag,
        "zeroised": True,
        "blocked": blocked if fault is None else f"{blocked}; {fault}",
        "fault": fault,
    }
    if isinstance(settings, GatewaySettings):
        return {"role": "gateway", **said, "malformed": 0, "sites": []}
    empty: dict[str, Any] = {
        "blocked_flows": [],
        "copies": {"over": [], "paused": []},
        "gateways": [],
        "tunnels": [],
        "foreseen": [],
        "history": [],
    }
    return {"role": "site", **said, "carrying": None, **empty}


def _matching(state: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        yield from (path for path in state.glob(pattern) if path.is_file() and not path.is_symlink())


def _forget_organisation(config: Path) -> None:
    """Whoever knows its fingerprint is answered by gateways. The rest of the configuration says which interfaces are to be closed."""
    try:
        with config.open("r+b") as before:
            text = before.read()
            changed = _ORGANISATION.sub(f'organisation = "{MARK}"'.encode(), text)
            if changed != text:
                replace_private(config, changed)
                before.seek(0)
                before.write(secrets.token_bytes(len(text)))
                before.flush()
                os.fsync(before.fileno())
    except OSError as error:
        raise LocalError(f"cannot write {config} ({error.strerror})") from error
