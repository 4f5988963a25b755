"""The organisation's public half, the transparency log, and how a device stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query

from tramontana.control.api import custody_models
from tramontana.control.api.access import EnrolledOf, LogReaderOf, ServicesOf
from tramontana.control.custody import Status
from tramontana.control.problem import Problem, problems
from tramontana.control.services import Services
from tramontana.control.shapes import Id
from tramontana.control.store import log
from tramontana.keys.log import TreeHead

router = APIRouter(prefix="/api/v1", tags=["log"])
open_router = APIRouter(prefix="/api/v1", tags=["entry"])
MAX_ENTRIES = 64
Size = Annotated[int, Query(ge=1, lt=2**53)]
Index = Annotated[int, Query(ge=0, lt=2**53)]


@open_router.get("/organisation", responses=problems("no_organisation"))
async def organisation(services: ServicesOf) -> custody_models.Organisation:
    """The root and the log key. Whoever has the fingerprint needs nothing else to check them."""
    async with services.store.read() as connection:
        found = await services.custody.organisation(connection)
    return custody_models.Organisation(
        organisation_id=found.root.organisation_id,
        fingerprint=found.root.fingerprint,
        organisation=found.root.encoded,
        log_key=found.log_key.encoded,
        log_id=found.log_key.log_id,
    )


def head_shape(head: TreeHead) -> custody_models.TreeHead:
    """A tree head as JSON."""
    return custody_models.TreeHead(
        log_id=head.log_id, tree_size=head.tree_size, root_hash=head.root_hash, at=head.at, signature=head.signature
    )


@router.get("/log/head", responses=problems("not_logged_in", "no_organisation"))
async def log_head(_reader: LogReaderOf, services: ServicesOf) -> custody_models.TreeHead:
    """The log as it stands, signed now."""
    async with services.store.read() as connection:
        await services.custody.organisation(connection)
        return head_shape(await log.head(connection, services.custody.log_key, services.clock()))


@router.get("/log/consistency", responses=problems("not_logged_in"))
async def log_consistency(_reader: LogReaderOf, services: ServicesOf, first: Size, second: Size) -> custody_models.Consistency:
    """Proof that the log of `first` entries is the beginning of the one of `second`."""
    async with services.store.read() as connection:
        _check(second <= await log.size(connection) and first <= second)
        return custody_models.Consistency(first=first, second=second, proof=await log.consistency(connection, first, second))


@router.get("/log/inclusion", responses=problems("not_logged_in"))
async def log_inclusion(_reader: LogReaderOf, services: ServicesOf, log_index: Index, tree_size: Size) -> custody_models.Inclusion:
    """Proof that an entry is in the log of `tree_size` entries."""
    async with services.store.read() as connection:
        _check(tree_size <= await log.size(connection) and log_index < tree_size)
        proof: Sequence[bytes] = await log.inclusion(connection, log_index, tree_size)
    return custody_models.Inclusion(log_index=log_index, tree_size=tree_size, proof=list(proof))


@router.get("/log/entries", responses=problems("not_logged_in"))
async def log_entries(
    _reader: LogReaderOf, services: ServicesOf, start: Index, count: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = MAX_ENTRIES
) -> custody_models.LogEntries:
    """Entries in order, as they were signed."""
    async with services.store.read() as connection:
        found = await log.entries(connection, start, count)
        return custody_models.LogEntries(start=start, entries=[entry.entry for entry in found], tree_size=await log.size(connection))


def _check(is_within: bool) -> None:
    if not is_within:
        raise Problem("invalid_request", "The log has no such entries.")


@router.get("/me/certificate", responses=problems("not_logged_in", "no_organisation"))
async def my_certificate(sender: EnrolledOf, services: ServicesOf) -> custody_models.CertificateStatus:
    """How the device that asks stands."""
    return await _status(services, sender.device_id)


@router.get("/devices/{device_id}/certificate", responses=problems("not_logged_in", "no_organisation", "not_found"))
async def certificate_of_device(
    device_id: Annotated[Id, Path()], _reader: LogReaderOf, services: ServicesOf
) -> custody_models.CertificateStatus:
    """How a device stands: its last certificate, and its revocation if there is one, with proofs."""
    return await _status(services, device_id)


async def _status(services: Services, device_id: str) -> custody_models.CertificateStatus:
    found: Status | None = await services.custody.status(device_id)
    if found is None:
        raise Problem("not_found")
    certificate = found.certificate
    return custody_models.CertificateStatus(
        device_id=device_id,
        state=found.state,
        request_id=found.request_id,
        certificate=certificate.encoded if certificate else None,
        log_index=certificate.log_index if certificate else None,
        inclusion=found.inclusion,
        revocation=found.revocation,
        revocation_index=certificate.revocation_index if certificate else None,
        revocation_inclusion=found.revocation_inclusion,
        head=head_shape(found.head) if found.head else None,
    )
