"""What is known beforehand of a site's carriers: outages that their operators announced, and what the space engine forecasts.

Both end as `PlannedOutage`s of the choice of uplinks, which leaves a carrier before a long one, and over a short one sends urgent packets
twice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from tramontana.complaints import complaints
from tramontana.errors import LocalError
from tramontana.internet.uplink_choice import PlannedOutage

HORIZON_S: Final = 300.0
"""A forecast reaches so far: beyond it the operator's choice of satellites is anybody's guess."""
RENEW_S: Final = 60.0


class AnnouncementsRefused(LocalError):
    """The file of announced outages is refused; the message says why. What was known before still counts."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Announced(_Strict):
    """An outage that a carrier's operator announced."""

    carrier: str
    start: Annotated[AwareDatetime, Field(alias="from")]
    until: AwareDatetime
    reason: str = "announced outage"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until <= self.start:
            raise ValueError("it ends before it begins")
        return self


class _Announcements(_Strict):
    outage: tuple[Announced, ...] = ()


class Lookout(_Strict):
    """Where a site stands, and by what its carriers are forecast. A ship sets it anew as it goes."""

    latitude_deg: Annotated[float, Field(ge=-90, le=90)]
    longitude_deg: Annotated[float, Field(ge=-180, le=180)]
    height_m: Annotated[float, Field(ge=-500, le=20_000)] = 0.0
    data: Path
    """The directory in which `tramontana sky load` keeps the orbital elements."""
    simulated: bool = False
    """The carriers are played, by the constellation of that directory even if it is one as filed. For laboratories."""


class OutlookRequest(_Strict):
    """What the process that looks ahead is started with."""

    lookout: Lookout
    carriers: tuple[str, ...]


class Foreseen(_Strict):
    """POSIX seconds."""

    start: float
    end: float
    reason: str


Outlook = dict[str, tuple[Foreseen, ...]]
"""By carrier's id."""
_OUTLOOK: Final = TypeAdapter(Outlook)


def parse_announcements(text: str, carriers: Iterable[str], origin: str) -> Outlook:
    """A TOML file: `[[outage]]` with `carrier`, `from`, `until` (times with their zone) and `reason`. Raises `AnnouncementsRefused`."""
    try:
        announced = _Announcements.model_validate(tomllib.loads(text)).outage
    except tomllib.TOMLDecodeError as error:
        raise AnnouncementsRefused(f"{origin} is not TOML: {error}") from error
    except ValidationError as error:
        raise AnnouncementsRefused(f"{origin} is refused. {complaints(error)}") from error
    known = set(carriers)
    for each in announced:
        if each.carrier not in known:
            raise AnnouncementsRefused(f"{origin}: this site has no carrier {each.carrier!r}: use one of {', '.join(sorted(known))}")
    return {
        carrier: tuple(
            Foreseen(start=e.start.timestamp(), end=e.until.timestamp(), reason=e.reason) for e in announced if e.carrier == carrier
        )
        for carrier in known
    }


def encode_outlook(outlook: Outlook) -> bytes:
    """One line."""
    return _OUTLOOK.dump_json(outlook) + b"\n"


def parse_outlook(line: bytes) -> Outlook:
    """Raises `ValueError`."""
    return _OUTLOOK.validate_json(line)


def planned(sources: Iterable[Mapping[str, tuple[Foreseen, ...]]], carrier: str, to_clock_s: float) -> tuple[PlannedOutage, ...]:
    """All that is foreseen of a carrier, by time. to_clock_s: what turns POSIX seconds into the clock of the choice."""
    found = [
        PlannedOutage(each.start + to_clock_s, each.end + to_clock_s, each.reason) for source in sources for each in source.get(carrier, ())
    ]
    return tuple(sorted(found, key=lambda plan: plan.start))
