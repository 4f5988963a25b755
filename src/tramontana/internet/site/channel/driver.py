"""The control connection of a site to one gateway: over which uplink, what is said, and what follows from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from tramontana.errors import TramontanaError
from tramontana.internet.control_channel import (
    Acceptance,
    Alive,
    ChannelRefused,
    GatewayAt,
    Gateways,
    Introduction,
    Length,
    LogPart,
    LogWanted,
    Refusal,
    Renewal,
    Reported,
)
from tramontana.internet.driver import ALIVE_S, PIECE_BYTES, SILENT_S, TunnelEnd, close_quietly, do_all, now_s, renewed, unix_s
from tramontana.internet.key_renewal import Message, SiteKey
from tramontana.internet.linux.namespace import Namespace
from tramontana.internet.linux.tls_stream import connect, open_stream
from tramontana.internet.log_file import LogFile
from tramontana.internet.overlay import CONTROL_PORT, HTTPS_PORT, TunnelId
from tramontana.internet.report import SignedReport
from tramontana.internet.settings import GatewayPlace, SiteSettings, Uplink
from tramontana.internet.stream import CONTROL
from tramontana.internet.tunnel_keys import Event, Identity, Opened, Said, SiteConversation
from tramontana.keys.refused import Refused

RETRY_S = 2.0

log = logging.getLogger("tramontana.site")


class Site(Protocol):
    """What a channel needs of the site's agent."""

    settings: SiteSettings
    trust: LogFile
    own: Identity
    underlay: Namespace

    def ends(self, gateway: str) -> Mapping[int, TunnelEnd[SiteKey]]:
        """Of the tunnels to this gateway, by uplink; outer ones by uplink and `OUTER`."""

    def introduction(self, gateway: GatewayPlace) -> Introduction: ...

    def needs_tls(self, gateway: GatewayPlace, uplink: Uplink) -> bool: ...

    def mtu(self, tunnel: TunnelId) -> int: ...

    def tell_keyed(self, tunnel: TunnelEnd[SiteKey]) -> None: ...

    def obey(self, revocation: bytes) -> None: ...

    def hear_of_gateways(self, told: tuple[GatewayAt, ...], teller: str) -> None: ...


