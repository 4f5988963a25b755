"""The organisation's rules for the admission of calls: one row, and what holds until an administrator sets it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import call_rules

CALL_BPS = 85_000
"""One direction of a call on the wire: Opus at 24 kbit/s with one redundant copy, sealed, with all overheads (docs/sources.md)."""
RELAY_BPS = 50_000_000
"""What one relay process forwards: at 50 packets a second and participant 29,000 packets a second, under half of what a core can do
(71,000 a core-second, bench/relay.py)."""
FLASH_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class CallRules:
    """`carrier_bps` limits what calls may take of a carrier at one place, where the contract gives less than the path can carry."""

    call_bps: int = CALL_BPS
    flash_share: float = FLASH_SHARE
    relay_bps: int = RELAY_BPS
    carrier_bps: Mapping[str, int] = field(default_factory=dict)


async def read(connection: AsyncConnection) -> CallRules:
    row = (await connection.execute(select(call_rules))).mappings().first()
    if row is None:
        return CallRules()
    return CallRules(row["call_bps"], row["flash_share"], row["relay_bps"], json.loads(row["carrier_bps"]))


async def write(connection: AsyncConnection, rules: CallRules) -> None:
    await connection.execute(delete(call_rules))
    row = {"id": 1, "call_bps": rules.call_bps, "flash_share": rules.flash_share, "relay_bps": rules.relay_bps}
    await connection.execute(insert(call_rules).values(carrier_bps=json.dumps(dict(rules.carrier_bps), sort_keys=True), **row))
