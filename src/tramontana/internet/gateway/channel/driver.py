"""The control connection of one site to this gateway: what is said, and what follows from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tramontana.errors import TramontanaError
from tramontana.internet import control_channel
from tramontana.internet.driver import ALIVE_S, PIECE_BYTES, SILENT_S, TunnelEnd, now_s, unix_s
from tramontana.internet.key_renewal import GatewayKey, Message
from tramontana.internet.log_file import LogFile
from tramontana.internet.overlay import TunnelId
from tramontana.internet.report import SignedReport
from tramontana.internet.settings import GatewaySettings
from tramontana.internet.tunnel_keys import Event, GatewayConversation, Identity, Introduced, KeyProposed, Outdated, Said, WrongPeer
from tramontana.keys.refused import Refused

INTRODUCTION_TIMEOUT_S = 15.0
MOST_UNSENT = 1 << 20
"""Octets. A site that takes no more of what it is sent is cut off, and comes back."""

log = logging.getLogger("tramontana.gateway")


class Gateway(Protocol):
    """What a connection needs of the gateway's agent."""

    settings: GatewaySettings
    trust: LogFile
    own: Identity
    gateways: tuple[control_channel.GatewayAt, ...]
    reports: dict[str, SignedReport]
    tunnels: dict[TunnelId, TunnelEnd[GatewayKey]]

    def introduce(self, connection: Connection, introduction: control_channel.Introduction) -> control_channel.Acceptance: ...

    def refusal_of(self, site: str, reason: str, sentence: str) -> control_channel.Refusal: ...

    def set_length(self, site: str, uplink: int, octets: int) -> None: ...


class Connection:
    """One control connection, of a stranger until it introduces itself."""

    def __init__(self, agent: Gateway, writer: asyncio.StreamWriter, introduced: Callable[[], object]) -> None:
        """introduced: called when it is none of a stranger any more."""
        self._agent, self._writer, self._introduced = agent, writer, introduced
        self._wanted: int | None = None
        """From which entry on the site wants the log, until it was answered."""
        self._conversation = GatewayConversation(agent.own, agent.trust)
        self.site = ""

    async def run(self, reader: asyncio.StreamReader) -> None:
        async with asyncio.timeout(INTRODUCTION_TIMEOUT_S):
            while not self.site:
                await self._read(reader)
        self._introduced()
        alive_at = now_s()
        while True:
            if now_s() >= alive_at:
                alive_at = now_s() + ALIVE_S
                self._conversation.say(control_channel.Alive())
                self._flush()
            async with asyncio.timeout(SILENT_S):
                await self._read(reader)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        data = await reader.read(PIECE_BYTES)
        if not data:
            raise control_channel.ChannelRefused("the site hung up")
        try:
            for event in self._conversation.receive_data(data, unix_s()):
                self._handle(event)
        except (Refused, WrongPeer) as error:
            shown = self._conversation.shown
            self.refuse(
                control_channel.Refusal(error.reason, str(error))
                if shown is None
                else self._agent.refusal_of(shown.grant.device_id, error.reason, str(error))
            )
            raise
        self._hand_log_on()
        self._flush()
        await self._writer.drain()  # within the time that the caller gives: who takes nothing is read no further

    def _hand_log_on(self) -> None:
        """One part, however often it was asked for."""
        if self._wanted is not None:
            start, self._wanted, trust = self._wanted, None, self._agent.trust
            self._conversation.say(control_channel.LogPart(trust.size, start, tuple(trust.entries(start, control_channel.LOG_PART_BYTES))))

    def _handle(self, event: Event) -> None:
        match event:
            case Introduced(certificate, introduction):
                self.site = certificate.grant.device_id
                self._conversation.say(self._agent.introduce(self, introduction))
                if self._agent.settings.joined:
                    self._conversation.say(control_channel.LogPart(self._agent.trust.size))
                if self._agent.gateways:
                    self._conversation.say(control_channel.Gateways(self._agent.gateways))
                log.info("site %s is there", certificate.grant.display_name)
            case Said(control_channel.Reported(report, signature)) if self.site:
                self._agent.reports[self.site] = SignedReport(self.site, report, signature)
            case Said(control_channel.LogWanted(start)) if self._agent.settings.joined:
                self._wanted = start
            case Outdated() if self._agent.settings.joined:
                self._conversation.say(control_channel.LogPart(self._agent.trust.size))
            case Outdated():
                raise WrongPeer("superseded", "this site has a newer certificate; use that one")
            case KeyProposed(uplink, key) if (tunnel := self._tunnel(uplink)) is not None:
                tunnel.perform(tunnel.key.handle_proposal(key, now_s()))
            case Said(control_channel.Renewal(uplink, message)) if (tunnel := self._tunnel(uplink)) is not None:
                tunnel.perform(tunnel.key.handle_message(message, now_s()))
            case Said(control_channel.Length(uplink, octets)):
                self._agent.set_length(self.site, uplink, octets)
            case _:
                pass  # alive, or of a newer version

    def _tunnel(self, uplink: int) -> TunnelEnd[GatewayKey] | None:
        return self._agent.tunnels.get(TunnelId(self.site, self._agent.own.device_id, uplink))

    def say_renewal(self, uplink: int, message: Message) -> None:
        self.say(control_channel.Renewal(uplink, message))

    def say(self, message: control_channel.Sealed) -> None:
        self._conversation.say(message)
        self._flush()

    def refuse(self, refusal: control_channel.Refusal) -> None:
        """The last word, where there is a conversation to say it in."""
        with suppress(TramontanaError):
            self._conversation.say(refusal)
            self._flush()
        self.close()

    def close(self) -> None:
        self._writer.close()

    def _flush(self) -> None:
        if not self._writer.is_closing():
            self._writer.write(self._conversation.data_to_send())
            if self._writer.transport.get_write_buffer_size() > MOST_UNSENT:
                log.warning("site %s takes nothing of what it is sent", self.site)
                self._writer.transport.abort()
