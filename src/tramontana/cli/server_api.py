"""Asks a server over HTTP, for commands that are not part of it: custodians and auditors. Its answers are believed only after a check."""

from __future__ import annotations

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tramontana.errors import LocalError, RemoteError
from tramontana.keys.follow import Follower
from tramontana.keys.identity import DeviceKey, UnverifiedEnrolment, UnverifiedLogin
from tramontana.keys.log import UnverifiedTreeHead
from tramontana.keys.organisation import Root, verify_root
from tramontana.keys.register import Entry
from tramontana.keys.secret import Token

TIMEOUT_S = 30.0
ENTRIES_AT_ONCE = 64
PATIENCE_S = 30.0
"""For so long in all a command waits, as the server asks, when it was asked too often."""


class ServerUnreachable(RemoteError):
    """The server does not answer; check its address and whether it runs, then try again."""


class ServerRefused(RemoteError):
    """The server refused a request; `code` and `reason` are its names for why."""

    def __init__(self, code: str, reason: str | None, detail: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"the server refused: {detail} ({reason or code})")


def b64(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def unb64(value: str) -> bytes:
    return b64decode(value, validate=True)


def split_link(link: str) -> tuple[str, dict[str, str]]:
    """The origin of a link and what stands in its fragment. Raises `LocalError`."""
    parts = urlsplit(link)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise LocalError("this is not the address of a server: it begins with https:// (or http:// on this machine)")
    return f"{parts.scheme}://{parts.netloc}", {name: values[0] for name, values in parse_qs(parts.fragment).items()}


class ServerApi:
    """One server, with or without a session."""

    def __init__(self, origin: str, *, token: str | None = None, transport: httpx.BaseTransport | None = None) -> None:
        self.origin = origin
        self._token = token
        self._http = httpx.Client(base_url=origin, timeout=TIMEOUT_S, transport=transport)

    def close(self) -> None:
        self._http.close()

    @contextmanager
    def closed_on_error(self) -> Iterator[ServerApi]:
        """Closes it if what is done with it fails."""
        try:
            yield self
        except BaseException:
            self.close()
            raise

    @property
    def token(self) -> str | None:
        return self._token

    def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """JSON there and back. Raises `ServerUnreachable`, `ServerRefused`."""
        return self._json(self._asked(method, path, json=body, params={name: str(value) for name, value in query.items()}))

    def send(self, method: str, path: str, content: bytes, media_type: str) -> Any:
        """Octets there, JSON back. Raises as `call` does."""
        return self._json(self._asked(method, path, content=content, headers={"Content-Type": media_type}))

    def _json(self, octets: bytes) -> Any:
        try:
            return json.loads(octets) if octets else None
        except ValueError as error:
            raise ServerUnreachable(f"{self.origin} does not answer as a server of Tramontana ({error}); check the address") from error

    def fetch(self, path: str) -> bytes:
        """What is no JSON. Raises as `call` does."""
        return self._asked("GET", path)

    def _asked(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> bytes:
        if self._token:
            headers = {**(headers or {}), "Authorization": f"Bearer {self._token}"}
        try:
            answer = self._http.request(method, f"/api/v1{path}", headers=headers, **options)
            until = time.monotonic() + PATIENCE_S
            while answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                wait_s = max(1.0, float(answer.headers["Retry-After"]))
                if time.monotonic() + wait_s > until:
                    break
                time.sleep(wait_s)
                answer = self._http.request(method, f"/api/v1{path}", headers=headers, **options)
            if answer.is_success:
                return answer.content
            problem = answer.json()
            raise ServerRefused(str(problem["code"]), problem.get("reason"), str(problem["detail"]))
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise ServerUnreachable(f"{self.origin} does not answer as a server of Tramontana ({error}); check the address") from error

    def organisation(self, fingerprint: bytes) -> tuple[Root, bytes]:
        """(root, log key statement as it came). Raises `Refused` for another organisation than the pinned one."""
        answer = self.call("GET", "/organisation")
        return verify_root(unb64(answer["organisation"]), fingerprint), unb64(answer["log_key"])

    def service_id(self) -> str:
        return str(self.call("GET", "/service")["service_id"])

    def enrol(self, invitation: str, name: str, key: DeviceKey) -> tuple[str, str]:
        """(account_id, device_id)."""
        token = Token.parse(invitation)
        if token is None:
            raise LocalError("this link has no invitation in it; paste it whole")
        unsigned = UnverifiedEnrolment(self.service_id(), token.sha256(), key.public_bytes, name, b"")
        body = {
            "invitation": invitation,
            "display_name": name,
            "signature_public_key": b64(key.public_bytes),
            "proof": b64(key.sign(unsigned.statement())),
        }
        answer = self.call("POST", "/enrolments", body)
        return str(answer["account_id"]), str(answer["device_id"])

    def login(self, device_id: str, key: DeviceKey) -> None:
        """Begin a session."""
        self._token = None
        challenge = unb64(self.call("POST", "/sessions/challenge", {"device_id": device_id})["challenge"])
        signature = key.sign(UnverifiedLogin(self.service_id(), device_id, challenge, b"").statement())
        body = {"device_id": device_id, "challenge": b64(challenge), "signature": b64(signature)}
        self._token = str(self.call("POST", "/sessions", body)["token"])


@contextmanager
def _understood(origin: str) -> Iterator[None]:
    """Raises `ServerUnreachable` for an answer of another shape than the protocol's."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ServerUnreachable(f"{origin} does not answer as a server of Tramontana ({error!r}); check the address") from error


def begin_following(api: ServerApi, fingerprint: bytes) -> Follower:
    """A log that was never seen."""
    with _understood(api.origin):
        root, log_key = api.organisation(fingerprint)
    return Follower.begin(root.encoded, fingerprint, log_key)


def follow(api: ServerApi, follower: Follower, *, now: float, seen: Callable[[int, Entry], None] = lambda index, entry: None) -> None:
    """Read the log up to its present head. Raises `Alarm`, `ServerUnreachable`, `ServerRefused`.

    seen: told of every new entry. After an `Alarm` the follower is not to be kept: what it read before stands in its file.
    """
    with _understood(api.origin):
        answer = api.call("GET", "/organisation")
        follower.check_organisation(unb64(answer["organisation"]), unb64(answer["log_key"]))
        given = api.call("GET", "/log/head")
        head = follower.check_head(
            UnverifiedTreeHead(
                unb64(given["log_id"]), int(given["tree_size"]), unb64(given["root_hash"]), int(given["at"]), unb64(given["signature"])
            ),
            now=now,
        )
        while follower.edge.size < head.tree_size:
            start = follower.edge.size
            wanted = min(ENTRIES_AT_ONCE, head.tree_size - start)
            entries = api.call("GET", "/log/entries", start=start, count=wanted)["entries"]
            for encoded in entries[:wanted]:
                seen(follower.edge.size, follower.read(unb64(encoded)))
            if not entries:
                break
        follower.accept(head)
