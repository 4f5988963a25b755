"""The preshared key of one tunnel and its renewal, as two pure state machines: the site's and the gateway's.

WireGuard takes a new preshared key at its next handshake, so both ends may hold two keys for a while: the one that is *agreed* and
a *candidate*. **The gateway decides** which of the two survives, once, and tells; **the site keeps both until it was told**, and where
nothing tells it, it tries both. So the two ends always have a key in common, whatever is lost, repeated, late or restarted in between.

| state | who | in force | meaning |
|---|---|---|---|
| agreed | both | agreed | one key (or none yet) |
| proposed | site | agreed | a candidate was exchanged; the gateway has not confirmed that it holds it |
| confirmed | both | agreed | both hold the candidate; the gateway sets it first |
| set | both | candidate | a handshake newer than this must come |
| proven | site | candidate | it came; the gateway's decision is awaited |
| reverted | site | agreed | it did not come in time; the gateway's decision is awaited |

An instant is any number of seconds that only grows. Actions are carried out in their order; a `Store` before anything else happens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum

KEY_BYTES = 32
"""WireGuard §5.2: the preshared symmetric key."""
KEY_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class PresharedKey:
    """A key of a tunnel. `number` grows with each exchange."""

    number: int
    secret: bytes = field(repr=False, compare=False)
    id: bytes = field(init=False)
    """Says which key is meant without saying the key: 32 random bytes cannot be guessed from their digest."""

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a preshared key has {KEY_BYTES} bytes")
        digest = hashlib.sha256(b"tramontana preshared key id 1\x00" + self.secret).digest()
        object.__setattr__(self, "id", digest[:KEY_ID_BYTES])


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. The defaults fit WireGuard's own: a session is renewed after 120 s and refused after 180 s (whitepaper §6.1)."""

    interval_s: float = 100.0
    """At least so much between two exchanges; they follow handshakes, which come every 120 s."""
    fresh_s: float = 30.0
    """A renewal begins only so soon after a handshake: then a failed one is taken back before the session ends."""
    proof_s: float = 150.0
    """A handshake under the new key must have come by then: 30 s before the session of the old one ends."""
    first_proof_s: float = 30.0
    """The same for the first key of a tunnel, when there is no session to save."""
    seek_s: float = 15.0
    """How long each of two keys is tried when nothing tells which one holds: three of WireGuard's attempts, which come every 5 s."""
    guard_s: float = 3.0
    """A handshake seen so soon after a key was set may have begun before it, and proves nothing."""
    dead_s: float = 180.0
    """Without a handshake for so long there is no session."""
    resend_s: float = 5.0
    """How often an unanswered question is repeated."""


class KeyState(StrEnum):
    AGREED = "agreed"
    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    SET = "set"
    PROVEN = "proven"
    REVERTED = "reverted"


@dataclass(frozen=True, slots=True)
class TunnelKeys:
    """What is stored of a tunnel, at either end."""

    state: KeyState = KeyState.AGREED
    agreed: PresharedKey | None = None
    candidate: PresharedKey | None = None
    last_number: int = 0
    since: float = 0.0
    """When what is in force came into force: an instant that goes on over restarts of the process."""

    @property
    def in_force(self) -> PresharedKey | None:
        """What WireGuard has to have. None: no peer, no traffic."""
        return self.candidate if self.state in (KeyState.SET, KeyState.PROVEN) else self.agreed

    @property
    def ids(self) -> frozenset[bytes]:
        return frozenset(key.id for key in (self.agreed, self.candidate) if key is not None)

    def adopted(self) -> TunnelKeys:
        """The candidate has won."""
        return replace(self, state=KeyState.AGREED, agreed=self.candidate, candidate=None)

    def dropped(self) -> TunnelKeys:
        """The candidate has lost."""
        return replace(self, state=KeyState.AGREED, candidate=None)


class Word(StrEnum):
    """What the ends say to each other; the site asks, the gateway answers."""

    PROPOSE = "propose"
    SET = "set"
    PROVEN = "proven"
    REVERT = "revert"
    CONFIRM = "confirm"
    DONE = "done"
    REVERTED = "reverted"


@dataclass(frozen=True, slots=True)
class Message:
    """About one key of one tunnel."""

    word: Word
    number: int
    key_id: bytes


@dataclass(frozen=True, slots=True)
class Store:
    """Keep this, sealed, before the next action."""

    keys: TunnelKeys


@dataclass(frozen=True, slots=True)
class SetKey:
    """Give WireGuard this key for the peer; None: remove the peer."""

    key: PresharedKey | None


@dataclass(frozen=True, slots=True)
class Send:
    """Tell the other end, if the channel is up."""

    message: Message


@dataclass(frozen=True, slots=True)
class Exchange:
    """Exchange a key with the gateway: `SiteKey.handle_exchanged` gets it, and the gateway gets it with the proposal."""

    number: int


Action = Store | SetKey | Send | Exchange


