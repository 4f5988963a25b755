"""Parsing and encoding: true messages are kept to the byte, and no bytes do anything but parse or be refused."""

from __future__ import annotations

import contextlib
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keys.mls.world import NOW, World
from tramontana.keys.mls.client import parse_key_package
from tramontana.keys.mls.errors import FramingError, MessageRefused
from tramontana.keys.mls.key_schedule import PreSharedKeys
from tramontana.keys.mls.messages import Add, GroupContextExtensions, PublicMessage, ReInit, Remove, encode_message, parse_message
from tramontana.keys.mls.nodes import Extension
from tramontana.keys.mls.ratchet_tree import RatchetTree
from tramontana.keys.mls.suites import X25519_AES128GCM_SHA256


@cache
def messages() -> tuple[bytes, ...]:
    world = World("messages")
    ada = world.create()
    world.admit("ada", "bruno", "carla")
    package = world.package("dora")
    add = Add(parse_key_package(package.message))
    sent = ada.commit(
        add, ada.psk(b"id"), ada.resumption_psk(1), Remove(1), now=NOW, public=True, psks=PreSharedKeys({b"id": b"key"})
    ).outcome
    assert sent.welcome is not None
    _, external = world.clients["dora"].join_externally(ada.group_info(), NOW)
    return (
        package.message,
        sent.commit,
        sent.welcome,
        external.commit,
        ada.group_info(),
        ada.seal(b"text").outcome,
        ada.propose_update(public=True).outcome,
        ada.propose(add, now=NOW, public=True).outcome,
        ada.propose(ReInit(b"next", 3, (Extension(7, b"x"),)), now=NOW, public=True).outcome,
        ada.propose(GroupContextExtensions((Extension(9, b""),)), now=NOW, public=True).outcome,
    )


@pytest.mark.parametrize("at", range(10))
def test_encoding_is_the_inverse_of_parsing(at: int) -> None:
    assert encode_message(parse_message(messages()[at])) == messages()[at]


def test_trees_are_kept_to_the_byte() -> None:
    world = World("trees")
    ada = world.create()
    world.admit("ada", *"bcdef")
    world.commit("c")
    encoded = ada.ratchet_tree()
    tree = RatchetTree.parse(X25519_AES128GCM_SHA256, encoded)
    assert tree.encode() == encoded
    assert tree.hash() == ada._state.context.tree_hash


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 9), st.data())
def test_damaged_messages_parse_or_are_refused(at: int, data: st.DataObject) -> None:
    message = bytearray(messages()[at])
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FramingError):
        assert encode_message(parse_message(bytes(message))) == message


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 5), st.binary(max_size=300))
def test_arbitrary_bytes_parse_or_are_refused(wire_format: int, body: bytes) -> None:
    with contextlib.suppress(FramingError):
        parse_message(b"\x00\x01\x00" + bytes([wire_format]) + body)
    with contextlib.suppress(MessageRefused):
        RatchetTree.parse(X25519_AES128GCM_SHA256, body)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_public_messages_never_pass(data: st.DataObject) -> None:
    """The membership tag covers every byte of a member's public message."""
    world = World("messages")
    world.create()
    world.admit("ada", "bruno", "carla")
    original = messages()[6]
    assert isinstance(parse_message(original), PublicMessage)
    world.groups["bruno"].receive(original)
    message = bytearray(original)
    at = data.draw(st.integers(0, len(message) - 1))
    message[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MessageRefused):
        world.groups["bruno"].receive(bytes(message))
