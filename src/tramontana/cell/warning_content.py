"""What a warning says: the content that one person writes, signs and submits, and that another reads, signs and approves.

It travels as JSON octets, and what is signed is their SHA-256: both persons have seen the same octets, whoever carried them.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tramontana.cell import area, cell_broadcast
from tramontana.cell.cell_broadcast import Level
from tramontana.complaints import complaints
from tramontana.errors import LocalError
from tramontana.keys.fields import is_displayable

MAX_OCTETS = 128 * 1024
SHORTEST_S = 60
LONGEST_S = 24 * 3600
TEMPLATE_LONGEST_S = 3600
"""What was approved in advance is for the first minutes; whatever shall last is approved by a second person meanwhile."""

Kind = Literal["alert", "update", "cancel", "template"]
Status = Literal["actual", "exercise"]
# CAP 1.2 §3.2.2
Category = Literal["Geo", "Met", "Safety", "Security", "Rescue", "Fire", "Health", "Env", "Transport", "Infra", "CBRNE", "Other"]
Urgency = Literal["Immediate", "Expected", "Future", "Past", "Unknown"]
Severity = Literal["Extreme", "Severe", "Moderate", "Minor", "Unknown"]
Certainty = Literal["Observed", "Likely", "Possible", "Unlikely", "Unknown"]

LEVEL_OF_SEVERITY: dict[str, Level] = {"Extreme": Level.ALWAYS_ON, "Severe": Level.LEVEL_1, "Moderate": Level.LEVEL_2}
"""Where nobody says otherwise; anything less is the third level."""


class ContentRefused(LocalError):
    """The warning cannot be sent as it stands; the message says what to change."""


def _line(text: str) -> str:
    if not is_displayable(text):
        raise ValueError("must not begin or end with a space or hold control characters")
    return text


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Text(_Part):
    """The text in one language."""

    language: Annotated[str, Field(pattern="^[a-z]{2}$", description="ISO 639-1")]
    text: Annotated[str, Field(min_length=1, max_length=5000)]

    @field_validator("text")
    @classmethod
    def _can_be_broadcast(cls, text: str) -> str:
        try:
            cell_broadcast.encode(text, "")
        except LocalError as error:
            raise ValueError(str(error)) from error
        return text


class Area(_Part):
    """Where. `polygons`: rings of [latitude, longitude]."""

    description: Line
    polygons: tuple[tuple[tuple[float, float], ...], ...] = Field(strict=False)

    @field_validator("polygons", mode="before")
    @classmethod
    def _is_area(cls, polygons: object) -> object:
        if not isinstance(polygons, (list, tuple)):
            raise ValueError("must be a list of polygons")
        try:
            return area.checked([[(float(point[0]), float(point[1])) for point in ring] for ring in polygons])
        except (TypeError, IndexError, KeyError) as error:
            raise ValueError("a polygon is a list of [latitude, longitude]") from error
        except LocalError as error:
            raise ValueError(str(error)) from error


CapField = Annotated[str, Field(pattern=r"^[^\s,<&]{1,200}$")]


class CapSource(_Part):
    """The CAP message that a content was read from: what its author's updates will refer to (CAP 1.2 §3.2.1)."""

    sender: CapField
    identifier: CapField
    sent_unix_s: float


class Content(_Part):
    """A warning, an update or a cancellation of one, or a template for the first minutes."""

    kind: Kind
    replaces: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    """With `update` and `cancel`: the id of the warning that is on the air."""
    template: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    """With `alert`: the id of the authorised template whose texts these are."""
    status: Status
    level: Level = Field(strict=False)
    category: Category
    event: Line
    urgency: Urgency
    severity: Severity
    certainty: Certainty
    texts: Annotated[tuple[Text, ...], Field(max_length=2, strict=False)]
    area: Area | None = None
    """Not with `template`: whoever uses it says where."""
    duration_s: Annotated[int, Field(ge=SHORTEST_S, le=LONGEST_S)]
    """How long it stays on the air; a template: how long a warning from it may."""
    repetition_s: Annotated[int, Field(ge=2, le=3600)] = 60
    cap: CapSource | None = None
    """Where it came in by CAP. It is signed with the rest, so that whoever approves sees whose it is."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.replaces is not None) != (self.kind in ("update", "cancel")):
            raise ValueError("an update or a cancellation names the warning that it replaces, and nothing else does")
        if self.cap is not None and (self.template is not None or self.kind == "template"):
            raise ValueError("a template is ours, and so is what is made from it: neither comes in by CAP")
        if self.template is not None and self.kind != "alert":
            raise ValueError("only a new warning is made from a template")
        if (self.area is None) != (self.kind == "template"):
            raise ValueError("a warning has an area, a template has none")
        if (self.status == "exercise") != (self.level is Level.EXERCISE):
            raise ValueError("an exercise goes out on the exercise level, and nothing else does")
        if not self.texts and self.kind != "cancel":
            raise ValueError("a warning has a text in one or two languages")
        if len({text.language for text in self.texts}) != len(self.texts):
            raise ValueError("the two texts are in different languages")
        if self.kind == "template" and self.duration_s > TEMPLATE_LONGEST_S:
            raise ValueError(f"a warning from a template stays on the air for at most {TEMPLATE_LONGEST_S // 60} minutes")
        return self

    def encode(self) -> bytes:
        """The octets that are signed over."""
        return self.model_dump_json(exclude_none=True).encode()


def parse(octets: bytes) -> Content:
    """Content as it arrived. Raises `ContentRefused`."""
    if len(octets) > MAX_OCTETS:
        raise ContentRefused(f"a warning has at most {MAX_OCTETS // 1024} KiB: simplify its area")
    try:
        return Content.model_validate_json(octets)
    except ValidationError as error:
        raise ContentRefused(complaints(error)) from error


def digest(octets: bytes) -> bytes:
    """SHA-256 of the octets of a content."""
    return hashlib.sha256(octets).digest()