class _End:
    """What both ends do alike."""

    def __init__(self, keys: TunnelKeys, timing: Timing) -> None:
        self.keys = keys
        self.timing = timing
        self.last_handshake: float | None = None
        """When the last handshake that this end knows of ended."""
        self._deadline = keys.since + self._proof_s if keys.state is KeyState.SET else None

    def start(self) -> list[Action]:
        """What WireGuard has to have, whatever it has."""
        return [SetKey(self.keys.in_force)]

    @property
    def _proof_s(self) -> float:
        return self.timing.proof_s if self.keys.agreed is not None else self.timing.first_proof_s

    def _move(self, keys: TunnelKeys, now: float) -> list[Action]:
        """Store, and set what is in force where it has changed."""
        before, self._deadline = self.keys.in_force, None
        self.keys = keys if keys.in_force == before else replace(keys, since=now)
        actions: list[Action] = [Store(self.keys)]
        return actions if keys.in_force == before else [*actions, SetKey(keys.in_force)]

    def _is_proof(self, at: float) -> bool:
        """Where there was no key before, there was no handshake before either."""
        return self.keys.agreed is None or at >= self.keys.since + self.timing.guard_s

    def _reset(self, now: float) -> list[Action]:
        """Nothing is in common with the other end: begin anew, without traffic until then."""
        return self._move(TunnelKeys(last_number=self.keys.last_number, since=self.keys.since), now)


class SiteKey(_End):
    """The site's end: it begins every exchange, asks, and keeps both keys until the gateway has decided."""

    def __init__(self, keys: TunnelKeys, timing: Timing) -> None:
        super().__init__(keys, timing)
        self._channel_up = False
        self._exchanging = False
        self._exchanged_at: float | None = None
        self._asked_at: float | None = None
        self._seeks = False
        if keys.state in (KeyState.PROVEN, KeyState.REVERTED):
            self._deadline = keys.since + timing.dead_s

    def handle_channel_up(self, gateway_ids: Collection[bytes], now: float) -> list[Action]:
        """gateway_ids: of the keys that the gateway holds at this moment."""
        self._channel_up, self._exchanging, self._asked_at = True, False, None
        keys, actions = self.keys, list[Action]()
        if keys.candidate is not None and keys.candidate.id not in gateway_ids:
            actions = self._conclude(keys.dropped(), now)
        elif keys.candidate is not None and keys.agreed is not None and keys.agreed.id not in gateway_ids:
            actions = self._conclude(keys.adopted(), now)
        if self.keys.ids and not self.keys.ids & set(gateway_ids):
            actions = self._reset(now)
        return actions + self.handle_timer(now)

    def handle_channel_down(self) -> None:
        self._channel_up = self._exchanging = False

    def handle_exchanged(self, key: PresharedKey, now: float) -> list[Action]:
        """The key of the last `Exchange`: it travels with the proposal, which is the last of these actions."""
        self._exchanging, self._exchanged_at = False, now
        keys = replace(self.keys, state=KeyState.PROPOSED, candidate=key, last_number=key.number)
        return self._move(keys, now) + self._ask(now)

    def handle_handshake(self, now: float, *, at: float | None = None) -> list[Action]:
        """A handshake ended since this was last called; at: when, if that is known better."""
        self.last_handshake = now if at is None else at
        match self.keys.state:
            case KeyState.SET if self._is_proof(self.last_handshake):
                actions = self._move(replace(self.keys, state=KeyState.PROVEN), now)
                self._deadline = self.last_handshake + self.timing.dead_s
                return actions + self._ask(now)
            case KeyState.PROVEN | KeyState.REVERTED:
                self._deadline = self.last_handshake + self.timing.dead_s
            case KeyState.SET if self._seeks:
                self._deadline = now + self.timing.proof_s  # one of the two keys holds; the next handshake says which
        return self.handle_timer(now)

    def handle_message(self, message: Message, now: float) -> list[Action]:
        """An answer of the gateway. What does not concern the candidate is out of date."""
        keys = self.keys
        if keys.candidate is None or message.key_id != keys.candidate.id:
            return []
        match message.word, keys.state:
            case Word.PROVEN, _:
                return self._conclude(keys.adopted(), now)
            case Word.REVERTED, _:
                return self._conclude(keys.dropped(), now)
            case Word.CONFIRM, KeyState.PROPOSED:
                return self._move(replace(keys, state=KeyState.CONFIRMED), now) + self._ask(now)
            case Word.DONE, KeyState.CONFIRMED:
                return self._try(KeyState.SET, self._proof_s, now)
        return []

    def handle_timer(self, now: float) -> list[Action]:
        """Whatever is due. Call it at least every second."""
        actions: list[Action] = []
        if self._deadline is not None and now >= self._deadline and self.keys.candidate is not None and self.keys.agreed is not None:
            self._seeks = True
            other = KeyState.SET if self.keys.state is KeyState.REVERTED else KeyState.REVERTED
            actions += self._try(other, self.timing.seek_s, now)
            actions += self._ask(now)
        if self._channel_up and self._may_exchange(now):
            self._exchanging, self._exchanged_at = True, now
            actions.append(Exchange(self.keys.last_number + 1))
        elif self.keys.candidate is not None and (self._asked_at is None or now >= self._asked_at + self.timing.resend_s):
            actions += self._ask(now)
        return actions

    def _may_exchange(self, now: float) -> bool:
        if self.keys.state is not KeyState.AGREED or self._exchanging:
            return False
        if self.keys.agreed is None:
            return self._exchanged_at is None or now >= self._exchanged_at + self.timing.resend_s
        if self._exchanged_at is not None and now < self._exchanged_at + self.timing.interval_s:
            return False
        return self.last_handshake is not None and now <= self.last_handshake + self.timing.fresh_s

    def _try(self, state: KeyState, for_s: float, now: float) -> list[Action]:
        actions = self._move(replace(self.keys, state=state), now)
        self._deadline = now + for_s
        return actions

    def _conclude(self, keys: TunnelKeys, now: float) -> list[Action]:
        self._seeks, self._asked_at = False, None
        return self._move(keys, now)

    def _ask(self, now: float) -> list[Action]:
        candidate = self.keys.candidate
        if candidate is None or not self._channel_up:
            return []
        self._asked_at = now
        words = {
            KeyState.PROPOSED: Word.PROPOSE,
            KeyState.CONFIRMED: Word.SET,
            KeyState.SET: Word.SET,
            KeyState.PROVEN: Word.PROVEN,
            KeyState.REVERTED: Word.REVERT,
        }
        return [Send(Message(words[self.keys.state], candidate.number, candidate.id))]


