"""Precedence levels follow RFC 4412 §10.1."""

import pytest

from tramontana.precedence import Precedence


def test_levels_in_order_and_by_their_rfc_names() -> None:
    labels = ["routine", "priority", "immediate", "flash", "flash-override"]
    assert [level.label for level in sorted(Precedence)] == labels
    assert [Precedence.parse(label) for label in labels] == sorted(Precedence)


def test_an_unknown_level_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="flash-override"):
        Precedence.parse("urgent")
