"""Vectors of the MLS working group (README.md beside this file says which, and which are missing)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tramontana.keys.identity import DeviceKey
from tramontana.keys.mls import key_schedule, tree_kem, tree_math
from tramontana.keys.mls.client import Client, OwnKeyPackage
from tramontana.keys.mls.codec import Reader, parse_whole, uint
from tramontana.keys.mls.codec import vector as opaque
from tramontana.keys.mls.errors import FramingError
from tramontana.keys.mls.framing import WireFormat
from tramontana.keys.mls.key_schedule import PreSharedKeys
from tramontana.keys.mls.messages import (
    Add,
    Body,
    Commit,
    ExternalInit,
    FramedContent,
    GroupContext,
    GroupContextExtensions,
    GroupInfo,
    GroupSecrets,
    MlsMessage,
    PreSharedKey,
    PrivateMessage,
    Proposal,
    PskId,
    PublicMessage,
    ReInit,
    Remove,
    Sender,
    SenderType,
    UnverifiedContent,
    Update,
    VerifiedContent,
    Welcome,
    encode_body,
    encode_message,
    parse_message,
    parse_proposal,
    sign_content,
)
from tramontana.keys.mls.nodes import Credential, KeyPackage
from tramontana.keys.mls.protection import open_private, open_public, open_sender_data, seal_private, seal_public, sender_data_key
from tramontana.keys.mls.ratchet_tree import RatchetTree
from tramontana.keys.mls.secret_tree import APPLICATION, HANDSHAKE, SecretTree
from tramontana.keys.mls.suites import SUITES

HERE = Path(__file__).parent
h = bytes.fromhex


class Everybody:
    """The vectors' credentials are nobody's whom an organisation certified."""

    def accepts(self, credential: Credential, signature_key: bytes, replaces: Credential | None) -> bool:
        return True


def entries(*names: str) -> pytest.MarkDecorator:
    """The entries of the working group's files, each a test of its own."""
    read = [(name, at, entry) for name in names for at, entry in enumerate(json.loads((HERE / f"{name}.json").read_text()))]
    return pytest.mark.parametrize("vector", [entry for *_, entry in read], ids=[f"{name}-{at}" for name, at, _ in read])


@entries("crypto-basics")
def test_crypto_basics(vector: dict[str, Any]) -> None:
    suite = SUITES[vector["cipher_suite"]]
    expand = vector["expand_with_label"]
    assert suite.expand_with_label(h(expand["secret"]), expand["label"], h(expand["context"]), expand["length"]) == h(expand["out"])
    reference = vector["ref_hash"]
    assert suite.hash(opaque(reference["label"].encode()) + opaque(h(reference["value"]))) == h(reference["out"])
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


@entries("key-schedule")
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


@entries("psk_secret")
def test_psk_secret(vector: dict[str, Any]) -> None:
    psks = [(PskId(h(psk["psk_nonce"]), h(psk["psk_id"])), h(psk["psk"])) for psk in vector["psks"]]
    assert key_schedule.psk_secret(SUITES[vector["cipher_suite"]], psks) == h(vector["psk_secret"])


@entries("deserialization")
def test_deserialization(vector: dict[str, Any]) -> None:
    """Both ways; of the longest (2³⁰-1) the head alone, as it is read."""
    head, length = h(vector["vlbytes_header"]), vector["length"]
    if length < 1 << 20:
        assert len(Reader(head + bytes(length)).vector()) == length
        assert opaque(bytes(length)) == head + bytes(length)
    else:
        with pytest.raises(FramingError, match=f"{length} bytes too early"):
            Reader(head).vector()


@entries("secret-tree")
def test_secret_tree(vector: dict[str, Any]) -> None:
    suite, tree = SUITES[vector["cipher_suite"]], SecretTree.of(vector["n_leaves"], h(vector["encryption_secret"]))
    assert len(vector["leaves"]) == vector["n_leaves"]
    for leaf, expected in enumerate(vector["leaves"]):
        for kind, name in ((APPLICATION, "application"), (HANDSHAKE, "handshake")):
            found, tree = tree.take(suite, leaf, kind, expected["generation"])
            assert (found.key.hex(), found.nonce.hex()) == (expected[f"{name}_key"], expected[f"{name}_nonce"])
    sender = vector["sender_data"]
    key, nonce = sender_data_key(suite, h(sender["sender_data_secret"]), h(sender["ciphertext"]))
    assert (key.hex(), nonce.hex()) == (sender["key"], sender["nonce"])


