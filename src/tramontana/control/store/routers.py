"""Sites and gateways as rows: their numbers, networks and addresses, and the last report of each."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from math import inf, isfinite, nextafter
from typing import Final

from sqlalchemy import Column, ColumnElement, Row, Select, Table, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.store.schema import accounts, certificates, devices, gateways, log_entries, router_reports, sites

Network = IPv4Network | IPv6Network
ROWS_AT_ONCE = 500
LATE_S = 60.0
"""A certificate is dated before it waits for its turn to be written, which takes no longer than this."""
NETWORKS_READ: Final = 1 << 16
"""Texts of networks whose meaning is remembered: three for each of as many sites as there can be."""


@dataclass(frozen=True, slots=True)
class Site:
    device_id: str
    display_name: str
    unit: str
    number: int
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Gateway:
    device_id: str
    display_name: str
    number: int
    address: str
    address_6: str | None


@dataclass(frozen=True, slots=True)
class Reporter:
    """What is needed to believe a report: whose key signs, which roles its certificate in force gives, how old the last one is."""

    device_id: str
    signature_public_key: bytes
    roles: tuple[str, ...]
    last_at: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """at: by the router's clock; gateway_id: whose hands it came by; report: JSON."""

    device_id: str
    at: float
    received_at: float
    gateway_id: str
    report: str


def _in_force(now: float) -> tuple[ColumnElement[bool], ...]:
    return devices.c.revoked_at.is_(None), devices.c.rejected_at.is_(None), devices.c.certified_until > now


async def all_sites(connection: AsyncConnection, now: float, since: float | None = None) -> Sequence[Site]:
    """Those whose certificate is in force, by number; since: only those whose place or certificate may be younger than that."""
    query = _sites(now)
    if since is not None:
        query = query.join(log_entries, log_entries.c.log_index == certificates.c.log_index)
        query = query.where(or_(sites.c.changed_at >= since, log_entries.c.added_at >= since))
    return [_site(row) for row in await connection.execute(query.order_by(sites.c.number))]


async def site(connection: AsyncConnection, device_id: str, now: float) -> Site | None:
    """One whose certificate is in force."""
    row = (await connection.execute(_sites(now).where(sites.c.device_id == device_id))).first()
    return None if row is None else _site(row)


def _sites(now: float) -> Select[tuple[str, str, str, int, str]]:
    return (
        select(sites.c.device_id, accounts.c.display_name, certificates.c.unit, sites.c.number, sites.c.networks)
        .join_from(sites, devices)
        .join(accounts)
        .join(certificates, certificates.c.serial == devices.c.serial)
        .where(*_in_force(now))
    )


def _site(row: Row[tuple[str, str, str, int, str]]) -> Site:
    return Site(row.device_id, row.display_name, row.unit, row.number, _networks(row.networks))


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(map(_network, json.loads(text)))


@lru_cache(NETWORKS_READ)
def _network(text: str) -> Network:
    """Every site that changes its networks is compared with all others: 20,000 of them take a tenth of a second to read."""
    return ip_network(text)


async def all_gateways(connection: AsyncConnection, now: float) -> Sequence[Gateway]:
    """Those whose certificate is in force, by number."""
    query = (
        select(gateways.c.device_id, accounts.c.display_name, gateways.c.number, gateways.c.address, gateways.c.address_6)
        .join_from(gateways, devices)
        .join(accounts)
        .where(*_in_force(now))
        .order_by(gateways.c.number)
    )
    return [Gateway(**row) for row in (await connection.execute(query)).mappings()]


async def networks_of_others(connection: AsyncConnection, device_id: str) -> Sequence[Network]:
    rows = await connection.execute(select(sites.c.networks).where(sites.c.device_id != device_id))
    return [each for row in rows for each in _networks(row.networks)]


async def networks_of_site(connection: AsyncConnection, device_id: str) -> tuple[Network, ...]:
    """None of a site without a place."""
    found = (await connection.execute(select(sites.c.networks).where(sites.c.device_id == device_id))).scalar_one_or_none()
    return _networks(found) if found else ()


async def number_of_site(connection: AsyncConnection, device_id: str) -> int | None:
    return (await connection.execute(select(sites.c.number).where(sites.c.device_id == device_id))).scalar_one_or_none()


async def number_of_gateway(connection: AsyncConnection, device_id: str) -> int | None:
    return (await connection.execute(select(gateways.c.number).where(gateways.c.device_id == device_id))).scalar_one_or_none()


async def free_site_number(connection: AsyncConnection, first: int, last: int) -> int | None:
    """The lowest that no site has; those of revoked devices are taken back when there is no other. Call it in a `write`."""
    found = await _free(connection, sites.c.number, first, last)
    if found is None:
        await connection.execute(delete(sites).where(sites.c.device_id.in_(_revoked())))
        found = await _free(connection, sites.c.number, first, last)
    return found


