"""What one running server consists of; the API finds it at `app.state.services`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tramontana.control.admission import Admission
from tramontana.control.attachments import Attachments
from tramontana.control.broadcast_sky import BroadcastSky
from tramontana.control.calls import Calls
from tramontana.control.custody import Custody
from tramontana.control.delivery import Delivery
from tramontana.control.exercises import Exercises
from tramontana.control.forwarders import Forwarders
from tramontana.control.hub import Hub
from tramontana.control.limits import Limits, TokenBuckets
from tramontana.control.mailroom import Mailroom
from tramontana.control.membership import Membership
from tramontana.control.processes import Processes
from tramontana.control.reports import Reports
from tramontana.control.routers import Routers
from tramontana.control.sky import SkyService
from tramontana.control.sos import Sos
from tramontana.control.store.database import Store
from tramontana.control.tak import Tak
from tramontana.control.texts import Texts
from tramontana.control.warnings import Warnings


@dataclass(slots=True)
class Services:
    """Everything that lives as long as the server does. `clock` gives POSIX seconds."""

    store: Store
    hub: Hub
    admission: Admission
    delivery: Delivery
    attachments: Attachments
    mailroom: Mailroom
    membership: Membership
    calls: Calls
    custody: Custody
    processes: Processes
    forwarders: Forwarders
    routers: Routers
    texts: Texts
    sos: Sos
    events_key: bytes = field(repr=False)
    sky: SkyService
    warnings: Warnings
    tak: Tak
    reports: Reports
    exercises: Exercises
    broadcast_sky: BroadcastSky
    buckets: TokenBuckets
    limits: Limits
    clock: Callable[[], float]
    sockets_before_hello: int = field(default=0)
