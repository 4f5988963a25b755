"""The gate of a headless listener: who is in the epoch is heard, and nobody else; every frame once, and what is missing shows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.keys.mls.world import GROUP_ID, NOW
from tests.phone.test_headless_voice import Anybody
from tramontana.keys.identity import DeviceKey
from tramontana.keys.mls.client import Client, OwnKeyPackage, parse_key_package
from tramontana.keys.mls.errors import WelcomeRefused
from tramontana.keys.mls.group import Group
from tramontana.keys.mls.messages import Add, Remove
from tramontana.keys.mls.nodes import Credential
from tramontana.keys.sframe import SealingKey, mls_kid
from tramontana.phone.headless.conference_frames import OLD_EPOCH_S, ConferenceGate
from tramontana.phone.headless.frames import BASE_KEY_BYTES, BASE_KEY_LABEL
from tramontana.phone.headless.red import Block, encode_red

CALL = "c" * 32
OPUS, RED = 111, 63
CONTEXT = 0x123456789A << 24
"""A sender draws it; it stands above leaf and epoch."""


@dataclass
class Three:
    """Ada, who speaks, Bruno, who will be put out, and a listener."""

    ada: Group
    bruno: Group
    listener: Group


def device(name: bytes) -> tuple[Client, OwnKeyPackage]:
    client = Client(DeviceKey.generate(), Credential.basic(name), Anybody())
    return client, client.new_key_package(NOW)


@pytest.fixture
def three() -> Three:
    (ada, _), (bruno, brunos), (listener, listeners) = device(b"ada"), device(b"bruno"), device(b"listener")
    group = ada.create(GROUP_ID, NOW)
    packages = [Add(parse_key_package(own.message)) for own in (brunos, listeners)]
    made = group.adopt(group.commit(*packages, now=NOW))
    group.adopt(group.merge())
    return Three(group, bruno.join(made.welcome or b"", [brunos])[0], listener.join(made.welcome or b"", [listeners])[0])


def sealing(group: Group) -> SealingKey:
    keys = group.keys()
    return SealingKey(CONTEXT + mls_kid(keys.own_leaf, keys.epoch), keys.export(BASE_KEY_LABEL, bytes.fromhex(CALL), BASE_KEY_BYTES))


def test_members_are_heard_each_frame_once_and_losses_are_counted(three: Three) -> None:
    gate, key = ConferenceGate(CALL), sealing(three.ada)
    frames = [key.seal(encode_red([Block(OPUS, 960, b"before"), Block(OPUS, 0, b"now")])) for _ in range(5)]
    assert gate.open(frames[0], RED, RED, 2_000, 0.0) == []  # no keys yet
    gate.use_keys(three.listener.keys(), 0.0)
    assert gate.open(frames[0], RED, RED, 2_000, 0.0) == [(1_040, b"before"), (2_000, b"now")]
    assert gate.open(frames[0], RED, RED, 2_000, 0.0) == []  # a repeat
    assert gate.open(frames[4], RED, RED, 5_840, 0.0)
    assert gate.open(sealing(three.bruno).seal(b"opus"), RED, OPUS, 7, 0.0) == [(7, b"opus")]
    assert gate.open(sealing(three.listener).seal(b"opus"), RED, OPUS, 7, 0.0) == []  # nobody hears himself
    assert gate.open(frames[3][:-1] + b"\0", RED, RED, 4_880, 0.0) == []
    assert gate.open(b"", RED, RED, 4_880, 0.0) == []
    of_ada, of_bruno = sorted(gate.senders.values(), key=lambda each: each.leaf)
    assert (of_ada.opened, of_ada.lost, of_bruno.opened, of_bruno.lost) == (2, 3, 1, 0)
    assert gate.refused == 4


def test_who_is_put_out_is_not_heard_and_the_epoch_before_only_for_a_moment(three: Three) -> None:
    gate, old, gone = ConferenceGate(CALL), sealing(three.ada), sealing(three.bruno)
    gate.use_keys(three.listener.keys(), 0.0)
    made = three.ada.adopt(three.ada.commit(Remove(three.bruno.own_leaf), now=NOW))
    three.ada.adopt(three.ada.merge())
    three.listener.adopt(three.listener.receive(made.commit, now=NOW))
    new = sealing(three.ada)
    assert gate.open(new.seal(b"new"), RED, OPUS, 1, 1.0) == []  # the listener's conversation moved, its media not yet
    gate.use_keys(three.listener.keys(), 1.0)
    assert gate.epoch == three.ada.epoch
    assert gate.open(new.seal(b"new"), RED, OPUS, 1, 1.0) == [(1, b"new")]
    assert gate.open(old.seal(b"old"), RED, OPUS, 2, 1.0) == [(2, b"old")]
    assert gate.open(gone.seal(b"gone"), RED, OPUS, 3, 1.0) == []
    assert gate.open(old.seal(b"old"), RED, OPUS, 4, 1.0 + OLD_EPOCH_S) == []


def test_a_welcome_says_whether_its_tree_is_apart() -> None:
    (ada, _), (bruno, own) = device(b"ada"), device(b"bruno")
    group = ada.create(GROUP_ID, NOW)
    step = group.commit(Add(parse_key_package(own.message)), now=NOW, tree_in_welcome=False)
    made = group.adopt(step)
    assert made.welcome is not None
    assert bruno.tree_apart(made.welcome, [own]) == 1
    with pytest.raises(WelcomeRefused, match="tree"):
        bruno.join(made.welcome, [own])
    assert bruno.join(made.welcome, [own], tree=made.tree)[0].epoch == 1
    with pytest.raises(WelcomeRefused, match="no longer has"):
        bruno.tree_apart(made.welcome, [])
