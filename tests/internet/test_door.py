"""Who has to go when too many strangers stand at a gateway's door."""

from __future__ import annotations

import pytest

from tramontana.internet.addresses import source_of
from tramontana.internet.door import Door, Places


def test_the_oldest_stranger_goes_and_the_newest_comes_in() -> None:
    door, gone = Door(most=3, most_of_one=2), list[str]()
    for number in range(4):
        door.enter(f"192.0.2.{number}", lambda number=number: gone.append(str(number)))  # type: ignore[misc]
    assert gone == ["0"]
    assert len(door) == 3


def test_who_floods_from_one_address_pushes_out_nobody_but_himself() -> None:
    door, gone = Door(most=4, most_of_one=2), list[str]()
    honest = door.enter("192.0.2.1", lambda: gone.append("honest"))
    for _ in range(50):
        door.enter("198.51.100.7", lambda: gone.append("flood"))
    assert gone == ["flood"] * 48
    door.leave(honest)
    assert len(door) == 2
    door.leave(honest)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("", "", True),
    ],
)
def test_one_network_of_ipv6_is_one_source(one: str, other: str, same: bool) -> None:
    assert (source_of(one) == source_of(other)) is same


def test_who_has_a_place_keeps_it() -> None:
    places = Places(most=3, most_of_one=2)
    assert [places.take("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert places.take("192.0.2.2")
    assert not places.take("192.0.2.3")
    places.give_back("192.0.2.1")
    assert places.take("192.0.2.3")
