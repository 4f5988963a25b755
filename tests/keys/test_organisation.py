"""Root, profiles, the sealed key: what is accepted and, by name, what is not."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from base64 import b32encode
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.keys.organisations import NOW, Organisation
from tramontana.errors import LocalError
from tramontana.keys.identity import encode_statement
from tramontana.keys.organisation import (
    KeyFileDamaged,
    OrganisationKey,
    SignedStatement,
    WrongPassphrase,
    device_code,
    parse_fingerprint,
    sealed_part,
    verify_root,
)
from tramontana.keys.profiles import PROFILES
from tramontana.keys.refused import REASONS, Reason, Refused


@pytest.fixture(scope="module")
def key() -> OrganisationKey:
    return OrganisationKey.generate("Ministry", "hybrid-1", now=NOW)


def reason(error: pytest.ExceptionInfo[Refused]) -> str:
    assert error.value.reason in REASONS == set(get_args(Reason))
    return error.value.reason


@pytest.mark.parametrize("name", PROFILES)
def test_a_root_says_its_profile_and_keeps_to_it(name: str) -> None:
    made = OrganisationKey.generate("Ministry", name, now=NOW)
    root = verify_root(made.root.encoded, made.root.fingerprint)
    assert (root.name, root.profile.name, root.created_at) == ("Ministry", name, NOW)
    assert len(root.ml_dsa_public_key) == PROFILES[name].public_key_bytes
    assert root.organisation_id == root.fingerprint.hex()[:32]
    assert parse_fingerprint(root.fingerprint_text) == root.fingerprint
    signed = SignedStatement.parse(made.sign(encode_statement("test", (b"x",))))
    assert len(signed.ml_dsa_signature) == PROFILES[name].signature_bytes
    root.verify(signed)
    assert PROFILES[name].lacks


def test_another_root_than_the_pinned_one_is_refused(key: OrganisationKey) -> None:
    other = OrganisationKey.generate("Ministry", "hybrid-1", now=NOW)
    with pytest.raises(Refused) as error:
        verify_root(other.root.encoded, key.root.fingerprint)
    assert reason(error) == "wrong_organisation"


def test_a_profile_cannot_be_talked_down(key: OrganisationKey) -> None:
    strong = OrganisationKey.generate("Ministry", "cnsa-2.0-like-1", now=NOW)
    signed = SignedStatement.parse(strong.root.encoded)
    for old, new, expected in (
        (b"cnsa-2.0-like-1", b"hybrid-1", "wrong_algorithm"),  # the keys are not those of that profile
        (b"cnsa-2.0-like-1", b"own-1", "unknown_profile"),
        (b"cnsa-2.0-like-1", b"bsi-anssi-like-1", "forged"),  # the same algorithms: the signatures cover the name
    ):
        statement = signed.statement.replace(len(old).to_bytes(2, "big") + old, len(new).to_bytes(2, "big") + new)
        changed = SignedStatement(statement, signed.ed25519_signature, signed.ml_dsa_signature).encode()
        with pytest.raises(Refused) as error:
            verify_root(changed)
        assert reason(error) == expected
        with pytest.raises(Refused) as error:
            verify_root(changed, strong.root.fingerprint)
        assert reason(error) == "wrong_organisation"
    weaker = SignedStatement.parse(key.sign(encode_statement("test", (b"x",))))
    with pytest.raises(Refused) as error:
        strong.root.verify(weaker)
    assert reason(error) == "wrong_algorithm"


@pytest.mark.parametrize("which", ["ed25519_signature", "ml_dsa_signature"])
def test_both_signatures_must_verify(key: OrganisationKey, which: str) -> None:
    signed = SignedStatement.parse(key.sign(encode_statement("test", (b"x",))))
    other = SignedStatement.parse(OrganisationKey.generate("Eve", "hybrid-1", now=NOW).sign(signed.statement))
    parts = {"ed25519_signature": signed.ed25519_signature, "ml_dsa_signature": signed.ml_dsa_signature}
    half = SignedStatement(signed.statement, **(parts | {which: getattr(other, which)}))
    with pytest.raises(Refused) as error:
        key.root.verify(half)
    assert reason(error) == "forged"


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_changed_byte_anywhere_is_refused(key: OrganisationKey, data: st.DataObject) -> None:
    encoded = bytearray(key.root.encoded)
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Refused):
        verify_root(bytes(encoded))
    with pytest.raises(Refused):
        verify_root(key.root.encoded[:at])
    with pytest.raises(Refused):
        verify_root(key.root.encoded + b"\0")


def test_the_sealed_key_opens_with_its_passphrase_only(key: OrganisationKey) -> None:
    sealed = key.seal("correct horse")
    opened = OrganisationKey.open(sealed, "correct horse")
    assert opened.root == key.root
    assert sealed_part(sealed, "public") == key.root.encoded
    for wrong in ("correct hors", "", "Correct horse"):
        with pytest.raises(WrongPassphrase):
            OrganisationKey.open(sealed, wrong)
    swapped = json.loads(sealed) | {"public": json.loads(OrganisationKey.generate("Eve", "hybrid-1", now=NOW).seal("x"))["public"]}
    with pytest.raises(WrongPassphrase):
        OrganisationKey.open(json.dumps(swapped).encode(), "correct horse")
    for damaged in (b"", b"{}", sealed[:100], sealed.replace(b"tramontana sealed key 1", b"another format")):
        with pytest.raises(KeyFileDamaged):
            OrganisationKey.open(damaged, "correct horse")


def test_a_key_shows_and_pickles_nothing(key: OrganisationKey) -> None:
    assert repr(key) == f"OrganisationKey('Ministry', {key.root.organisation_id})"
    for copying in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            copying(key)


def test_a_device_code_depends_on_key_and_organisation(key: OrganisationKey) -> None:
    code = device_code(key.root.fingerprint, bytes(range(32)))
    assert len(code.replace(" ", "")) == 16
    assert code != device_code(key.root.fingerprint, bytes(32))
    assert code != device_code(bytes(32), bytes(range(32)))
    by_hand = b"tramontana device code 1\0" + (b"\0\x20" + bytes(32)) * 2
    assert device_code(bytes(32), bytes(32)).replace(" ", "") == b32encode(hashlib.sha256(by_hand).digest())[:16].decode()


@pytest.mark.parametrize("wrong", ["", "A" * 42, "A" * 44, "A" * 42 + "B", "ä" * 43])
def test_a_fingerprint_has_one_spelling(wrong: str) -> None:
    with pytest.raises(LocalError, match="43 characters"):
        parse_fingerprint(wrong)


def test_an_organisation_of_a_test_is_whole() -> None:
    assert len(Organisation.make().founding()) == 4
