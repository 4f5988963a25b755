"""Faults of data from outside are said with their place, and not without end."""

from __future__ import annotations

from typing import Any, Self

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tramontana.complaints import MOST_COMPLAINTS, complaints


class Ship(BaseModel):
    model_config = ConfigDict(extra="forbid")
    decks: list[int]

    @model_validator(mode="after")
    def _floats(self) -> Self:
        if not self.decks:
            raise ValueError("a ship without decks sinks")
        return self


def said(data: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        Ship.model_validate(data)
    return complaints(refused.value)


def test_the_place_is_counted_from_one_and_what_is_wrong_is_said_plainly() -> None:
    assert said({"decks": [1, "x"]}).startswith("decks.2: Input should be a valid integer")
    assert said({"decks": [1], "mast": 1}) == "mast is not known here: delete it or correct its name"
    assert said({"decks": []}) == "a ship without decks sinks"


def test_who_sends_thousands_of_faults_gets_a_sentence() -> None:
    answer = said({"decks": ["x"] * 1_000})
    assert answer.count("valid integer") == MOST_COMPLAINTS
    assert answer.endswith(f"; and {1_000 - MOST_COMPLAINTS} more")
