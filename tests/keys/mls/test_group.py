"""Groups among the core's own clients: what a phone does from the first commit to the last."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keys.mls.world import GROUP_ID, NOW, World
from tramontana.keys.mls.client import OwnKeyPackage, parse_key_package
from tramontana.keys.mls.errors import KeyAlreadyUsed, NotActive, PendingCommit, StaleStep, UnknownPsk, WrongEpoch
from tramontana.keys.mls.key_schedule import PreSharedKeys
from tramontana.keys.mls.messages import USAGE_REINIT, Add, GroupContextExtensions, ReInit, Remove
from tramontana.keys.mls.nodes import REQUIRED_CAPABILITIES, Extension, RequiredCapabilities
from tramontana.keys.mls.outcomes import Application, Committed, Proposed
from tramontana.keys.mls.state import Status
from tramontana.keys.mls.suites import SUITES, X25519_AES128GCM_SHA256, XWING_AES256GCM_SHA384, CipherSuite


@pytest.mark.parametrize("suite", SUITES.values(), ids=str)
def test_a_group_from_the_first_commit_to_the_last(suite: CipherSuite) -> None:
    world = World("life", suite)
    ada = world.create()
    world.admit("ada", "bruno", "carla")
    world.admit("bruno", "dora", tree=False)
    world.check_agreement()
    message = ada.adopt(ada.seal(b"good morning", b"aad"))
    for received in world.deliver("ada", message).values():
        assert isinstance(received, Application)
        assert (received.plaintext, received.authenticated_data, received.sender.credential.content) == (b"good morning", b"aad", b"ada")
    authenticator = ada.epoch_authenticator
    bruno = world.groups["bruno"]
    world.commit("ada", Remove(bruno.own_leaf))
    world.check_agreement()
    assert bruno.status is Status.REMOVED
    assert ada.epoch_authenticator != authenticator
    with pytest.raises(NotActive):
        bruno.seal(b"still here?")
    with pytest.raises(NotActive):
        bruno.export("tests", b"", 32)
    world.commit("dora")  # with nothing to change: fresh keys
    world.check_agreement()
    assert {member.credential.content for member in ada.members} == {b"ada", b"carla", b"dora"}


def test_nothing_moves_before_a_step_is_adopted() -> None:
    world = World()
    ada = world.create()
    world.admit("ada", "bruno")
    before = ada.serialise()
    first, second = ada.seal(b"one"), ada.seal(b"two")
    assert ada.serialise() == before
    assert first.state != before
    message = ada.adopt(first)
    assert ada.serialise() == first.state
    with pytest.raises(StaleStep):
        ada.adopt(second)
    world.deliver("ada", message)


def test_a_commit_survives_a_restart_and_is_sent_again() -> None:
    world = World()
    ada = world.create()
    world.admit("ada", "bruno")
    step = ada.commit(now=NOW)
    restarted = world.clients["ada"].restore(step.state)
    sent = restarted.outstanding
    assert sent is not None
    with pytest.raises(PendingCommit):
        restarted.commit(now=NOW)
    world.groups["ada"] = restarted
    world.deliver("ada", sent.commit)
    committed = restarted.adopt(restarted.merge())
    assert (committed.epoch, committed.sender.leaf_index) == (2, 0)
    assert restarted.outstanding is None
    world.check_agreement()


def test_who_loses_the_race_for_an_epoch_follows_the_winner() -> None:
    world = World()
    ada = world.create()
    world.admit("ada", "bruno", "carla")
    ada.adopt(ada.commit(now=NOW))
    world.commit("bruno")  # reaches ada too, who drops her own
    assert ada.outstanding is None
    world.check_agreement()
    ada.adopt(ada.commit(now=NOW))
    ada.adopt(ada.discard())
    world.commit("ada")
    world.check_agreement()


def test_messages_of_the_two_epochs_before_are_opened_and_of_older_ones_not() -> None:
    world = World()
    ada = world.create()
    world.admit("ada", "bruno")
    bruno = world.groups["bruno"]
    late = [ada.adopt(ada.seal(b"%d" % number)) for number in range(3)]
    world.commit("ada")
    world.commit("bruno")
    world.restart("bruno")
    bruno = world.groups["bruno"]
    received = bruno.adopt(bruno.receive(late[1]))
    assert isinstance(received, Application)
    assert (received.plaintext, received.epoch) == (b"1", 1)
    assert isinstance(bruno.adopt(bruno.receive(late[0])), Application)
    world.commit("ada")
    with pytest.raises(WrongEpoch):
        bruno.receive(late[2])


def test_messages_opened_while_a_commit_was_outstanding_stay_used() -> None:
    world = World()
    ada = world.create()
    world.admit("ada", "bruno")
    bruno = world.groups["bruno"]
    sent = ada.adopt(ada.commit(now=NOW))
    message = bruno.adopt(bruno.seal(b"meanwhile"))
    ada.adopt(ada.receive(message))
    bruno.adopt(bruno.receive(sent.commit))
    ada.adopt(ada.merge())
    with pytest.raises(KeyAlreadyUsed):
        ada.receive(message)
    later = ada.adopt(ada.seal(b"after"))
    bruno.adopt(bruno.receive(later))


def test_proposals_by_reference_and_the_removal_wins() -> None:
    world = World()
    ada = world.create()
    world.admit("ada", "bruno", "carla", "dora")
    bruno, carla = world.groups["bruno"], world.groups["carla"]
    world.deliver("bruno", bruno.adopt(bruno.propose_update()))
    proposed = world.deliver("carla", carla.adopt(carla.propose_update(public=True)))["ada"]
    assert isinstance(proposed, Proposed)
    assert proposed.reference in ada.waiting
    world.deliver("carla", carla.adopt(carla.propose(Remove(bruno.own_leaf), now=NOW)))
    with pytest.raises(PendingCommit):
        ada.seal(b"too early")
    world.commit("dora")
    assert bruno.status is Status.REMOVED
    world.check_agreement()
    assert not ada.waiting
    world.deliver("carla", carla.adopt(carla.seal(b"with the renewed leaf")))


def test_external_and_resumption_keys() -> None:
    world = World()
    ada = world.create()
    world.admit("ada", "bruno")
    world.commit("bruno")
    held = PreSharedKeys({b"courier": b"brought by hand"})
    world.commit("ada", ada.psk(b"courier"), ada.resumption_psk(1), psks=held)
    world.check_agreement()
    sent = ada.adopt(ada.commit(ada.psk(b"courier"), now=NOW, psks=held))
    with pytest.raises(UnknownPsk):
        world.groups["bruno"].receive(sent.commit)
    ada.adopt(ada.discard())
    with pytest.raises(UnknownPsk):
        ada.commit(ada.psk(b"courier"), now=NOW)


def test_join_by_a_commit_of_ones_own_and_after_loss_of_the_state() -> None:
    world = World()
    ada = world.create()
    world.admit("ada", "bruno")
    carla = world.client("carla")
    world.groups["carla"], sent = carla.join_externally(ada.group_info(), NOW)
    world.deliver("carla", sent.commit)
    world.check_agreement()
    bruno = world.clients["bruno"]
    lost = world.groups["bruno"]
    again, sent = bruno.join_externally(ada.group_info(tree=False), NOW, tree=ada.ratchet_tree(), replaces=lost.own_leaf)
    committed = lost.adopt(lost.receive(sent.commit))
    assert isinstance(committed, Committed)
    assert committed.status is Status.REMOVED
    del world.groups["bruno"]
    received = world.deliver("bruno", sent.commit)["ada"]
    assert isinstance(received, Committed)
    assert [member.credential.content for member in received.added] == [b"bruno"]
    world.groups["bruno"] = again
    world.check_agreement()
    world.deliver("bruno", again.adopt(again.seal(b"back")))


def test_a_group_moves_to_another_suite() -> None:
    """RFC 9420 §11.2: re-initialisation, and the successor is bound to the old group by its resumption key."""
    world = World("reinit", X25519_AES128GCM_SHA256)
    ada = world.create()
    world.admit("ada", "bruno")
    bruno = world.groups["bruno"]
    world.groups.pop("bruno")
    sent = ada.adopt(ada.commit(ReInit(b"\x08" * 16, XWING_AES256GCM_SHA384.number), now=NOW))
    ada.adopt(ada.merge())
    bruno.adopt(bruno.receive(sent.commit))
    assert bruno.status is ada.status is Status.REINITIALISED
    assert bruno.successor == ada.successor
    with pytest.raises(NotActive):
        ada.seal(b"over")
    new_world = World("successor", XWING_AES256GCM_SHA384)
    successor = new_world.client("ada").create(b"\x08" * 16, NOW)
    package = new_world.package("bruno")
    psk = successor.resumption_psk(ada.epoch, usage=USAGE_REINIT, group_id=GROUP_ID)
    sent = successor.adopt(successor.commit(Add(parse_key_package(package.message)), psk, now=NOW, psks=ada.resumption_keys()))
    assert sent.welcome is not None
    with pytest.raises(UnknownPsk):
        new_world.clients["bruno"].join(sent.welcome, [package])
    joined, _ = new_world.clients["bruno"].join(sent.welcome, [package], psks=bruno.resumption_keys())
    successor.adopt(successor.merge())
    assert joined.epoch_authenticator == successor.epoch_authenticator


def test_group_context_extensions_bind_everybody() -> None:
    world = World()
    world.create()
    world.admit("ada", "bruno")
    required = Extension(REQUIRED_CAPABILITIES, RequiredCapabilities(credentials=(1,)).encode())
    world.commit("ada", GroupContextExtensions((required,)))
    world.check_agreement()
    assert world.groups["bruno"].extensions == (required,)
    world.admit("bruno", "carla")
    world.check_agreement()


def test_key_packages_are_stored_and_read_back() -> None:
    package = World().package("ada")
    assert OwnKeyPackage.restore(package.serialise()) == package


def test_secrets_do_not_show() -> None:
    world = World()
    ada = world.create()
    world.admit("ada", "bruno")
    step = ada.seal(b"attack at dawn")
    shown = repr(ada._state) + repr(step) + repr(world.package("bruno")) + repr(ada.resumption_keys())
    assert ada._state.secrets.exporter.hex() not in shown
    assert repr(ada._state.secrets.exporter)[2:-1] not in shown
    assert "dawn" not in shown


NAMES = [f"member {number}" for number in range(12)]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), moves=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2**16), st.integers(0, 2**16)), max_size=25))
def test_whatever_happens_everybody_agrees(seed: int, moves: list[tuple[int, int, int]]) -> None:
    world = World(str(seed))
    world.create(NAMES[0])
    for kind, a, b in moves:
        inside = list(world.groups)
        outside = [name for name in NAMES if name not in world.groups]
        actor, other = inside[a % len(inside)], inside[b % len(inside)]
        group = world.groups[actor]
        if kind <= 1 and outside:
            world.admit(actor, *outside[: 1 + b % 3], tree=bool(kind), renew=bool(b % 2))
        elif kind == 2 and other != actor:
            world.commit(actor, Remove(world.leaf(other)), public=bool(a % 2))
        elif kind == 3 and outside:
            world.groups[outside[0]], sent = (world.clients.get(outside[0]) or world.client(outside[0])).join_externally(
                group.group_info(), NOW
            )
            world.deliver(outside[0], sent.commit)
        elif kind == 4:
            world.commit(actor)
        elif kind == 5 and other != actor:
            world.deliver(actor, group.adopt(group.propose_update(public=bool(a % 2))))
            world.commit(other)
        elif kind == 6:
            world.deliver(actor, group.adopt(group.seal(b"text")))
        else:
            world.restart(actor)
        world.check_agreement()