async def free_gateway_number(connection: AsyncConnection, first: int, last: int) -> int | None:
    """As `free_site_number`."""
    found = await _free(connection, gateways.c.number, first, last)
    if found is None:
        await connection.execute(delete(gateways).where(gateways.c.device_id.in_(_revoked())))
        found = await _free(connection, gateways.c.number, first, last)
    return found


async def _free(connection: AsyncConnection, column: Column[int], first: int, last: int) -> int | None:
    taken = set((await connection.execute(select(column))).scalars())
    return next((number for number in range(first, last + 1) if number not in taken), None)


def _revoked() -> Select[tuple[str]]:
    return select(devices.c.device_id).where(devices.c.revoked_at.is_not(None))


async def set_site(connection: AsyncConnection, device_id: str, number: int, networks: Collection[Network], now: float) -> None:
    """Call it in a `write`."""
    changed_at = await _after_all(connection, sites, now)
    values = {"number": number, "networks": json.dumps([str(each) for each in networks]), "changed_at": changed_at}
    if (await connection.execute(update(sites).where(sites.c.device_id == device_id).values(values))).rowcount == 0:
        await connection.execute(insert(sites).values(device_id=device_id, **values))


async def set_gateway(connection: AsyncConnection, device_id: str, number: int, address: str, address_6: str | None, now: float) -> None:
    """Call it in a `write`."""
    changed_at = await _after_all(connection, gateways, now)
    values = {"number": number, "address": address, "address_6": address_6, "changed_at": changed_at}
    if (await connection.execute(update(gateways).where(gateways.c.device_id == device_id).values(values))).rowcount == 0:
        await connection.execute(insert(gateways).values(device_id=device_id, **values))


async def _after_all(connection: AsyncConnection, table: Table, now: float) -> float:
    """`now`, or just after the youngest change: it may have overtaken this one, or have been dated by a clock that was ahead. The
    revision would stay the same, and no gateway hear of this change before the next one."""
    last = (await connection.execute(select(func.max(table.c.changed_at)))).scalar_one_or_none()
    return now if last is None else max(now, nextafter(last, inf))


# Reports


async def reporters(connection: AsyncConnection, device_ids: Collection[str], now: float) -> Mapping[str, Reporter]:
    """Those of these devices whose certificate is in force."""
    query = (
        select(devices.c.device_id, devices.c.signature_public_key, certificates.c.roles, router_reports.c.at)
        .join_from(devices, certificates, certificates.c.serial == devices.c.serial)
        .join(router_reports, router_reports.c.device_id == devices.c.device_id, isouter=True)
        .where(devices.c.device_id.in_(device_ids), *_in_force(now))
    )
    rows = await connection.execute(query)
    return {row.device_id: Reporter(row.device_id, row.signature_public_key, tuple(row.roles.split(",")), row.at) for row in rows}


async def keep_reports(connection: AsyncConnection, made: Sequence[Report]) -> None:
    """In place of the ones before. Call it in a `write`; no device twice."""
    if not made:
        return
    ids = [each.device_id for each in made]
    await connection.execute(delete(router_reports).where(router_reports.c.device_id.in_(ids)))
    rows = [{name: getattr(each, name) for name in Report.__slots__} for each in made]
    await connection.execute(insert(router_reports), rows)


async def reported_at(connection: AsyncConnection) -> Mapping[str, float]:
    """`at` of the last report of each router, by device id."""
    return {row.device_id: row.at for row in await connection.execute(select(router_reports.c.device_id, router_reports.c.at))}


async def reports(connection: AsyncConnection, device_ids: Sequence[str]) -> Mapping[str, Report]:
    """The last of each of these routers, by device id."""
    found: dict[str, Report] = {}
    for start in range(0, len(device_ids), ROWS_AT_ONCE):
        query = select(router_reports).where(router_reports.c.device_id.in_(device_ids[start : start + ROWS_AT_ONCE]))
        found |= {row["device_id"]: Report(**row) for row in (await connection.execute(query)).mappings()}
    return found


async def forget_reports(connection: AsyncConnection, before: float) -> None:
    await connection.execute(delete(router_reports).where(router_reports.c.received_at < before))


async def revision(connection: AsyncConnection) -> str:
    """Another text whenever a site or a gateway joined or changed its place."""
    parts = []
    for table in (sites, gateways):
        found = (await connection.execute(select(func.count(), func.max(table.c.changed_at)).select_from(table))).one()
        parts.append(f"{found[0]}@{found[1] or 0.0!r}")
    return " ".join(parts)


def back_to(revision: str) -> float | None:
    """From when on whatever is not in a revision was changed, in POSIX seconds; None for a text that is none: look at everything."""
    try:
        at = float(revision.split(" ")[0].partition("@")[2])
    except ValueError:
        return None
    return at - LATE_S if isfinite(at) else None
