"""Sealed texts: sizes, replay, loss and disorder, epochs, forgery; a second implementation in another language; keys of real MLS groups."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keys.mls.world import World
from tests.vectors.sealed_text import regenerate
from tramontana.cell.small_text import decode_text, encode_text
from tramontana.keys.mls.messages import Remove
from tramontana.keys.sealed_text import (
    EPOCH_KEPT_S,
    EXPORT_BYTES,
    LABEL,
    MOST_BYTES,
    MOST_COUNTER,
    MOST_PLAINTEXT_BYTES,
    WINDOW,
    CannotSeal,
    DirectionKey,
    Gone,
    NotYet,
    Refused,
    SealedTexts,
    Seen,
    export_context,
)


def secret(epoch: int, direction: int) -> bytes:
    return random.Random(f"{epoch} {direction}").randbytes(EXPORT_BYTES)


def join(ends: tuple[SealedTexts, SealedTexts], epoch: int, now: float = 0.0) -> None:
    ends[0].add_epoch(epoch, secret(epoch, 0), secret(epoch, 1), now)
    ends[1].add_epoch(epoch, secret(epoch, 1), secret(epoch, 0), now)


def pair() -> tuple[SealedTexts, SealedTexts]:
    ends = SealedTexts(), SealedTexts()
    join(ends, 1)
    return ends


def test_one_short_message_has_117_octets_of_plaintext() -> None:
    ada, bea = pair()
    assert MOST_PLAINTEXT_BYTES == 117
    datagram = ada.seal(bytes(117), 0.0)
    assert len(datagram) == MOST_BYTES == 140
    assert bea.open(datagram, 0.0).plaintext == bytes(117)
    with pytest.raises(CannotSeal, match="117 octets at most"):
        ada.seal(bytes(118), 0.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=117), min_size=1, max_size=30), st.randoms(), st.floats(0, 0.9))
def test_loss_disorder_and_repetition(texts: list[bytes], chance: random.Random, loss: float) -> None:
    ada, bea = pair()
    sent = [ada.seal(text, 0.0) for text in texts]
    assert len(set(sent)) == len(sent)  # the same text twice looks different
    way = [number for number in range(len(sent)) for _ in range(2) if chance.random() > loss]
    chance.shuffle(way)
    got: list[int] = []
    for number in way:
        if number in got:
            with pytest.raises(Refused, match="seen before"):
                bea.open(sent[number], 0.0)
        else:
            assert bea.open(sent[number], 0.0).plaintext == texts[number]
            got.append(number)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=117), st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_datagram_is_refused_and_moves_nothing(text: bytes, at: int, change: int) -> None:
    ada, bea = pair()
    datagram = ada.seal(text, 0.0)
    forged = bytearray(datagram)
    forged[at % len(forged)] ^= change
    before = bea.records()
    with pytest.raises((Refused, NotYet)):
        bea.open(bytes(forged), 0.0)
    assert bea.records() == before
    assert bea.open(datagram, 0.0).plaintext == text


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_are_refused_or_held(octets: bytes) -> None:
    _, bea = pair()
    with pytest.raises((Refused, NotYet)):
        bea.open(octets, 0.0)


def test_ones_own_texts_do_not_open_at_oneself() -> None:
    ada, _ = pair()
    with pytest.raises(NotYet):
        ada.open(ada.seal(b"x", 0.0), 0.0)


def test_what_is_behind_the_window_is_refused() -> None:
    ada, bea = pair()
    sent = [ada.seal(b"x", 0.0) for _ in range(WINDOW + 2)]
    bea.open(sent[-1], 0.0)
    with pytest.raises(Refused, match="too old"):
        bea.open(sent[0], 0.0)
    assert bea.open(sent[2], 0.0).counter == 2


def test_a_new_epoch_is_used_when_the_other_was_heard_in_it() -> None:
    ada, bea = pair()
    ada.add_epoch(2, secret(2, 0), secret(2, 1), 100.0)
    late = ada.seal(b"still the old key", 101.0)
    assert bea.open(late, 101.0).epoch == 1  # Bea has not had the commit, and can read
    bea.add_epoch(2, secret(2, 1), secret(2, 0), 200.0)
    bea.confirm(2)
    assert ada.open(bea.seal(b"here", 201.0), 201.0).epoch == 2
    assert bea.open(ada.seal(b"now the new one", 202.0), 202.0).epoch == 2


def test_a_text_of_an_epoch_that_is_not_here_yet_opens_later() -> None:
    ada, bea = pair()
    ada.add_epoch(2, secret(2, 0), secret(2, 1), 100.0)
    ada.confirm(2)
    early = ada.seal(b"early", 101.0)
    with pytest.raises(NotYet):
        bea.open(early, 102.0)
    bea.add_epoch(2, secret(2, 1), secret(2, 0), 103.0)
    assert bea.open(early, 103.0).plaintext == b"early"
    with pytest.raises(Seen):
        bea.open(early, 104.0)


def test_whoever_was_taken_out_has_no_key_that_anything_is_sealed_or_opened_with() -> None:
    ends = ada, bea = pair()
    late = ada.seal(b"late", 0.0)
    join(ends, 2, 1.0)
    for each in ends:
        each.forget_before(2)
    with pytest.raises(Gone, match="epoch 1"):
        bea.open(late, 2.0)
    assert ada.seal(b"x", 2.0)[:2] == secret(2, 0)[44:]
    assert ada.epochs == [2]


def test_old_epochs_are_forgotten_three_days_after_their_end() -> None:
    ends = ada, bea = pair()
    slow = ada.seal(b"slow", 0.0)
    slower = ada.seal(b"slower", 0.0)
    join(ends, 2, 1000.0)
    bea.confirm(2)
    assert bea.open(slow, 1000.0 + EPOCH_KEPT_S).plaintext == b"slow"
    with pytest.raises(Gone, match="write it again"):
        bea.open(slower, 1001.0 + EPOCH_KEPT_S)
    assert [each.epoch for each in bea.records()] == [2]
    assert ada.seal(b"x", 1001.0 + EPOCH_KEPT_S)[:2] == secret(2, 0)[44:]  # nobody waits for ever


def test_a_restart_repeats_no_counter_and_accepts_no_repetition() -> None:
    ada, bea = pair()
    first = ada.seal(b"one", 0.0)
    bea.open(first, 0.0)
    again, there = SealedTexts(), SealedTexts()
    again.add_epoch(1, secret(1, 0), secret(1, 1), 1.0, ada.records()[0])
    there.add_epoch(1, secret(1, 1), secret(1, 0), 1.0, bea.records()[0])
    assert there.open(again.seal(b"two", 1.0), 1.0).counter == 1
    with pytest.raises(Refused):
        there.open(first, 1.0)


def test_a_key_that_is_used_up_says_so() -> None:
    ada, _ = pair()
    record = ada.records()[0]
    full = SealedTexts()
    full.add_epoch(1, secret(1, 0), secret(1, 1), 0.0, type(record)(1, 0.0, MOST_COUNTER + 1, -1, 0))
    with pytest.raises(CannotSeal, match="new epoch"):
        full.seal(b"x", 0.0)
    with pytest.raises(CannotSeal, match="no key yet"):
        SealedTexts().seal(b"x", 0.0)


def test_keys_are_not_shown() -> None:
    assert secret(1, 0)[:32].hex() not in repr(DirectionKey(1, secret(1, 0)))
    with pytest.raises(ValueError, match="different"):
        export_context(bytes(16), bytes(16))


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text("abcdefg èé€@[]", max_size=140)))
def test_any_text_comes_back(text: str) -> None:
    try:
        plaintext = encode_text(text)
    except CannotSeal:
        assert len(text.encode()) > 110 or len(text) > 60
        return
    assert len(plaintext) <= MOST_PLAINTEXT_BYTES
    assert decode_text(plaintext) == text


def test_132_characters_of_the_gsm_alphabet_fit() -> None:
    assert decode_text(encode_text("a" * 132)) == "a" * 132
    with pytest.raises(CannotSeal):
        encode_text("a" * 133)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=117))
def test_any_plaintext_is_a_text_or_refused(plaintext: bytes) -> None:
    try:
        assert isinstance(decode_text(plaintext), str)
    except Refused:
        return


def test_a_second_implementation_seals_and_opens_the_same_octets() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is missing")
    cases = []
    for number, counter in enumerate([0, 1, 255, 256, 2**32, MOST_COUNTER]):
        exported, plaintext = secret(number, 0), bytes(range(number * 20))
        sealed = DirectionKey(0, exported).seal(counter, plaintext)
        cases.append({"exported": exported.hex(), "counter": counter, "plaintext": plaintext.hex(), "datagram": sealed.hex()})
    script = Path(__file__).with_name("sealed_text.mjs")
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    answer = subprocess.run(["node", script], input=lines, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert [json.loads(line) for line in answer] == [{"sealed": case["datagram"], "opened": case["plaintext"]} for case in cases]


def test_keys_of_a_real_conversation_and_of_whoever_was_removed() -> None:
    world = World("sealed")
    world.create()
    world.admit("ada", "bruno", "carla")
    ids = {name: name.encode().ljust(16, b"\0") for name in ("ada", "bruno", "carla")}
    ends = {name: SealedTexts() for name in ids}

    def reach(name: str, me: str, other: str) -> None:
        group = world.groups[name]
        sending, receiving = export_context(ids[me], ids[other]), export_context(ids[other], ids[me])
        keys = [group.export(LABEL, context, EXPORT_BYTES) for context in (sending, receiving)]
        ends[name].add_epoch(group.epoch, keys[0], keys[1], 0.0)

    for name, other in (("ada", "bruno"), ("bruno", "ada")):
        reach(name, name, other)
    reach("carla", "bruno", "ada")  # she was in the conversation: she can make the keys of this epoch
    first = ends["ada"].seal(encode_text("Il varco nord è aperto."), 0.0)
    assert decode_text(ends["bruno"].open(first, 0.0).plaintext) == "Il varco nord è aperto."
    world.commit("ada", Remove(world.groups["carla"].own_leaf))
    for name, other in (("ada", "bruno"), ("bruno", "ada")):
        reach(name, name, other)
        ends[name].confirm(world.groups[name].epoch)
    second = ends["ada"].seal(b"\0only us", 1.0)
    assert decode_text(ends["bruno"].open(second, 1.0).plaintext) == "only us"
    with pytest.raises(NotYet):
        ends["carla"].open(second, 1.0)


def test_the_vectors_for_other_implementations_are_what_this_one_does() -> None:
    assert json.loads(regenerate.FILE.read_text("utf-8")) == json.loads(json.dumps(regenerate.vectors()))
    for each in regenerate.datagrams():  # made from the definition alone
        key = DirectionKey(1, bytes.fromhex(each["exported"]))
        assert key.seal(each["counter"], bytes.fromhex(each["plaintext"])).hex() == each["datagram"]
