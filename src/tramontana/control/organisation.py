"""The organisation of a server: its public half and the log key that it signed, as they are installed."""

from __future__ import annotations

from dataclasses import dataclass

from tramontana.control.store import accounts, audit, certificates, log
from tramontana.control.store.database import Store
from tramontana.errors import LocalError
from tramontana.keys.certificate import LogKeyStatement, UnverifiedLogKey
from tramontana.keys.log import LogKey
from tramontana.keys.organisation import Root, verify_root


class OrganisationError(LocalError):
    """The organisation cannot be installed here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Organisation:
    """What the server knows of its organisation: public halves."""

    root: Root
    log_key: LogKeyStatement


async def install(store: Store, log_key: LogKey, root: bytes, log_key_statement: bytes, *, now: float) -> Organisation:
    """Give a server its organisation: the first two entries of its log. Doing it again changes nothing.

    Raises `OrganisationError`, `Refused`.
    """
    found = verify_root(root)
    statement = UnverifiedLogKey(log_key_statement).verify(found)
    if statement.public_key != log_key.public_bytes:
        raise OrganisationError("the organisation signed the log key of another server; sign the request that this server made")
    async with store.write() as connection:
        if statement.service_id != await accounts.service_id(connection, now):
            raise OrganisationError("the organisation signed for another server; sign the request that this server made")
        known = await certificates.installed(connection)
        if known is not None:
            if known.root != root:
                other = verify_root(known.root)
                raise OrganisationError(
                    f"this server belongs to the organisation {other.name!r} ({other.fingerprint_text}); nothing was changed. "
                    "Another organisation needs a server with a data directory of its own"
                )
            return Organisation(found, UnverifiedLogKey(known.log_key).verify(found))
        details = {"name": found.name, "fingerprint": found.fingerprint.hex(), "profile": found.profile.name}
        await audit.append(connection, now=now, actor=audit.COMMAND, action="organisation.installed", details=details)
        await certificates.install(connection, root, log_key_statement, now)
        for entry in (root, log_key_statement):
            await log.append(connection, entry, log_key, now)
    return Organisation(found, statement)
