"""Where sites reach a gateway."""

from __future__ import annotations

import socket

import pytest

from tramontana.internet.linux.listening import listener

ELSEWHERE = "198.51.100.77"
"""No address of this machine (RFC 5737): a router before it would translate it."""


@pytest.mark.parametrize(("said", "here"), [("127.0.0.1", "127.0.0.1"), (ELSEWHERE, "127.0.0.2"), ("2001:db8::77", "::1")])
def test_a_gateway_is_reached_at_its_address_or_at_the_one_into_which_a_router_translates_it(said: str, here: str) -> None:
    with listener(said, 0, "lo") as made, socket.create_connection((here, made.getsockname()[1]), timeout=60) as asking:
        made.settimeout(60)
        connection, sender = made.accept()
        connection.close()
        assert sender[:2] == asking.getsockname()[:2]


def test_an_address_is_taken_once_and_an_interface_has_to_be_there() -> None:
    with listener("127.0.0.1", 0, "lo") as made, pytest.raises(OSError, match="in use"):
        listener("127.0.0.1", made.getsockname()[1], "lo")
    with pytest.raises(OSError, match="device"):
        listener(ELSEWHERE, 0, "nothing9")
