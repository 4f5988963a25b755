"""What a device asks of the server, without asking: a procedure yields requests and is sent the answers.

So login, enrolment, reading the log and holding conversations are plain code that no socket is near; `driver.py` asks, and so does a test.
"""

from __future__ import annotations

import email.utils
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from tramontana.errors import RemoteError

T = TypeVar("T")
Method = Literal["GET", "POST", "PUT", "DELETE"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request below `/api/v1`, with the session's token where it `needs_session`."""

    method: Method
    path: str
    body: object = field(default=None, repr=False)
    needs_session: bool = True


Procedure = Generator[Request, Any, T]
"""Yields requests, is sent the JSON of each answer (octets as bytes, None for nothing), or has `Refusal` or `Unreachable` thrown in."""


class Unreachable(RemoteError):
    """The server does not answer; check its address and whether it runs, then try again."""


class Refusal(RemoteError):
    """The server refused a request (RFC 9457). `code` is its stable name for why."""

    def __init__(self, status: int, code: str, detail: str, retry_after_s: float | None = None) -> None:
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        super().__init__(f"the server refused: {detail} ({code})")

    @property
    def is_passing(self) -> bool:
        """Worth sending again unchanged, later."""
        return self.status == 429 or self.status >= 500


def refusal(status: int, fields: Mapping[str, Any], retry_after: str | None) -> Refusal:
    """A problem document as it came, or an empty one."""
    seconds = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
    return Refusal(status, str(fields.get("code", "unknown")), str(fields.get("detail", f"status {status}")), seconds)


def b64(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def unb64(value: str) -> bytes:
    """Raises `ValueError`."""
    return b64decode(value, validate=True)


DATE_ERROR_S = 2.0
"""A Date header is cut to whole seconds, and servers renew it but once a second: the true time is up to so much later."""


class ServerClock:
    """How far the server's clock is ahead of this machine's, by the Date headers of its answers: each bounds it from both sides."""

    def __init__(self) -> None:
        self._at_least_s, self._at_most_s = float("-inf"), float("inf")

    @property
    def ahead_s(self) -> float:
        return 0.0 if self._at_least_s == float("-inf") else (self._at_least_s + self._at_most_s) / 2

    def observe(self, date: str | None, sent_at: float, received_at: float) -> None:
        """A Date header (RFC 9110 §6.6.1) of an answer, and when it was asked for and came, POSIX seconds of this machine."""
        try:
            told = email.utils.parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        at_least, at_most = told - received_at, told + DATE_ERROR_S - sent_at
        if at_least > self._at_most_s or at_most < self._at_least_s:
            self._at_least_s, self._at_most_s = at_least, at_most  # one of the clocks was set
        else:
            self._at_least_s, self._at_most_s = max(self._at_least_s, at_least), min(self._at_most_s, at_most)


def answered(procedure: Procedure[T], answer: Callable[[Request], Any]) -> T:
    """Run a procedure against whoever answers at once. What `answer` raises is thrown into it."""
    try:
        request = next(procedure)
        while True:
            try:
                given = answer(request)
            except RemoteError as error:
                request = procedure.throw(error)
            else:
                request = procedure.send(given)
    except StopIteration as stop:
        result: T = stop.value
        return result
