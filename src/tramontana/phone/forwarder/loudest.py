"""Chooses the few who are heard in a conference, by the audio levels that their packets state (RFC 6464).

A level is smoothed quickly upwards, so that a first syllable is not lost, and slowly downwards, so that a speaker keeps his slot
between words.
Somebody who is heard loses his slot only to somebody clearly louder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SILENCE: Final = 127  # RFC 6464 §3
LEVEL_UNSTATED: Final = 60
"""For packets without a level: quieter than speech, louder than silence."""
ATTACK: Final = 0.6
RELEASE: Final = 0.06
"""Shares of a new level, a packet of 20 ms: half-way up within one packet, half-way down within 12."""
MARGIN_DB: Final = 6.0
GONE_S: Final = 0.5
"""Nothing came for so long: the slot is free."""


@dataclass(slots=True)
class _Voice:
    loudness: float  # dB above silence, smoothed
    heard_at: float
    slot: int | None = None


class Loudest:
    """`slots` voices at most are heard at a time. Deterministic: the same packets give the same choice."""

    def __init__(self, slots: int) -> None:
        self._voices: dict[str, _Voice] = {}
        self._holders: list[str | None] = [None] * slots

    @property
    def holders(self) -> tuple[str | None, ...]:
        """Who has each slot."""
        return tuple(self._holders)

    def heard(self, name: str, level: int | None, now: float) -> int | None:
        """A packet came; gives the slot it is to be forwarded in, or None."""
        loudness = float(SILENCE - (LEVEL_UNSTATED if level is None else level))
        voice = self._voices.get(name)
        if voice is None:
            voice = self._voices[name] = _Voice(loudness, now)
        share = ATTACK if loudness > voice.loudness else RELEASE
        voice.loudness += share * (loudness - voice.loudness)
        voice.heard_at = now
        if voice.slot is None:
            self._contend(name, voice, now)
        return voice.slot

    def _contend(self, name: str, voice: _Voice, now: float) -> None:
        quietest: int | None = None
        least = voice.loudness - MARGIN_DB
        for slot, holder in enumerate(self._holders):
            held = self._voices[holder] if holder is not None else None
            if held is None or now - held.heard_at > GONE_S:
                quietest = slot
                break
            if held.loudness < least:
                quietest, least = slot, held.loudness
        if quietest is None:
            return
        displaced = self._holders[quietest]
        if displaced is not None:
            self._voices[displaced].slot = None
        self._holders[quietest] = name
        voice.slot = quietest

    def leave(self, name: str) -> None:
        """Somebody left; unknown names change nothing."""
        voice = self._voices.pop(name, None)
        if voice is not None and voice.slot is not None:
            self._holders[voice.slot] = None
