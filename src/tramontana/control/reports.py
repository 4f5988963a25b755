"""Reports of planning that were given to the server: pages of HTML in a folder, shown in the console inside a sandbox.

A page is shown under a policy of its own: no script runs, nothing is loaded, no form is sent, and it is a stranger to the console around
it. A browser that opens it in a frame cannot show a session's token, so the console asks for a link that holds for a few minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tramontana.errors import LocalError

DIRECTORY: Final = "reports"
"""In the data directory."""
GENERATOR: Final = '<meta name="generator" content="tramontana plan report">'
MOST_BYTES: Final = 32 << 20
MOST_REPORTS: Final = 200
LINK_S: Final = 300
NAME: Final = r"[a-z0-9][a-z0-9-]{0,63}"
POLICY: Final = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Popups: a click on a source opens it in a tab of its own, outside the sandbox and the console."""
_HEAD: Final = 4096
_TITLE: Final = re.compile(r"<title>([^<]{1,300})</title>")


class ReportRefused(LocalError):
    """The file is no report of planning; make one with `tramontana plan report`."""


@dataclass(frozen=True, slots=True)
class Report:
    name: str
    title: str
    published_unix_s: float
    size_bytes: int


def title_of(content: bytes) -> str:
    """Raises `ReportRefused` for what no `plan report` has written."""
    head = content[:_HEAD].decode("utf-8", errors="replace")
    found = _TITLE.search(head)
    if GENERATOR not in head or found is None:
        raise ReportRefused("this is no report of planning: make one with `tramontana plan report STUDY PAGE`")
    if len(content) > MOST_BYTES:
        raise ReportRefused(f"this report is larger than {MOST_BYTES >> 20} MB: give the study fewer places or areas")
    return html.unescape(found[1])


class Reports:
    """The reports of one folder, as they are there at the moment; and links to them."""

    def __init__(self, folder: Path | None, key: bytes) -> None:
        self._folder, self._key = folder, key

    def listed(self) -> list[Report]:
        """The newest first; what is no report is left out."""
        found: list[Report] = []
        for path in () if self._folder is None else self._folder.glob("*.html"):
            try:
                if not re.fullmatch(NAME, path.stem) or path.is_symlink():
                    continue
                with path.open("rb") as file:
                    title, stat = title_of(file.read(_HEAD)), path.stat()
            except (OSError, ReportRefused):
                continue
            if stat.st_size <= MOST_BYTES:
                found.append(Report(path.stem, title, stat.st_mtime, stat.st_size))
        return sorted(found, key=lambda one: (-one.published_unix_s, one.name))[:MOST_REPORTS]

    def content(self, name: str) -> bytes | None:
        """None where there is no such report."""
        if self._folder is None or not re.fullmatch(NAME, name):
            return None
        path = self._folder / f"{name}.html"
        try:
            if path.is_symlink() or path.stat().st_size > MOST_BYTES:
                return None
            content = path.read_bytes()
            title_of(content)
        except (OSError, ReportRefused):
            return None
        return content

    def seal(self, name: str, until_unix_s: int) -> str:
        """What proves that a link to a report was given out by this server, for so long."""
        return hmac.digest(self._key, f"{until_unix_s} {name}".encode(), hashlib.sha256).hex()

    def opens(self, name: str, until_unix_s: int, seal: str, now: float) -> bool:
        """Whether a link holds."""
        return now < until_unix_s <= now + LINK_S + 1 and hmac.compare_digest(self.seal(name, until_unix_s).encode(), seal.encode())