class Channel:
    """The control connection to one gateway, over whichever uplink it comes about."""

    def __init__(self, agent: Site, gateway: GatewayPlace) -> None:
        self._agent, self._gateway = agent, gateway
        self._over: Uplink | None = None
        self._last: tuple[Uplink, bool] | None = None
        """The way of the last connection: over which uplink, and whether inside TLS."""
        self._words = "not connected yet"
        self._refused: str | None = None
        self._is_left = False
        """Whether something of a refused gateway's tunnels is still there."""
        self._conversation: SiteConversation | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._is_accepted = False
        self._held: Acceptance | None = None
        """Of a gateway whose certificate this site's log does not know yet."""

    @property
    def _tunnels(self) -> Mapping[int, TunnelEnd[SiteKey]]:
        return self._agent.ends(self._gateway.id)

    async def run(self) -> None:
        ways = [(uplink, tls) for uplink in self._agent.settings.uplink for tls in (False, True)]
        while True:
            for uplink, tls in sorted(ways, key=self._rank):
                try:
                    await self._connect(uplink, tls)
                except (OSError, TimeoutError, TramontanaError) as error:
                    self._words = str(error) or "no answer in time"
                    log.info("gateway %s over %s%s: %s", self._gateway.id, uplink.interface, " by TLS" if tls else "", self._words)
                finally:
                    self._disconnected()
            await asyncio.sleep(RETRY_S)

    def _rank(self, way: tuple[Uplink, bool]) -> tuple[bool, bool]:
        """What worked last first, then TLS where the tunnel needs it as well."""
        uplink, tls = way
        return way != self._last, tls != self._agent.needs_tls(self._gateway, uplink)

    async def _connect(self, uplink: Uplink, tls: bool) -> None:
        """tls: inside TLS at port 443, where the network blocks the channel's own port."""
        gateway = self._gateway
        connection = await connect(self._agent.underlay, uplink.index, gateway.reached_over(uplink), HTTPS_PORT if tls else CONTROL_PORT)
        if tls:
            reader, writer = await open_stream(connection, CONTROL, gateway.id, self._agent.trust)
        else:
            reader, writer = await asyncio.open_connection(sock=connection)
        try:
            self._over, self._last, self._writer = uplink, (uplink, tls), writer
            may_learn = self._agent.settings.joined
            self._conversation = SiteConversation(self._agent.own, self._gateway.id, self._agent.trust, may_learn=may_learn)
            self._flush()
            await self._read(reader, self._conversation)
        finally:
            await close_quietly(writer)

    async def _read(self, reader: asyncio.StreamReader, conversation: SiteConversation) -> None:
        heard_at = alive_at = now_s()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ALIVE_S):
                    data = await reader.read(PIECE_BYTES)
                if not data:
                    raise ChannelRefused("the gateway hung up")
                heard_at = now_s()
                for event in conversation.receive_data(data, unix_s()):
                    self._handle(event, conversation)
            if now_s() >= heard_at + SILENT_S:
                raise ChannelRefused("nothing comes from the gateway any more")
            if self._is_accepted and now_s() >= alive_at + ALIVE_S:
                alive_at = now_s()
                conversation.check_peer(unix_s())
                conversation.say(Alive())
            self._flush()

    def _handle(self, event: Event, conversation: SiteConversation) -> None:
        match event:
            case Opened():
                conversation.say(self._agent.introduction(self._gateway))
            case Said(Acceptance() as acceptance) if not self._is_accepted:
                try:
                    conversation.check_peer(unix_s())
                except Refused:
                    self._held = acceptance
                    conversation.say(LogWanted(self._agent.trust.size))
                else:
                    self._accepted(acceptance, conversation)
            case Said(LogPart() as part) if self._agent.settings.joined:
                self._learn(part, conversation)
            case Said(Gateways(gateways)) if self._agent.settings.joined and self._is_accepted:
                self._agent.hear_of_gateways(gateways, self._gateway.id)
            case Said(Refusal(reason, sentence, revocation)):
                if revocation:
                    self._agent.obey(revocation)
                self.refuse(f"{reason}: {sentence}")
                raise ChannelRefused(f"the gateway refuses: {sentence}")
            case Said(Renewal(uplink, message)) if self._is_accepted and uplink in self._tunnels:
                tunnel = self._tunnels[uplink]
                tunnel.perform(tunnel.key.handle_message(message, now_s()))
            case _:
                pass  # alive, or of a newer version

    def _learn(self, part: LogPart, conversation: SiteConversation) -> None:
        """Entries of the log, or that there are some. Raises `Refused`, `Forked`, `LocalError`."""
        trust = self._agent.trust
        is_on = trust.extend(part.start, part.entries) or not part.entries
        if trust.size < part.size and is_on:
            conversation.say(LogWanted(trust.size))
        elif self._held is not None:
            conversation.check_peer(unix_s())
            self._accepted(self._held, conversation)
        elif not self._is_accepted:
            before = self._agent.own
            self._agent.own = renewed(before, trust, self._agent.settings.certificate)
            if self._agent.own != before:
                raise ChannelRefused("this site has a newer certificate, and shows that one now")

    def _accepted(self, acceptance: Acceptance, conversation: SiteConversation) -> None:
        self._is_accepted, self._refused, self._held = True, None, None
        self._words = "open"
        for uplink, tunnel in self._tunnels.items():
            public_key = acceptance.public_keys.get(uplink)
            if public_key is None:
                tunnel.fault = f"the gateway does not serve uplink {tunnel.id.carried.uplink}"
                continue
            tunnel.fault = None
            tunnel.meet(public_key)
            tunnel.send = lambda message, uplink=uplink: self._say_renewal(uplink, message)
            tunnel.exchange = lambda number, id=tunnel.id: conversation.exchange(id, number, unix_s())
            tunnel.perform(tunnel.key.handle_channel_up(acceptance.key_ids.get(uplink, frozenset()), now_s()))
            if not tunnel.id.is_outer:
                self.say_length(tunnel.id)

    def say_length(self, tunnel: TunnelId) -> None:
        """How long the packets of one of its tunnels may be."""
        if self._conversation is not None and self._is_accepted and tunnel.gateway == self._gateway.id:
            self._conversation.say(Length(tunnel.uplink, self._agent.mtu(tunnel)))
            self._flush()

    def _say_renewal(self, uplink: int, message: Message) -> None:
        if self._conversation is not None:
            self._conversation.say(Renewal(uplink, message))
            self._flush()

    @property
    def is_open(self) -> bool:
        return self._is_accepted

    def hand_over(self, report: SignedReport) -> None:
        """Give a report to the gateway, for the server."""
        if self._conversation is not None:
            self._conversation.say(Reported(report.report, report.signature))
            self._flush()

    def refuse(self, why: str) -> None:
        """This site or this gateway is out: nothing of their tunnels stays. Raises `LocalError`; once more then does the rest."""
        if self._refused == why and not self._is_left:
            return
        log.warning("tunnels to gateway %s are closed: %s", self._gateway.id, why)
        self._refused, self._is_left = why, True
        if self._writer is not None:
            self._writer.close()
        do_all(partial(self._close, tunnel, why) for tunnel in self._tunnels.values())
        self._is_left = False

    def _close(self, tunnel: TunnelEnd[SiteKey], why: str) -> None:
        tunnel.fault = why
        try:
            tunnel.forget()
        finally:
            self._agent.tell_keyed(tunnel)

    def _flush(self) -> None:
        if self._conversation is not None and self._writer is not None:
            self._writer.write(self._conversation.data_to_send())

    def _disconnected(self) -> None:
        self._conversation, self._writer, self._is_accepted, self._held = None, None, False, None
        for tunnel in self._tunnels.values():
            tunnel.send = tunnel.exchange = None
            tunnel.key.handle_channel_down()

    def status(self) -> dict[str, Any]:
        is_open = self._is_accepted
        return {
            "gateway": self._gateway.id,
            "address": str(self._gateway.address),
            "control": "open" if is_open else self._words,
            "over_uplink": self._over.index if is_open and self._over else None,
            "inside_tls": self._last[1] if is_open and self._last else None,
            "refused": self._refused,
        }
