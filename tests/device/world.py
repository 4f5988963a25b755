"""Devices at a real server on loopback, certified by the house's custodians."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.control.custodians import Person
from tests.control.house import House
from tramontana.device import messages
from tramontana.device.conversations import Received
from tramontana.device.device import Device
from tramontana.device.driver import OnlineDevice, ask_once
from tramontana.device.enrolment import Enrolment, Invitation, enrol
from tramontana.device.storage.driver import SealedStore
from tramontana.device.store import Store
from tramontana.keys.identity import DeviceKey

PATIENCE_S = 60.0
PASSPHRASE = "a passphrase of the tests"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - conditions of several kinds
            await asyncio.sleep(0.01)


@dataclass
class At:
    """A device that is online. `heard`: application messages in order of arrival, those of the other devices only."""

    online: OnlineDevice
    person: Person
    heard: list[tuple[Received, messages.Fields]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    running: asyncio.Task[None] | None = None

    @property
    def device(self) -> Device:
        return self.online.device

    @property
    def account_id(self) -> str:
        return self.device.enrolment.account_id

    def texts(self) -> list[str]:
        return [fields["body"] for _, fields in self.heard if fields["type"] == "text"]

    def receipts(self) -> list[str]:
        return [each for _, fields in self.heard if fields["type"] == "receipt" for each in fields["ids"]]

    def with_peer(self, other: At) -> str:
        return self.device.conversations.with_peer(other.account_id)

    async def write(self, other: At, text_id: str, body: str) -> None:
        await self.online.send(self.with_peer(other), messages.written(text_id, body, self.online.now()))


async def enrolled(house: House, store: Store, name: str, *, certified: bool = True) -> Person:
    link = f"{house.url}/phone#invite={await house.invitation()}&org={house.custodians.key.root.fingerprint_text}"
    made: Enrolment = await ask_once(house.url, enrol(store, Invitation.parse(link), name))
    person = Person(name, DeviceKey.from_bytes(store.read("device")["key"]), made.account_id, made.device_id)
    if certified:
        await house.custodians.certify(house, person)
    return person


@asynccontextmanager
async def online(store: Store, person: Person, *, on_sealed: Callable[[At], None] | None = None) -> AsyncIterator[At]:
    """Connected, and with the log read. on_sealed: as of `OnlineDevice`."""
    holder: list[At] = []

    async def on_message(received: Received) -> None:
        holder[0].heard.append((received, messages.parse(received.plaintext)))

    connected = OnlineDevice(
        Device(store),
        on_message=on_message,
        on_refused=lambda sentence: holder[0].refused.append(sentence),
        on_sealed=None if on_sealed is None else lambda: on_sealed(holder[0]),
    )
    holder.append(At(connected, person))
    running = holder[0].running = asyncio.create_task(connected.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await connected.online.wait()
        yield holder[0]
    finally:
        running.cancel()
        await asyncio.wait([running])
        await connected.close()


def stored(directory: Path, name: str) -> SealedStore:
    """A device's file on disk, made or opened."""
    place = directory / name
    return SealedStore.open(place, PASSPHRASE) if (place / "device.db").exists() else SealedStore.make(place, PASSPHRASE)