@entries("message-protection")
def test_message_protection(vector: dict[str, Any]) -> None:
    """Their messages open and verify, and ours, sealed with the same keys, do too. The sender is leaf 1 of a group of two."""
    suite, signature_key = SUITES[vector["cipher_suite"]], h(vector["signature_pub"])
    signer = DeviceKey(Ed25519PrivateKey.from_private_bytes(h(vector["signature_priv"])))
    assert signer.public_bytes == signature_key
    context = GroupContext(
        suite.number, h(vector["group_id"]), vector["epoch"], h(vector["tree_hash"]), h(vector["confirmed_transcript_hash"])
    )
    membership_key, sender_data_secret = h(vector["membership_key"]), h(vector["sender_data_secret"])

    def opened(message: bytes) -> tuple[bytes, bytes | None, Body]:
        parsed = parse_message(message)
        if isinstance(parsed, PublicMessage):
            content = open_public(suite, membership_key, parsed, context)
        else:
            assert isinstance(parsed, PrivateMessage)
            tree = SecretTree.of(2, h(vector["encryption_secret"]))
            content, _ = open_private(suite, tree, parsed, open_sender_data(suite, sender_data_secret, parsed))
        verified = content.verify(suite, signature_key, context)
        assert verified.content.sender == Sender(SenderType.MEMBER, 1)
        return encode_body(verified.content.body), verified.confirmation_tag, verified.content.body

    for name in ("proposal", "commit", "application"):
        expected = opaque(h(vector[name])) if name == "application" else h(vector[name])
        theirs = [vector[f"{name}_{how}"] for how in ("priv", "pub") if f"{name}_{how}" in vector]
        assert len(theirs) == (1 if name == "application" else 2)
        for message in theirs:
            found = opened(h(message))
            assert found[0] == expected
            assert (found[1] is not None) == (name == "commit")
        tag = found[1]
        framed = FramedContent(context.group_id, context.epoch, Sender(SenderType.MEMBER, 1), b"", found[2])
        signed = sign_content(suite, signer, framed, WireFormat.PRIVATE_MESSAGE, context)
        signed = UnverifiedContent(signed.wire_format, signed.content, signed.signature, tag)
        sealed, _ = seal_private(suite, sender_data_secret, SecretTree.of(2, h(vector["encryption_secret"])), signed, os.urandom)
        assert opened(encode_message(sealed))[:2] == (expected, tag)
        if name != "application":
            signed = sign_content(suite, signer, framed, WireFormat.PUBLIC_MESSAGE, context)
            signed = UnverifiedContent(signed.wire_format, signed.content, signed.signature, tag)
            assert opened(encode_message(seal_public(suite, membership_key, signed, context)))[:2] == (expected, tag)


@entries("transcript-hashes")
def test_transcript_hashes(vector: dict[str, Any]) -> None:
    suite, reader = SUITES[vector["cipher_suite"]], Reader(h(vector["authenticated_content"]))
    wire_format, content = WireFormat(reader.uint(2)), FramedContent.parse(reader)
    commit = UnverifiedContent(wire_format, content, reader.vector(), reader.vector())
    reader.end()
    assert commit.encode() == h(vector["authenticated_content"])
    signed = VerifiedContent(commit.wire_format, commit.content, commit.signature, commit.confirmation_tag)  # nothing says by whom
    before = h(vector["interim_transcript_hash_before"])
    confirmed = key_schedule.confirmed_transcript_hash(suite, before, signed.confirmed_transcript_input())
    assert confirmed == h(vector["confirmed_transcript_hash_after"])
    assert commit.confirmation_tag == suite.mac(h(vector["confirmation_key"]), confirmed)
    interim = key_schedule.interim_transcript_hash(suite, confirmed, commit.confirmation_tag)
    assert interim == h(vector["interim_transcript_hash_after"])


@entries("tree-validation")
def test_tree_validation(vector: dict[str, Any]) -> None:
    suite, encoded = SUITES[vector["cipher_suite"]], h(vector["tree"])
    tree = RatchetTree.parse(suite, encoded)
    assert tree.encode() == encoded
    nodes = range(tree_math.node_width(tree.leaf_count))
    assert [tree.resolution(node) for node in nodes] == vector["resolutions"]
    assert [tree.hash(node).hex() for node in nodes] == vector["tree_hashes"]
    tree.check_parent_hashes()
    tree.check_unmerged_leaves()
    tree.check_unique_keys()
    for index, leaf in tree.leaves():
        leaf.verify_signature(suite, h(vector["group_id"]), index)


PROPOSALS: dict[str, type[Proposal]] = {
    "add_proposal": Add,
    "update_proposal": Update,
    "remove_proposal": Remove,
    "pre_shared_key_proposal": PreSharedKey,
    "re_init_proposal": ReInit,
    "external_init_proposal": ExternalInit,
    "group_context_extensions_proposal": GroupContextExtensions,
}
MESSAGES: dict[str, type[MlsMessage]] = {
    "mls_welcome": Welcome,
    "mls_group_info": GroupInfo,
    "mls_key_package": KeyPackage,
    "public_message_application": PublicMessage,
    "public_message_proposal": PublicMessage,
    "public_message_commit": PublicMessage,
    "private_message": PrivateMessage,
}


