"""Rate limits: token buckets in memory, in tables of bounded size.

| bucket | counts | per | burst | per second |
|---|---|---|---|---|
| `any` | every request and WebSocket | address | 600 | 60 |
| `stranger` | what needs no session: enrolment, challenge, login, administrator login, WebSocket | address | 60 | 1 |
| `account` | every request with a session | account | 400 | 20 |
| `claim` | key package claims; one more for every ten accounts of a group | account | 60 | 0.5 |
| `audited` | logins, commits, changes of members and calls, which leave a row in the audit trail for good | account | 120 | 0.5 |
| `frames` | WebSocket frames of a client | device | 400 | 50 |
| `refused_logins` | audit rows about refused logins and enrolments | service | 60 | 0.2 |
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

MAX_BUCKETS = 20_000


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket that holds `burst` tokens and gains `per_second`."""

    burst: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Limits:
    """All rates and sizes; the numbers of the table above unless said otherwise."""

    any: Rate = Rate(600, 60)
    stranger: Rate = Rate(60, 1)
    account: Rate = Rate(400, 20)
    claim: Rate = Rate(60, 0.5)
    audited: Rate = Rate(120, 0.5)
    frames: Rate = Rate(400, 50)
    refused_logins: Rate = Rate(60, 0.2)
    body_bytes: int = 256 * 1024
    large_body_bytes: int = 3 * 1024 * 1024
    """For key packages and commits, of whoever has a session: a commit and a welcome of the largest size, as text."""
    sockets_before_hello: int = 200
    hello_timeout_s: float = 10.0


class TokenBuckets:
    """Buckets by key; the one used longest ago gives way when the table of its name is full.

    Each name has its own table: who has many addresses must not push out the bucket of an account.
    """

    def __init__(self, max_buckets: int = MAX_BUCKETS) -> None:
        self._max_buckets = max_buckets
        self._tables: dict[str, OrderedDict[str, tuple[float, float]]] = {}

    def take(self, name: str, key: str, rate: Rate, now: float, cost: float = 1) -> float:
        """Take one token, or `cost`: 0.0 where there were as many, else the seconds until there are."""
        table = self._tables.setdefault(name, OrderedDict())
        tokens, since = table.get(key, (rate.burst, now))
        tokens = min(rate.burst, tokens + max(0.0, now - since) * rate.per_second)
        wait_s = 0.0 if tokens >= cost else (cost - tokens) / rate.per_second
        table[key] = (tokens - cost if wait_s == 0 else tokens, now)
        table.move_to_end(key)
        if len(table) > self._max_buckets:
            table.popitem(last=False)
        return wait_s

    def __len__(self) -> int:
        return sum(map(len, self._tables.values()))
