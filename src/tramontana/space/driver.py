"""Current elements from CelesTrak over HTTPS, with its usage policy kept: at most one download a group in two hours.

Policy: celestrak.org/usage-policy.php (May 2026): data is renewed every two hours at most, and programs must stop at any answer other than
200 and show it to a person. So an answer of any kind starts the two hours; only a server that could not be reached does not.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import httpx

from tramontana import __version__
from tramontana.errors import LocalError, RemoteError
from tramontana.space.element_set import clean_name
from tramontana.space.elements import LARGEST_FILE_BYTES
from tramontana.space.fleet import utc_text
from tramontana.space.fleet_file import write_atomically

CELESTRAK_URL = "https://celestrak.org/NORAD/elements/gp.php"
ATTRIBUTION = "CelesTrak (celestrak.org), from GP data of the US Space Force"
USER_AGENT = f"tramontana/{__version__} (orbital elements for a satellite path model; at most one request in two hours)"
MINIMUM_INTERVAL_S = 2 * 3600.0  # CelesTrak's update interval
TIMEOUT_S = 30.0
CACHE_DIRECTORY = Path("sky", "celestrak")  # below the data directory
_GROUP = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)


class FetchError(RemoteError):
    """Elements could not be fetched; the message says why and what to do. What was loaded before stays in use."""


class TooSoonError(LocalError):
    """The group was asked for less than two hours ago; the message names the cached copy, if there is one."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: the bytes, and the file that keeps them."""

    data: bytes
    path: Path


def fetch_elements(
    group: str,
    *,
    directory: Path,
    now_unix_s: float,
    transport: httpx.BaseTransport | None = None,
    url: str = CELESTRAK_URL,
    largest_bytes: int = LARGEST_FILE_BYTES,
) -> Fetched:
    """Download one group as OMM in JSON and keep it in the data directory.

    Raises `TooSoonError` within two hours of the last answer, `LocalError` for a name that no group has or a directory that cannot be
    written, and `FetchError` for everything that goes wrong on the way or at the other end.
    """
    if not _GROUP.fullmatch(group):
        raise LocalError(f"{clean_name(group)!r} is no group of CelesTrak: use lower-case letters, digits and dashes, for example starlink")
    cache = directory / CACHE_DIRECTORY
    data_path, stamp_path = cache / f"{group}.json", cache / f"{group}.stamp"
    _refuse_too_soon(group, data_path, stamp_path, now_unix_s)
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = _download(group, stamp_path, now_unix_s, transport, url, largest_bytes)
        write_atomically(data_path, data)
    except OSError as error:
        raise LocalError(f"cannot write to {cache} ({error.strerror}): make room or check the permissions") from error
    return Fetched(data, data_path)


def _download(
    group: str, stamp_path: Path, now_unix_s: float, transport: httpx.BaseTransport | None, url: str, largest_bytes: int
) -> bytes:
    """One request, one answer. The stamp is written as soon as the server answers, whatever it says."""
    body = bytearray()
    try:
        with (
            httpx.Client(transport=transport, timeout=TIMEOUT_S, follow_redirects=False, headers={"User-Agent": USER_AGENT}) as client,
            client.stream("GET", url, params={"GROUP": group, "FORMAT": "json"}) as response,
        ):
            write_atomically(stamp_path, json.dumps({"asked_unix_s": now_unix_s, "status": response.status_code}).encode())
            if response.status_code != httpx.codes.OK:
                raise FetchError(_explain(response.status_code, group))
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > largest_bytes:
                    raise FetchError(
                        f"CelesTrak sends more than {largest_bytes:,} bytes for {group}: that is no list of satellites; nothing was kept"
                    )
    except httpx.RequestError as error:
        raise FetchError(
            f"cannot get elements from {httpx.URL(url).host} ({type(error).__name__}: {error}): check the internet connection, "
            "or bring a file from another machine and use `tramontana sky load FILE`"
        ) from error
    if not bytes(body[:64]).lstrip().startswith((b"[", b"{")):
        said = clean_name(bytes(body[:200]).decode("utf-8", errors="replace"))
        raise FetchError(
            f"CelesTrak has no elements for the group {group!r}; it says: {said!r}. See celestrak.org/NORAD/elements for the groups"
        )
    return bytes(body)


def _refuse_too_soon(group: str, data_path: Path, stamp_path: Path, now_unix_s: float) -> None:
    try:
        asked = float(json.loads(stamp_path.read_bytes())["asked_unix_s"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LocalError(
            f"cannot tell when CelesTrak was asked last: {stamp_path} is unreadable; delete it if that was two hours ago"
        ) from error
    wait_s = asked + MINIMUM_INTERVAL_S - now_unix_s
    # A stamp from the future, after a wrong clock was set right, must not lock for longer than the interval.
    if 0 < wait_s <= MINIMUM_INTERVAL_S:
        kept = f"; the last download is in {data_path}, use `tramontana sky load` on it" if data_path.exists() else ""
        raise TooSoonError(
            f"CelesTrak was asked for {group} {(now_unix_s - asked) / 60:.0f} minutes ago and renews its data every two hours: "
            f"try again after {utc_text(asked + MINIMUM_INTERVAL_S)}{kept}"
        )


def _explain(status: int, group: str) -> str:
    if status == httpx.codes.FORBIDDEN:
        return (
            "CelesTrak refuses this address (403), which it does after too many downloads: wait at least two hours, "
            "and fetch from one machine of the network only"
        )
    if status == httpx.codes.NOT_FOUND:
        return f"CelesTrak has no group {group!r} (404): see celestrak.org/NORAD/elements for the groups"
    if 300 <= status < 400:
        return f"CelesTrak answers with a redirect ({status}): its address has changed; get a newer version, or download a file and load it"
    return f"CelesTrak answers {status}: try again in two hours, or download a file elsewhere and use `tramontana sky load FILE`"