@entries("messages")
def test_messages(vector: dict[str, Any]) -> None:
    """Every structure is read to its end, and written as it was."""
    for name, message in MESSAGES.items():
        parsed = parse_message(h(vector[name]))
        assert isinstance(parsed, message)
        assert encode_message(parsed) == h(vector[name])
    for name, proposal in PROPOSALS.items():
        typed = uint(proposal.TYPE, 2) + h(vector[name])
        read = parse_whole(typed, parse_proposal)
        assert isinstance(read, proposal)
        assert read.encode() == typed
    assert RatchetTree.parse(SUITES[1], h(vector["ratchet_tree"])).encode() == h(vector["ratchet_tree"])
    assert parse_whole(h(vector["group_secrets"]), GroupSecrets.parse).encode() == h(vector["group_secrets"])
    assert parse_whole(h(vector["commit"]), Commit.parse).encode() == h(vector["commit"])
    assert vector.keys() == {*MESSAGES, *PROPOSALS, "ratchet_tree", "group_secrets", "commit"}


@entries("tree-operations")
def test_tree_operations(vector: dict[str, Any]) -> None:
    tree = RatchetTree.parse(SUITES[vector["cipher_suite"]], h(vector["tree_before"]))
    assert tree.hash() == h(vector["tree_hash_before"])
    proposal = parse_whole(h(vector["proposal"]), parse_proposal)
    match proposal:
        case Add():
            tree.add(proposal.key_package.leaf_node)
        case Update():
            tree.update(vector["proposal_sender"], proposal.leaf_node)
        case Remove():
            tree.remove(proposal.removed)
        case _:
            raise AssertionError(f"{proposal} changes no tree")
    assert tree.hash() == h(vector["tree_hash_after"])


@entries("treekem")
def test_treekem(vector: dict[str, Any]) -> None:
    suite = SUITES[vector["cipher_suite"]]
    held: dict[int, dict[int, bytes]] = {}
    before = RatchetTree.parse(suite, h(vector["ratchet_tree"]))
    for leaf in vector["leaves_private"]:
        held[leaf["index"]] = {2 * leaf["index"]: h(leaf["encryption_priv"])}
        for known in leaf["path_secrets"]:
            private_key, public_key = suite.kem.derive_key_pair(suite.derive_secret(h(known["path_secret"]), "node"))
            assert public_key == before.encryption_key(known["node"])
            held[leaf["index"]][known["node"]] = private_key
    for update in vector["update_paths"]:
        sender, path = update["sender"], parse_whole(h(update["update_path"]), tree_kem.UpdatePath.parse)
        tree = before.copy()
        tree_kem.check_path(tree, sender, path, joining=False)
        path.leaf_node.verify_signature(suite, h(vector["group_id"]), sender)
        tree.set_path(sender, path.leaf_node, [node.encryption_key for node in path.nodes])
        assert tree.hash() == h(update["tree_hash_after"])
        transcript = h(vector["confirmed_transcript_hash"])
        context = GroupContext(suite.number, h(vector["group_id"]), vector["epoch"], tree.hash(), transcript).encode()
        receivers = [leaf for leaf, secret in enumerate(update["path_secrets"]) if secret is not None]
        assert receivers
        for leaf in receivers:
            learned, commit_secret = tree_kem.open_path(tree, sender, leaf, path, context, frozenset(), held[leaf])
            assert commit_secret == h(update["commit_secret"])
            first = suite.derive_secret(h(update["path_secrets"][leaf]), "node")
            assert learned[tree_math.common_ancestor(sender, leaf)] == suite.kem.derive_key_pair(first)[0]


@entries("passive-client-welcome", "passive-client-handling-commit")
def test_passive_client(vector: dict[str, Any]) -> None:
    """It joins by the Welcome and follows the group from epoch to epoch, saying nothing itself."""
    suite, package = SUITES[vector["cipher_suite"]], parse_message(h(vector["key_package"]))
    assert isinstance(package, KeyPackage)
    signer = DeviceKey(Ed25519PrivateKey.from_private_bytes(h(vector["signature_priv"])[:32]))
    own = OwnKeyPackage(h(vector["key_package"]), package.reference(suite), h(vector["init_priv"]), h(vector["encryption_priv"]))
    psks = PreSharedKeys({h(psk["psk_id"]): h(psk["psk"]) for psk in vector["external_psks"]})
    group, _ = Client(signer, package.leaf_node.credential, Everybody(), suite).join(h(vector["welcome"]), [own], psks=psks)
    assert group.epoch_authenticator.hex() == vector["initial_epoch_authenticator"]
    for epoch in vector["epochs"]:
        for message in (*epoch["proposals"], epoch["commit"]):
            group.adopt(group.receive(h(message), psks=psks))
        assert group.epoch_authenticator.hex() == epoch["epoch_authenticator"]


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
