"""A real server on a real port of the loopback interface, and phones that talk to it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import socket
import time
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from tests.control import mls_bytes
from tests.control.custodians import Custodians
from tramontana.control import admission
from tramontana.control.app import Parts, create_app
from tramontana.control.attachments import AttachmentRules
from tramontana.control.connections import BoundedWebSocket, ConnectionLimits, http_protocol
from tramontana.control.custody import Custody
from tramontana.control.events import Events, LocalEvents
from tramontana.control.limits import Limits
from tramontana.control.media import Relay
from tramontana.control.operators import Operators
from tramontana.control.player import MemoryPlayer
from tramontana.control.services import Services
from tramontana.control.sky import SkyService
from tramontana.control.store.database import DATABASE_NAME, PostgresqlAddress, Store, prepare_directory
from tramontana.control.tak_file import TakServers
from tramontana.control.warnings import WarningData
from tramontana.keys.identity import DeviceKey, UnverifiedEnrolment, UnverifiedLogin
from tramontana.phone.forwarder.client.driver import ForwarderClient
from tramontana.phone.relay_secret import RelaySecret
from tramontana.precedence import Precedence
from tramontana.private_file import replace_private

RELAY_SECRET = "a secret of the relay, for tests"


_FOUNDED: dict[Path | PostgresqlAddress, Custodians] = {}
"""The organisation of each database: a house that is opened again is the same house."""

_EMPTY: list[bytes] = []
"""A SQLite file with this release's schema and nothing in it, once one has been made in this process."""

Houses = Callable[..., AbstractAsyncContextManager["House"]]


def b64(value: bytes) -> str:
    return b64encode(value).decode()


async def _begin_with_this_release(directory: Path) -> None:
    """Put an empty database there, if there is none: every revision of the schema one after the other costs a second and more.

    What the revisions do is for test_migrations.py, and that a first start goes through them for the system tests.
    """
    if (path := directory / DATABASE_NAME).exists():
        return
    if not _EMPTY:
        await (await Store.open(directory)).close()
        _EMPTY.append(path.read_bytes())
        return
    prepare_directory(directory)
    replace_private(path, _EMPTY[0])


