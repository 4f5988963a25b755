"""Vectors of the MLS working group (README.md beside this file says which, and which are missing)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tramontana.keys.identity import DeviceKey
from tramontana.keys.mls import key_schedule, tree_math
from tramontana.keys.mls.codec import parse_whole, uint
from tramontana.keys.mls.messages import GroupContext, PskId
from tramontana.keys.mls.suites import SUITES

VECTORS: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "vectors.json").read_text())
h = bytes.fromhex


@pytest.mark.parametrize("vector", VECTORS["crypto_basics"], ids=lambda vector: str(vector["cipher_suite"]))
def test_crypto_basics(vector: dict[str, Any]) -> None:
    suite = SUITES[vector["cipher_suite"]]
    expand = vector["expand_with_label"]
    assert suite.expand_with_label(h(expand["secret"]), expand["label"], h(expand["context"]), expand["length"]) == h(expand["out"])
    derive = vector["derive_secret"]
    assert suite.derive_secret(h(derive["secret"]), derive["label"]) == h(derive["out"])
    tree = vector["derive_tree_secret"]
    assert suite.expand_with_label(h(tree["secret"]), tree["label"], uint(tree["generation"], 4), tree["length"]) == h(tree["out"])
    sign = vector["sign_with_label"]
    suite.verify_with_label(h(sign["pub"]), sign["label"], h(sign["content"]), h(sign["signature"]))
    signer = DeviceKey(Ed25519PrivateKey.from_private_bytes(h(sign["priv"])))
    assert signer.public_bytes == h(sign["pub"])
    assert suite.sign_with_label(signer, sign["label"], h(sign["content"])) == h(sign["signature"])
    sealed = vector["encrypt_with_label"]
    opened = suite.decrypt_with_label(
        h(sealed["priv"]), sealed["label"], h(sealed["context"]), h(sealed["kem_output"]), h(sealed["ciphertext"])
    )
    assert opened == h(sealed["plaintext"])
    again = suite.encrypt_with_label(h(sealed["pub"]), sealed["label"], h(sealed["context"]), opened)
    assert suite.decrypt_with_label(h(sealed["priv"]), sealed["label"], h(sealed["context"]), *again) == opened


@pytest.mark.parametrize("vector", VECTORS["key_schedule"], ids=lambda vector: str(vector["cipher_suite"]))
def test_key_schedule(vector: dict[str, Any]) -> None:
    suite, init_secret = SUITES[vector["cipher_suite"]], h(vector["initial_init_secret"])
    for epoch in vector["epochs"]:
        context = parse_whole(h(epoch["group_context"]), GroupContext.parse)
        assert context.encode() == h(epoch["group_context"])
        joined = key_schedule.next_epoch(suite, init_secret, h(epoch["commit_secret"]), h(epoch["psk_secret"]), context)
        secrets = key_schedule.EpochSecrets.of(suite, joined.epoch_secret)
        found = {
            "joiner_secret": joined.joiner_secret,
            "welcome_secret": joined.welcome_secret,
            "init_secret": secrets.init,
            "sender_data_secret": secrets.sender_data,
            "encryption_secret": secrets.encryption,
            "exporter_secret": secrets.exporter,
            "epoch_authenticator": secrets.authenticator,
            "external_secret": secrets.external,
            "confirmation_key": secrets.confirmation,
            "membership_key": secrets.membership,
            "resumption_psk": secrets.resumption,
            "external_pub": suite.kem.derive_key_pair(secrets.external)[1],
        }
        assert {name: value.hex() for name, value in found.items()} == {name: epoch[name] for name in found}
        assert key_schedule.welcome_secret_of(suite, joined.joiner_secret, h(epoch["psk_secret"])) == joined.welcome_secret
        init_secret = secrets.init


@pytest.mark.parametrize("vector", VECTORS["psk_secret"], ids=lambda vector: str(len(vector["psks"])))
def test_psk_secret(vector: dict[str, Any]) -> None:
    psks = [(PskId(h(psk["psk_nonce"]), h(psk["psk_id"])), h(psk["psk"])) for psk in vector["psks"]]
    assert key_schedule.psk_secret(SUITES[vector["cipher_suite"]], psks) == h(vector["psk_secret"])


def _tree(low: int, high: int, parent: int | None, relations: dict[int, tuple[int | None, int | None, int | None]]) -> int:
    """The definition of RFC 9420 §4.1 by recursion: nodes low..high in order, the middle one is the root."""
    middle = (low + high) // 2
    if low == high:
        relations[middle] = (None, None, parent)
    else:
        relations[middle] = (_tree(low, middle - 1, middle, relations), _tree(middle + 1, high, middle, relations), parent)
    return middle


@pytest.mark.parametrize("leaves", [1 << height for height in range(10)])
def test_tree_math(leaves: int) -> None:
    """All that the working group's tree-math vectors hold, for the same ten sizes, from the definition instead of their file."""
    relations: dict[int, tuple[int | None, int | None, int | None]] = {}
    assert tree_math.root(leaves) == _tree(0, 2 * leaves - 2, None, relations)
    assert tree_math.node_width(leaves) == len(relations)
    for node, (left, right, parent) in relations.items():
        if left is None or right is None:
            with pytest.raises(ValueError, match="no children"):
                tree_math.left(node)
            with pytest.raises(ValueError, match="no children"):
                tree_math.right(node)
        else:
            assert (tree_math.left(node), tree_math.right(node)) == (left, right)
        if parent is None:
            with pytest.raises(ValueError, match="no parent"):
                tree_math.parent(node, leaves)
        else:
            assert tree_math.parent(node, leaves) == parent
            siblings = relations[parent][:2]
            assert tree_math.sibling(node, leaves) == next(other for other in siblings if other != node)
            assert tree_math.direct_path(node, leaves) == [parent, *tree_math.direct_path(parent, leaves)]
    for a in range(min(leaves, 16)):
        for b in range(a):
            path = tree_math.direct_path(2 * a, leaves)
            assert tree_math.common_ancestor(a, b) == next(node for node in path if tree_math.covers(node, b))