class GatewayKey(_End):
    """The gateway's end: it answers, and decides which of two keys survives."""

    def handle_channel_up(self, site_ids: Collection[bytes], now: float) -> list[Action]:
        """site_ids: of the keys that the site holds at this moment."""
        keys = self.keys
        if keys.ids and not keys.ids & set(site_ids):
            return self._reset(now)
        if keys.candidate is not None and keys.candidate.id not in site_ids:
            return self._move(keys.dropped(), now)
        if keys.candidate is not None and keys.agreed is not None and keys.agreed.id not in site_ids:
            return self._move(keys.adopted(), now)
        return []

    def handle_proposal(self, key: PresharedKey, now: float) -> list[Action]:
        """A key that was exchanged just now."""
        message = Message(Word.PROPOSE, key.number, key.id)
        if key.number <= self.keys.last_number or self.keys.state is KeyState.SET:
            return self.handle_message(message, now)
        keys = replace(self.keys, state=KeyState.CONFIRMED, candidate=key, last_number=key.number)
        return [*self._move(keys, now), _answer(Word.CONFIRM, message)]

    def handle_message(self, message: Message, now: float) -> list[Action]:
        """A question of the site."""
        keys = self.keys
        if keys.candidate is None or message.key_id != keys.candidate.id:
            return self._answer_decided(message, now)
        match message.word, keys.state:
            case Word.PROPOSE, _:
                return [_answer(Word.CONFIRM, message)]
            case Word.SET, KeyState.CONFIRMED:
                actions = self._move(replace(keys, state=KeyState.SET), now)
                self._deadline = now + self._proof_s
                return [*actions, _answer(Word.DONE, message)]
            case Word.SET, KeyState.SET:
                return [_answer(Word.DONE, message)]
            case Word.PROVEN, KeyState.SET:
                return self._decide(keys.adopted(), Word.PROVEN, now)
            case Word.REVERT, _:
                return self._decide(keys.dropped(), Word.REVERTED, now)
        return []

    def handle_handshake(self, now: float, *, at: float | None = None) -> list[Action]:
        """A handshake ended since this was last called; at: when, if that is known better."""
        self.last_handshake = now if at is None else at
        if self.keys.state is KeyState.SET and self._is_proof(self.last_handshake):
            return self._decide(self.keys.adopted(), Word.PROVEN, now)
        return self.handle_timer(now)

    def handle_timer(self, now: float) -> list[Action]:
        """Whatever is due. Call it at least every second."""
        if self.keys.state is KeyState.SET and self._deadline is not None and now >= self._deadline:
            return self._decide(self.keys.dropped(), Word.REVERTED, now)
        return []

    def _decide(self, keys: TunnelKeys, word: Word, now: float) -> list[Action]:
        candidate = self.keys.candidate
        assert candidate is not None
        return [*self._move(keys, now), Send(Message(word, candidate.number, candidate.id))]

    def _answer_decided(self, message: Message, now: float) -> list[Action]:
        """About a key that is no candidate (any more): it won, or it counts as lost from now on, even if it should arrive yet."""
        if self.keys.agreed is not None and message.key_id == self.keys.agreed.id:
            return [_answer(Word.PROVEN, message)]
        actions: list[Action] = []
        if message.number > self.keys.last_number:
            self.keys = replace(self.keys, last_number=message.number)
            actions.append(Store(self.keys))
        return [*actions, _answer(Word.REVERTED, message)]


def _answer(word: Word, question: Message) -> Send:
    return Send(Message(word, question.number, question.key_id))