class Clock:
    """POSIX seconds that a test can move."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds


class House:
    """One running server."""

    def __init__(
        self,
        services: Services,
        http: httpx.AsyncClient,
        url: str,
        clock: Clock,
        player: MemoryPlayer,
        server: uvicorn.Server,
        custodians: Custodians,
    ) -> None:
        self.services = services
        self.http = http
        self.url = url
        self.clock = clock
        self.player = player
        self.server = server
        self.custodians = custodians

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        directory: Path,
        sky: SkyService,
        *,
        limits: Limits | None = None,
        player: MemoryPlayer | None = None,
        static: Path | None = None,
        with_relay: bool = True,
        relay_port: int = 3478,
        connections: ConnectionLimits | None = None,
        database: PostgresqlAddress | None = None,
        events: Events | None = None,
        forwarders: Sequence[Path] = (),
        emulated: bool = True,
        with_organisation: bool = True,
        attachments: AttachmentRules | None = None,
        warning_data: WarningData | None = None,
        operators: Operators | None = None,
        tak: TakServers | None = None,
    ) -> AsyncIterator[House]:
        if database is None:
            await _begin_with_this_release(directory)
        store = await Store.open(directory, database, sharing="several" if events else "alone")
        clock, player = Clock(), player or MemoryPlayer()
        relay = Relay("127.0.0.1", relay_port, RelaySecret(RELAY_SECRET)) if with_relay else None
        custodians = _FOUNDED.setdefault(database or directory, Custodians.make(clock()))
        static = static or directory / "static"
        parts = Parts(
            store,
            sky,
            relay,
            player if emulated else None,
            limits or Limits(),
            static=static,
            clock=clock,
            forwarders=tuple(ForwarderClient(control) for control in forwarders),
            events=events or LocalEvents(),
            attachments=attachments or AttachmentRules(),
            log_key=custodians.log_key,
            warning_data=warning_data or WarningData(),
            operators=operators or Operators(),
            tak=tak or TakServers(),
        )
        app = create_app(parts)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(
            app,
            log_config=None,
            http=http_protocol(connections or ConnectionLimits()),
            ws=BoundedWebSocket,
            ws_ping_interval=None,
            timeout_graceful_shutdown=3,
            server_header=False,
        )
        server = _Server(config)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(server.serve(sockets=[listener]))
                while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.005)
                async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                    try:
                        house = cls(app.state.services, http, url, clock, player, server, custodians)
                        if with_organisation:
                            await custodians.found(house)
                        yield house
                    finally:
                        server.should_exit = True
                await serving
        finally:
            listener.close()
            await store.close()

    @property
    def store(self) -> Store:
        return self.services.store

    @property
    def custody(self) -> Custody:
        return self.services.custody

    @property
    def service_id(self) -> str:
        return self.services.admission.service_id

    async def invitation(self) -> str:
        made = await admission.invite(self.store, origin="command", actor="test", note="", now=self.clock())
        return made.token.reveal()

    async def phone(self, name: str = "Ada") -> Phone:
        """An enrolled and certified phone with a session."""
        phone = Phone(self, name)
        await phone.enrol(await self.invitation())
        await self.custodians.certify(self, phone)
        await phone.login()
        return phone

    async def pair(self) -> tuple[Phone, Phone, str]:
        """Two phones in one group at epoch 1; the second has acknowledged its welcome. Returns them and the conversation."""
        ada, bea = await self.phone("Ada"), await self.phone("Bea")
        await bea.offer(2)
        conversation_id = await ada.open_with(bea)
        answer = await ada.begin_group(conversation_id, bea)
        assert answer.status_code == 201, answer.text
        return ada, bea, conversation_id

    async def pair_of_strangers(self) -> tuple[Phone, Phone, str]:
        """Two phones with a conversation in which no group was begun."""
        ada, bea = await self.phone("Ada"), await self.phone("Bea")
        return ada, bea, await ada.open_with(bea)

    async def allow(self, phone: Phone, ceiling: str) -> None:
        """Let a person call at precedences up to this one: a new certificate."""
        await self.custodians.certify(self, phone, ceiling=Precedence.parse(ceiling))

    async def rules(self, **changes: Any) -> None:
        """Change the rules of admission."""
        headers = await self.administrator()
        rules = (await self.http.get("/api/v1/admin/call-rules", headers=headers)).json()
        answer = await self.http.put("/api/v1/admin/call-rules", headers=headers, json={**rules, **changes})
        assert answer.status_code == 204, answer.text

    async def audited(self, action: str) -> list[dict[str, Any]]:
        """What the audit trail holds of an action, oldest first."""
        page = (await self.http.get("/api/v1/admin/audit", headers=await self.administrator())).json()
        assert page["intact"]
        return [entry for entry in page["entries"] if entry["action"] == action]

    async def administrator(self) -> dict[str, str]:
        """Headers of an administrator's session."""
        token, _ = await admission.administrator_link(self.store, actor="test", now=self.clock())
        answer = await self.http.post("/api/v1/admin/sessions", json={"token": token.reveal()})
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Phone:
    """A phone that has a key and speaks the HTTP interface; what it encrypts is noise."""

    def __init__(self, house: House, name: str) -> None:
        self.house = house
        self.name = name
        self.key = DeviceKey.generate()
        self.account_id = ""
        self.device_id = ""
        self.token = ""

    async def _service_id(self) -> str:
        return str((await self.house.http.get("/api/v1/service")).json()["service_id"])

    async def enrolment(self, invitation: str) -> dict[str, Any]:
        """The body of an enrolment."""
        digest = hashlib.sha256(token_bytes(invitation)).digest()
        unsigned = UnverifiedEnrolment(await self._service_id(), digest, self.key.public_bytes, self.name, b"")
        return {
            "invitation": invitation,
            "display_name": self.name,
            "signature_public_key": b64(self.key.public_bytes),
            "proof": b64(self.key.sign(unsigned.statement())),
        }

    async def enrol(self, invitation: str) -> None:
        answer = await self.house.http.post("/api/v1/enrolments", json=await self.enrolment(invitation))
        assert answer.status_code == 201, answer.text
        self.account_id, self.device_id = answer.json()["account_id"], answer.json()["device_id"]

    async def login_body(self, device_id: str | None = None) -> dict[str, Any]:
        device_id = device_id or self.device_id
        challenge = (await self.house.http.post("/api/v1/sessions/challenge", json={"device_id": device_id})).json()["challenge"]
        unsigned = UnverifiedLogin(await self._service_id(), device_id, b64decode(challenge), b"")
        return {"device_id": device_id, "challenge": challenge, "signature": b64(self.key.sign(unsigned.statement()))}

    async def login(self) -> None:
        answer = await self.house.http.post("/api/v1/sessions", json=await self.login_body())
        assert answer.status_code == 201, answer.text
        self.token = answer.json()["token"]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.house.http.get(f"/api/v1{path}", headers=self.headers, **options)

    async def put(self, path: str, body: object) -> httpx.Response:
        return await self.house.http.put(f"/api/v1{path}", headers=self.headers, json=body)

    async def post(self, path: str, body: object = None) -> httpx.Response:
        return await self.house.http.post(f"/api/v1{path}", headers=self.headers, json=body)

    async def delete(self, path: str) -> httpx.Response:
        return await self.house.http.delete(f"/api/v1{path}", headers=self.headers)

    def key_package(self, **options: Any) -> bytes:
        return mls_bytes.key_package(f"{self.account_id}/{self.device_id}", self.key.public_bytes, **options)

    async def offer(self, count: int) -> tuple[list[bytes], bytes]:
        """Put `count` single-use packages and a last-resort one."""
        single_use, last_resort = [self.key_package() for _ in range(count)], self.key_package()
        answer = await self.put("/me/key-packages", {"key_packages": [b64(p) for p in single_use], "last_resort": b64(last_resort)})
        assert answer.status_code == 204, answer.text
        return single_use, last_resort

    async def open_with(self, peer: Phone) -> str:
        answer = await self.post("/conversations", {"kind": "direct", "members": [peer.account_id]})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["conversation_id"])

    async def claim(self, peer: Phone) -> list[bytes]:
        answer = await self.post(f"/accounts/{peer.account_id}/key-packages/claim")
        assert answer.status_code == 200, answer.text
        return [b64decode(entry["key_package"]) for entry in answer.json()]

    async def commit(
        self,
        conversation_id: str,
        epoch: int,
        welcomed: Sequence[bytes] = (),
        commit: bytes | None = None,
        removed: Sequence[Phone] = (),
    ) -> httpx.Response:
        """Submit a commit; `welcomed` are key packages that its welcome admits, `removed` the phones that it takes out."""
        commit = commit or mls_bytes.private_message(conversation_id, epoch, mls_bytes.COMMIT)
        welcome = mls_bytes.welcome([mls_bytes.reference(package) for package in welcomed]) if welcomed else None
        gone = [phone.device_id for phone in removed]
        body = {"epoch": epoch, "commit": b64(commit), "welcome": b64(welcome) if welcome else None, "removed": gone}
        return await self.post(f"/conversations/{conversation_id}/commits", body)

    async def begin_group(self, conversation_id: str, peer: Phone) -> httpx.Response:
        return await self.commit(conversation_id, 0, await self.claim(peer))

    async def send(self, conversation_id: str, epoch: int, message_id: str | None = None, message: bytes | None = None) -> httpx.Response:
        message = message or mls_bytes.private_message(conversation_id, epoch, mls_bytes.APPLICATION)
        body = {"message_id": message_id or secrets.token_hex(16), "message": b64(message)}
        return await self.post(f"/conversations/{conversation_id}/messages", body)

    @asynccontextmanager
    async def socket(self, after: int = 0) -> AsyncIterator[Socket]:
        """A WebSocket that is logged in."""
        async with open_socket(self.house) as socket:
            await socket.send({"type": "hello", "token": self.token, "after": after})
            ready = await socket.receive()
            assert ready["type"] == "ready", ready
            socket.ready = ready
            yield socket


class Socket:
    """JSON frames over a real WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.ready: dict[str, Any] = {}

    async def send(self, frame: dict[str, Any]) -> None:
        await self.connection.send(json.dumps(frame))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            frame: dict[str, Any] = json.loads(await self.connection.recv())
        return frame

    async def next(self, kind: str) -> dict[str, Any]:
        """The next frame of a type, whatever else comes before it."""
        while (frame := await self.receive())["type"] != kind:
            pass
        return frame

    async def close_code(self) -> int:
        """Wait for the server to close, and say with what."""
        async with asyncio.timeout(10):
            await self.connection.wait_closed()
        assert self.connection.close_code is not None
        return self.connection.close_code


@asynccontextmanager
async def open_socket(house: House, **options: Any) -> AsyncIterator[Socket]:
    async with connect(house.url.replace("http", "ws") + "/api/v1/socket", **options) as connection:
        yield Socket(connection)


def token_bytes(token: str) -> bytes:
    return urlsafe_b64decode(token + "=")
