"""What the core must refuse, each by its name, and nothing changes. docs/mls-validation.md maps the demands of RFC 9420 to these tests.

An insider who breaks the rules is the core itself with its own checks taken out while it makes the message (`lenient`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.keys.mls.world import GROUP_ID, NOW, World
from tramontana.keys.mls import group as group_module
from tramontana.keys.mls import secret_tree, tree_kem, validation
from tramontana.keys.mls.client import OwnKeyPackage, parse_key_package
from tramontana.keys.mls.codec import vector
from tramontana.keys.mls.errors import (
    CommitRefused,
    ConfirmationTagInvalid,
    CredentialRefused,
    DecryptionFailed,
    FramingError,
    KeyAlreadyUsed,
    KeyPackageRefused,
    LeafRefused,
    MembershipTagInvalid,
    MessageRefused,
    OwnMessage,
    ProposalRefused,
    SignatureInvalid,
    TooFarAhead,
    TreeRefused,
    UnknownPsk,
    UnknownSender,
    WelcomeRefused,
    WrongEpoch,
    WrongGroup,
)
from tramontana.keys.mls.framing import WireFormat
from tramontana.keys.mls.group import Group
from tramontana.keys.mls.key_schedule import PreSharedKeys
from tramontana.keys.mls.messages import (
    USAGE_BRANCH,
    Add,
    Commit,
    ExternalInit,
    FramedContent,
    GroupContextExtensions,
    GroupInfo,
    PreSharedKey,
    PrivateMessage,
    Proposal,
    ProposalRef,
    PskId,
    PublicMessage,
    ReInit,
    Remove,
    Sender,
    SenderType,
    UnverifiedContent,
    Update,
    Welcome,
    encode_message,
    parse_message,
    parse_private_content,
    sign_content,
)
from tramontana.keys.mls.nodes import (
    EXTERNAL_SENDERS,
    RATCHET_TREE,
    REQUIRED_CAPABILITIES,
    Capabilities,
    Credential,
    Extension,
    ExternalSender,
    KeyPackage,
    LeafNode,
    Lifetime,
    ParentNode,
    RequiredCapabilities,
)
from tramontana.keys.mls.protection import seal_public
from tramontana.keys.mls.ratchet_tree import RatchetTree
from tramontana.keys.mls.suites import X25519_AES128GCM_SHA256
from tramontana.keys.mls.tree_kem import UpdatePath

SUITE = X25519_AES128GCM_SHA256


@pytest.fixture
def world() -> World:
    """Ada, Bruno and Carla in one group."""
    made = World("refusals")
    made.create()
    made.admit("ada", "bruno", "carla")
    return made


@contextmanager
def lenient() -> Iterator[None]:
    """Within it the core makes what it would refuse."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("check_list", "check_key_package", "check_sender"):
            patch.setattr(group_module, name, lambda *_: None)
        for name in ("check_key_package", "check_leaf", "check_credential", "check_compatible", "check_extensions_supported"):
            patch.setattr(validation, name, lambda *_: None)
        patch.setattr(RatchetTree, "check_unique_keys", lambda _: None)
        yield


def refuses(group: Group, message: bytes, error: type[Exception], match: str = "", *, now: float | None = NOW) -> None:
    before = group.serialise()
    with pytest.raises(error, match=match or None):
        group.receive(message, now=now)
    assert group.serialise() == before


def forged(world: World, *proposals: Proposal, public: bool = False) -> bytes:
    """A commit of Ada's with a list that breaks the rules."""
    ada = world.groups["ada"]
    with lenient():
        return ada.commit(*proposals, now=NOW, public=public, psks=PreSharedKeys({b"id": b"key"})).outcome.commit


def with_path(world: World, change: Callable[[UpdatePath], UpdatePath]) -> bytes:
    """A commit of Ada's whose path was changed before she signed."""
    original = tree_kem.seal_path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_kem, "seal_path", lambda *arguments: change(original(*arguments)))
        return world.groups["ada"].commit(now=NOW).outcome.commit


def public(message: bytes) -> PublicMessage:
    parsed = parse_message(message)
    assert isinstance(parsed, PublicMessage)
    return parsed


def sent_in_the_clear(world: World, name: str, content: FramedContent, *, signer: str | None = None, seal: bool = True) -> bytes:
    """Content as `name` would send it in a public message, signed by `signer`."""
    state = world.groups[name]._state
    signed = sign_content(SUITE, world.clients[signer or name].signer, content, WireFormat.PUBLIC_MESSAGE, state.context)
    if isinstance(content.body, Commit):
        signed = replace(signed, confirmation_tag=bytes(32))
    return encode_message(seal_public(SUITE, state.secrets.membership if seal else bytes(32), signed, state.context))


# Framing (RFC 9420 §6, §9)


def test_any_truncation_is_refused(world: World) -> None:
    ada, bruno = world.groups["ada"], world.groups["bruno"]
    for message in (ada.seal(b"text").outcome, ada.commit(now=NOW).outcome.commit, ada.propose_update(public=True).outcome):
        for length in [*range(0, 40), *range(40, len(message), 37), len(message) - 1]:
            refuses(bruno, message[:length], MessageRefused)
        refuses(bruno, message + b"\x00", FramingError, "follow the end")


def test_another_group_and_other_epochs_are_refused(world: World) -> None:
    ada, bruno = world.groups["ada"], world.groups["bruno"]
    old_commit, old_text = ada.commit(now=NOW).outcome.commit, ada.seal(b"old").outcome
    refuses(bruno, old_text.replace(GROUP_ID, b"\x09" * 16), WrongGroup)
    carla = world.groups["carla"]
    world.commit("ada")
    refuses(bruno, old_commit, WrongEpoch, "came in epoch")
    world.groups["bruno"] = bruno
    future = ada.seal(b"future").outcome
    behind = world.clients["carla"].restore(carla.serialise())
    world.commit("ada")
    refuses(behind, ada.seal(b"future").outcome, WrongEpoch, "this device is in")
    world.commit("ada")
    refuses(bruno, old_text, WrongEpoch, "erased")
    assert future


def test_a_replay_is_refused(world: World) -> None:
    ada, bruno = world.groups["ada"], world.groups["bruno"]
    text = ada.adopt(ada.seal(b"once"))
    bruno.adopt(bruno.receive(text))
    refuses(bruno, text, KeyAlreadyUsed)
    proposal = ada.adopt(ada.propose_update())
    bruno.adopt(bruno.receive(proposal))
    refuses(bruno, proposal, KeyAlreadyUsed)
    commit = ada.adopt(ada.commit(now=NOW)).commit
    bruno.adopt(bruno.receive(commit))
    refuses(bruno, commit, WrongEpoch)


def test_a_claim_of_too_many_skipped_messages_is_refused(world: World) -> None:
    ada, bruno = world.groups["ada"], world.groups["bruno"]
    for _ in range(secret_tree.MAX_FORWARD_STEPS + 1):
        text = ada.adopt(ada.seal(b""))
    late = ada.adopt(ada.seal(b"too far"))
    refuses(bruno, late, TooFarAhead)
    bruno.adopt(bruno.receive(text))
    assert len(bruno._state.secret_tree.ratchets[0][secret_tree.APPLICATION].skipped) == secret_tree.MAX_SKIPPED_KEYS


def test_an_own_message_is_named(world: World) -> None:
    ada = world.groups["ada"]
    text = ada.adopt(ada.seal(b"mine"))
    refuses(ada, text, OwnMessage)
    refuses(ada, ada.propose_update(public=True).outcome, OwnMessage)


def test_a_ratchet_moves_only_when_the_signature_verifies(world: World) -> None:
    """An insider who knows every key of the epoch cannot burn another member's: the true message still opens."""
    ada, bruno, carla = (world.groups[name] for name in ("ada", "bruno", "carla"))
    impostor = Group(carla._state, world.clients["carla"].signer, world.directory, world.rng, 1)
    impostor._state = replace(carla._state, own_leaf=ada.own_leaf)
    fake = impostor.seal(b"I am Ada").outcome
    refuses(bruno, fake, SignatureInvalid)
    text = ada.adopt(ada.seal(b"I am Ada indeed"))
    bruno.adopt(bruno.receive(text))


def test_a_changed_ciphertext_is_refused(world: World) -> None:
    ada, bruno = world.groups["ada"], world.groups["bruno"]
    parsed = parse_message(ada.seal(b"text").outcome)
    assert isinstance(parsed, PrivateMessage)
    flipped = bytes([parsed.ciphertext[-1] ^ 1])
    for bad in (
        replace(parsed, ciphertext=parsed.ciphertext[:-1] + flipped),
        replace(parsed, authenticated_data=b"other"),
        replace(parsed, encrypted_sender_data=parsed.encrypted_sender_data[:-1] + b"\x00"),
    ):
        refuses(bruno, encode_message(bad), DecryptionFailed)


def test_padding_must_be_zero(world: World) -> None:
    head = PrivateMessage(GROUP_ID, 1, parse_private().content_type, b"", b"", b"")
    content = vector(b"text") + vector(bytes(64))
    assert parse_private_content(content + bytes(5), head, 0).content.body == b"text"
    with pytest.raises(FramingError, match="not zero"):
        parse_private_content(content + b"\x00\x01", head, 0)


def parse_private() -> PrivateMessage:
    world = World("padding")
    world.create()
    parsed = parse_message(world.groups["ada"].seal(b"x").outcome)
    assert isinstance(parsed, PrivateMessage)
    return parsed


def test_application_data_in_the_clear_is_refused(world: World) -> None:
    content = FramedContent(GROUP_ID, 1, Sender(SenderType.MEMBER, 0), b"", b"text")
    refuses(world.groups["bruno"], sent_in_the_clear(world, "ada", content), FramingError, "in the clear")


def test_a_public_message_from_outside_the_group_is_refused(world: World) -> None:
    content = FramedContent(GROUP_ID, 1, Sender(SenderType.MEMBER, 0), b"", Remove(2))
    refuses(world.groups["bruno"], sent_in_the_clear(world, "ada", content, seal=False), MembershipTagInvalid)


def test_a_signature_of_somebody_else_is_refused(world: World) -> None:
    content = FramedContent(GROUP_ID, 1, Sender(SenderType.MEMBER, 0), b"", Remove(2))
    refuses(world.groups["bruno"], sent_in_the_clear(world, "ada", content, signer="carla"), SignatureInvalid)


@pytest.mark.parametrize(
    ("sender", "error"),
    [
        (Sender(SenderType.MEMBER, 3), UnknownSender),
        (Sender(SenderType.MEMBER, 900), UnknownSender),
        (Sender(SenderType.EXTERNAL, 0), UnknownSender),
        (Sender(SenderType.NEW_MEMBER_PROPOSAL), ProposalRefused),
        (Sender(SenderType.NEW_MEMBER_COMMIT), ProposalRefused),
    ],
    ids=str,
)
def test_senders_that_are_not_there_are_refused(world: World, sender: Sender, error: type[Exception]) -> None:
    content = FramedContent(GROUP_ID, 1, sender, b"", Remove(2))
    refuses(world.groups["bruno"], sent_in_the_clear(world, "ada", content), error)


def test_an_external_sender_proposes_and_commits_nothing(world: World) -> None:
    """RFC 9420 §12.1.8: listed senders may propose some things; an update or a commit is not among them."""
    custodian = world.client("custodian")
    entry = ExternalSender(custodian.signer.public_bytes, custodian.credential)
    extension = Extension(EXTERNAL_SENDERS, vector(entry.encode()))
    world.commit("ada", GroupContextExtensions((extension,)))
    bruno = world.groups["bruno"]
    sender = Sender(SenderType.EXTERNAL, 0)

    def message(body: Proposal | Commit) -> bytes:
        return sent_in_the_clear(world, "ada", FramedContent(GROUP_ID, 2, sender, b"", body), signer="custodian")

    leaf = bruno._state.tree.leaf(0)
    assert leaf is not None
    refuses(bruno, message(Update(leaf)), ProposalRefused, "may not come from")
    refuses(bruno, message(Commit((), None)), UnknownSender)
    wish = message(Remove(2))
    for name in ("ada", "bruno"):
        world.groups[name].adopt(world.groups[name].receive(wish))
    world.groups["carla"].adopt(world.groups["carla"].receive(wish))
    world.commit("ada")
    assert set(world.groups) == {"ada", "bruno"}
    uncertified = World("elsewhere").client("nobody")
    stranger = ExternalSender(uncertified.signer.public_bytes, uncertified.credential)
    with pytest.raises(CredentialRefused, match="external sender"):
        world.groups["ada"].commit(GroupContextExtensions((Extension(EXTERNAL_SENDERS, vector(stranger.encode())),)), now=NOW)


# Leaves and key packages (RFC 9420 §7.3, §10.1)


def altered(world: World, change: Callable[[LeafNode], LeafNode], *, sign: bool = True) -> KeyPackage:
    """Dora's key package with another leaf."""
    package = parse_key_package(world.package("dora").message)
    leaf = change(package.leaf_node)
    signer = world.clients["dora"].signer
    package = replace(package, leaf_node=leaf.sign(SUITE, signer) if sign else leaf)
    return package.sign(SUITE, signer)


BAD_LEAVES: dict[str, tuple[Callable[[LeafNode], LeafNode], type[Exception], str]] = {
    "source": (lambda leaf: replace(leaf, source=2, lifetime=None), LeafRefused, "source"),
    "suite": (lambda leaf: replace(leaf, capabilities=replace(leaf.capabilities, cipher_suites=(3,))), LeafRefused, "cipher suite"),
    "version": (lambda leaf: replace(leaf, capabilities=replace(leaf.capabilities, versions=(2,))), LeafRefused, "protocol version"),
    "credential type": (
        lambda leaf: replace(leaf, capabilities=replace(leaf.capabilities, credentials=(2,))),
        LeafRefused,
        "credential type",
    ),
    "extension": (lambda leaf: replace(leaf, extensions=(Extension(0xF00D, b""),)), LeafRefused, "not list as supported"),
    "key": (lambda leaf: replace(leaf, encryption_key=b"short"), LeafRefused, "malformed"),
    "expired": (lambda leaf: replace(leaf, lifetime=Lifetime(0, int(NOW) - 1)), LeafRefused, "expired"),
    "not yet valid": (lambda leaf: replace(leaf, lifetime=Lifetime(int(NOW) + 1, int(NOW) + 2)), LeafRefused, "not yet valid"),
    "too long": (lambda leaf: replace(leaf, lifetime=Lifetime(0, 2**40)), LeafRefused, "too long"),
    "credential": (lambda leaf: replace(leaf, credential=Credential.basic(b"ada")), CredentialRefused, "does not vouch"),
}


@pytest.mark.parametrize("what", BAD_LEAVES)
def test_a_bad_leaf_is_refused_by_who_adds_and_by_who_receives(world: World, what: str) -> None:
    change, error, match = BAD_LEAVES[what]
    add = Add(altered(world, change))
    with pytest.raises(error, match=match):
        world.groups["ada"].commit(add, now=NOW)
    with pytest.raises(error, match=match):
        world.groups["ada"].propose(add, now=NOW)
    refuses(world.groups["bruno"], forged(world, add), error, match)
    with lenient():
        proposal = world.groups["ada"].propose(add, now=NOW).outcome
    refuses(world.groups["bruno"], proposal, error, match)


def test_a_leaf_that_was_changed_after_signing_is_refused(world: World) -> None:
    add = Add(altered(world, lambda leaf: replace(leaf, encryption_key=bytes(31) + b"\x09"), sign=False))
    refuses(world.groups["bruno"], forged(world, add), SignatureInvalid, "LeafNodeTBS")


def test_a_leaf_must_have_what_the_group_requires(world: World) -> None:
    needs = Extension(REQUIRED_CAPABILITIES, RequiredCapabilities(extensions=(0xF00D,)).encode())
    with pytest.raises(ProposalRefused, match="require what a member"):
        world.groups["ada"].commit(GroupContextExtensions((needs,)), now=NOW)
    refuses(world.groups["bruno"], forged(world, GroupContextExtensions((needs,))), (LeafRefused, ProposalRefused))  # type: ignore[arg-type]
    refuses(world.groups["bruno"], forged(world, GroupContextExtensions((Extension(0xF00D, b""),))), ProposalRefused, "does not support")
    other = World("capable")
    other.client("ada", extensions_supported=(0xF00D,))
    ada = other.create("ada", (needs,))
    with pytest.raises(LeafRefused, match="lacks what the group requires"):
        ada.commit(Add(parse_key_package(other.package("bruno").message)), now=NOW)


def test_credential_types_must_suit_everybody(world: World) -> None:
    tree = world.groups["ada"]._state.tree.copy()
    leaf = tree.leaf(1)
    assert leaf is not None
    tree.update(1, replace(leaf, credential=Credential(2, b"")))
    with pytest.raises(LeafRefused, match="credential type is in use"):
        validation.check_compatible(tree)


def test_a_bad_key_package_is_refused(world: World) -> None:
    package, signer = parse_key_package(world.package("dora").message), world.clients["dora"].signer
    cases = [
        (replace(package, cipher_suite=3).sign(SUITE, signer), KeyPackageRefused, "cipher suite"),
        (replace(package, version=2).sign(SUITE, signer), KeyPackageRefused, "protocol version"),
        (replace(package, init_key=package.leaf_node.encryption_key).sign(SUITE, signer), KeyPackageRefused, "init key"),
        (replace(package, init_key=b"short").sign(SUITE, signer), KeyPackageRefused, "malformed"),
        (replace(package, signature=bytes(64)), SignatureInvalid, "KeyPackageTBS"),
    ]
    for bad, error, match in cases:
        with pytest.raises(error, match=match):
            world.groups["ada"].commit(Add(bad), now=NOW)
        with pytest.raises(error, match=match):
            world.groups["ada"].propose(Add(bad), now=NOW)


def test_an_uncertified_device_enters_no_tree(world: World) -> None:
    world.client("mallory", certified=False)
    package = world.package("mallory")
    add = Add(parse_key_package(package.message))
    with pytest.raises(CredentialRefused):
        world.groups["ada"].commit(add, now=NOW)
    refuses(world.groups["bruno"], forged(world, add), CredentialRefused)
    joined, sent = world.clients["mallory"].join_externally(world.groups["ada"].group_info(), NOW)
    refuses(world.groups["bruno"], sent.commit, CredentialRefused)
    with lenient():
        made = world.groups["ada"].commit(add, Add(parse_key_package((dora := world.package("dora")).message)), now=NOW).outcome
    assert made.welcome is not None
    with pytest.raises(CredentialRefused):
        world.clients["dora"].join(made.welcome, [dora])
    assert joined.epoch == 2


def test_an_update_is_checked_like_any_leaf(world: World) -> None:
    ada, bruno = world.groups["ada"], world.groups["bruno"]
    old = ada._state.tree.leaf(0)
    assert old is not None
    signer = world.clients["ada"].signer

    def proposal(leaf: LeafNode) -> bytes:
        return sent_in_the_clear(world, "ada", FramedContent(GROUP_ID, 1, Sender(SenderType.MEMBER, 0), b"", Update(leaf)))

    good = replace(old, source=2, lifetime=None, parent_hash=None)
    refuses(bruno, proposal(good.sign(SUITE, signer, b"other group", 0)), SignatureInvalid)
    refuses(bruno, proposal(good.sign(SUITE, signer, GROUP_ID, 1)), SignatureInvalid)
    refuses(bruno, proposal(replace(good, credential=Credential.basic(b"carla")).sign(SUITE, signer, GROUP_ID, 0)), CredentialRefused)
    refuses(bruno, proposal(old), LeafRefused, "source")
    refuses(bruno, proposal(good.sign(SUITE, signer, GROUP_ID, 0)), LeafRefused, "keeps the old encryption key")


def test_contradicting_proposals_keep_nobody_from_committing(world: World) -> None:
    """Two members propose the same newcomer, and one a removal: the commit takes up what stands together."""
    ada, bruno, carla = (world.groups[name] for name in ("ada", "bruno", "carla"))
    add = Add(parse_key_package(world.package("dora").message))
    world.deliver("bruno", bruno.adopt(bruno.propose(add, now=NOW)))
    world.deliver("carla", carla.adopt(carla.propose(add, now=NOW)))
    world.deliver("carla", carla.adopt(carla.propose(Remove(world.leaf("bruno")), now=NOW)))
    assert len(ada.waiting) == 3
    world.commit("ada")
    assert {member.credential.content for member in ada.members} == {b"ada", b"carla", b"dora"}
    world.check_agreement()


# Lists of proposals (RFC 9420 §12.1, §12.2)


def psk(nonce: int = 32, psk_id: bytes = b"id") -> PreSharedKey:
    return PreSharedKey(PskId(bytes(nonce), psk_id))


BAD_LISTS: dict[str, tuple[Callable[[World], list[Proposal]], str]] = {
    "own removal": (lambda _: [Remove(0)], "removes himself"),
    "blank leaf": (lambda _: [Remove(3)], "blank"),
    "leaf outside the tree": (lambda _: [Remove(77)], "blank"),
    "one leaf twice": (lambda _: [Remove(1), Remove(1)], "one leaf twice"),
    "own update": (lambda world: [Update(_leaf(world))], "his own update"),
    "one key twice": (lambda _: [psk(), psk()], "twice"),
    "short nonce": (lambda _: [psk(nonce=16)], "wrong length"),
    "branch key": (lambda _: [PreSharedKey(PskId(bytes(32), None, USAGE_BRANCH, GROUP_ID, 1))], "outside a group's first commit"),
    "re-initialisation and more": (lambda _: [ReInit(b"next", 1), Remove(1)], "beside other proposals"),
    "old version": (lambda _: [ReInit(b"next", 1, version=0)], "older protocol version"),
    "external init": (lambda _: [ExternalInit(bytes(32))], "may not come from"),
    "extensions twice": (lambda _: [GroupContextExtensions(()), GroupContextExtensions(())], "twice"),
}


def _leaf(world: World) -> LeafNode:
    leaf = world.groups["ada"]._state.tree.leaf(0)
    assert leaf is not None
    return leaf


@pytest.mark.parametrize("what", BAD_LISTS)
def test_a_bad_list_is_refused_by_who_commits_and_by_who_receives(world: World, what: str) -> None:
    proposals, match = BAD_LISTS[what]
    listed = proposals(world)
    with pytest.raises(ProposalRefused, match=match):
        world.groups["ada"].commit(*listed, now=NOW, psks=PreSharedKeys({b"id": b"key"}))
    content = FramedContent(GROUP_ID, 1, Sender(SenderType.MEMBER, 0), b"", Commit(tuple(listed), None))
    refuses(world.groups["bruno"], sent_in_the_clear(world, "ada", content), ProposalRefused, match)


def test_a_client_is_added_once(world: World) -> None:
    dora = [Add(parse_key_package(world.package("dora").message)) for _ in range(2)]
    refuses(world.groups["bruno"], forged(world, *dora), TreeRefused, "signature key stands twice")
    with pytest.raises(ProposalRefused, match="adds one client twice"):
        world.groups["ada"].commit(dora[0], dora[0], now=NOW)
    refuses(
        world.groups["bruno"],
        forged(world, Add(parse_key_package(world.package("carla").message))),
        TreeRefused,
        "signature key stands twice",
    )


def test_a_commit_of_unseen_proposals_is_refused(world: World) -> None:
    content = FramedContent(GROUP_ID, 1, Sender(SenderType.MEMBER, 0), b"", Commit((ProposalRef(bytes(32)),), None))
    refuses(world.groups["bruno"], sent_in_the_clear(world, "ada", content), CommitRefused, "has not seen")


def test_an_unknown_pre_shared_key_is_named(world: World) -> None:
    refuses(world.groups["bruno"], forged(world, psk()), UnknownPsk, "external key")
    with pytest.raises(UnknownPsk, match="epoch 77"):
        world.groups["ada"].commit(world.groups["ada"].resumption_psk(77), now=NOW)


# Commits (RFC 9420 §12.4)


def test_a_commit_needs_the_path_that_its_proposals_demand(world: World) -> None:
    for proposals in ((), (Remove(1),), (GroupContextExtensions(()),)):
        content = FramedContent(GROUP_ID, 1, Sender(SenderType.MEMBER, 0), b"", Commit(proposals, None))
        refuses(world.groups["carla"], sent_in_the_clear(world, "ada", content), CommitRefused, "lacks the update path")


def test_bad_update_paths_are_refused(world: World) -> None:
    bruno, signer = world.groups["bruno"], world.clients["ada"].signer

    def leaf(path: UpdatePath, **changes: object) -> UpdatePath:
        return replace(path, leaf_node=replace(path.leaf_node, **changes).sign(SUITE, signer, GROUP_ID, 0))  # type: ignore[arg-type]

    def first(path: UpdatePath, **changes: object) -> UpdatePath:
        return replace(path, nodes=(replace(path.nodes[0], **changes), *path.nodes[1:]))  # type: ignore[arg-type]

    taken = bruno._state.tree.encryption_key(2)
    old = bruno._state.tree.encryption_key(0)
    cases: list[tuple[Callable[[UpdatePath], UpdatePath], type[Exception], str]] = [
        (lambda path: replace(path, nodes=path.nodes[:-1]), CommitRefused, "number of nodes"),
        (lambda path: replace(path, nodes=(*path.nodes, path.nodes[0])), CommitRefused, "number of nodes"),
        (lambda path: first(path, encryption_key=taken), CommitRefused, "already in use"),
        (lambda path: leaf(path, encryption_key=old), CommitRefused, "already in use"),
        (lambda path: first(path, encryption_key=path.leaf_node.encryption_key), CommitRefused, "already in use"),
        (lambda path: first(path, encryption_key=bytes(31)), MessageRefused, "malformed"),
        (lambda path: leaf(path, parent_hash=bytes(32)), CommitRefused, "parent hash"),
        (lambda path: first(path, encrypted_path_secret=()), CommitRefused, "number of receivers"),
        (lambda path: first(path, encrypted_path_secret=path.nodes[1].encrypted_path_secret), DecryptionFailed, "UpdatePathNode"),
        (lambda path: leaf(path, credential=Credential.basic(b"carla")), CredentialRefused, ""),
        (lambda path: replace(path, leaf_node=replace(path.leaf_node, signature=bytes(64))), SignatureInvalid, "LeafNodeTBS"),
        (lambda path: replace(path, leaf_node=_leaf(world)), LeafRefused, "source"),
    ]
    for change, error, match in cases:
        refuses(bruno, with_path(world, change), error, match)


def test_a_path_secret_must_yield_the_public_keys(world: World) -> None:
    original = SUITE.encrypt_with_label
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(SUITE), "encrypt_with_label", lambda _, key, label, context, __: original(key, label, context, bytes(32)))
        commit = world.groups["ada"].commit(now=NOW).outcome.commit
    refuses(world.groups["bruno"], commit, CommitRefused, "does not yield")


def test_a_confirmation_tag_of_other_keys_is_refused(world: World) -> None:
    message = public(world.groups["ada"].commit(now=NOW, public=True).outcome.commit)
    state = world.groups["ada"]._state
    for tag in (bytes(32), b""):
        bad = seal_public(SUITE, state.secrets.membership, replace(message.content, confirmation_tag=tag), state.context)
        refuses(world.groups["bruno"], encode_message(bad), ConfirmationTagInvalid)


def test_a_removed_member_reads_and_sends_nothing(world: World) -> None:
    ada, carla = world.groups["ada"], world.groups["carla"]
    kept = world.clients["carla"].restore(carla.serialise())
    world.commit("ada", Remove(carla.own_leaf))
    refuses(kept, ada.seal(b"among us").outcome, WrongEpoch)
    bruno = world.groups["bruno"]
    late = kept.seal(b"sealed in the epoch before").outcome
    assert bruno.receive(late).outcome.epoch == 1  # type: ignore[union-attr]
    refuses(bruno, kept.commit(now=NOW).outcome.commit, WrongEpoch)
    assert not carla._state.private_keys
    assert not carla._state.secrets.exporter


# Welcome, GroupInfo, trees (RFC 9420 §12.4.3, §7.9)


def welcomed(world: World) -> tuple[OwnKeyPackage, bytes, bytes | None]:
    package = world.package("dora")
    made = world.groups["ada"].commit(Add(parse_key_package(package.message)), now=NOW, renew=True).outcome
    assert made.welcome is not None
    return package, made.welcome, made.tree


def with_info(world: World, change: Callable[[GroupInfo], GroupInfo], *, sign: str | None = "ada") -> tuple[OwnKeyPackage, bytes]:
    """A Welcome of Ada's whose GroupInfo was changed before she signed (or not at all)."""
    original = group_module._group_info

    def changed(*arguments: object, **options: object) -> GroupInfo:
        info = change(original(*arguments, **options))  # type: ignore[arg-type]
        return info if sign is None else info.sign(SUITE, world.clients[sign].signer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_module, "_group_info", changed)
        package, welcome, _ = welcomed(world)
    return package, welcome


def with_tree(world: World, change: Callable[[RatchetTree], None]) -> tuple[OwnKeyPackage, bytes]:
    """A Welcome with another tree, whose hash stands in the GroupInfo."""

    def changed(info: GroupInfo) -> GroupInfo:
        encoded = next(extension.data for extension in info.extensions if extension.type == RATCHET_TREE)
        tree = RatchetTree.parse(SUITE, encoded)
        change(tree)
        tree = RatchetTree.parse(SUITE, tree.encode())
        return replace(
            info, group_context=replace(info.group_context, tree_hash=tree.hash()), extensions=(Extension(RATCHET_TREE, tree.encode()),)
        )

    return with_info(world, changed)


def refuses_to_join(world: World, package: OwnKeyPackage, welcome: bytes, error: type[Exception], match: str = "") -> None:
    with pytest.raises(error, match=match or None):
        world.clients["dora"].join(welcome, [package])


def test_a_welcome_for_others_is_refused(world: World) -> None:
    package, welcome, _ = welcomed(world)
    refuses_to_join(world, world.package("dora"), welcome, WelcomeRefused, "no longer has")
    parsed = parse_message(welcome)
    assert isinstance(parsed, Welcome)
    refuses_to_join(world, package, encode_message(replace(parsed, cipher_suite=3)), WelcomeRefused, "cipher suite")
    refuses_to_join(world, package, encode_message(replace(parsed, encrypted_group_info=bytes(100))), DecryptionFailed)
    refuses_to_join(world, package, package.message, WelcomeRefused, "not a Welcome")
    other = replace(package, init_private_key=bytes(32))
    refuses_to_join(world, other, welcome, DecryptionFailed, "Welcome")
    for length in range(0, len(welcome), 61):
        refuses_to_join(world, package, welcome[:length], MessageRefused)


def test_a_group_info_that_is_not_the_members_is_refused(world: World) -> None:
    refuses_to_join(world, *with_info(world, lambda info: info, sign="carla"), SignatureInvalid)
    refuses_to_join(world, *with_info(world, lambda info: replace(info, signer=3), sign="ada"), SignatureInvalid)
    refuses_to_join(world, *with_info(world, lambda info: replace(info, signer=900), sign="ada"), SignatureInvalid, "not in the tree")
    refuses_to_join(world, *with_info(world, lambda info: replace(info, confirmation_tag=bytes(32))), ConfirmationTagInvalid)
    refuses_to_join(
        world,
        *with_info(world, lambda info: replace(info, group_context=replace(info.group_context, epoch=9))),
        ConfirmationTagInvalid,
    )
    refuses_to_join(
        world,
        *with_info(world, lambda info: replace(info, group_context=replace(info.group_context, cipher_suite=3))),
        WelcomeRefused,
        "suite",
    )
    refuses_to_join(
        world,
        *with_info(world, lambda info: replace(info, group_context=replace(info.group_context, tree_hash=bytes(32)))),
        TreeRefused,
        "not the one",
    )
    refuses_to_join(world, *with_info(world, lambda info: replace(info, extensions=())), WelcomeRefused, "neither")


def test_a_tree_without_integrity_is_refused(world: World) -> None:
    def swap_key(tree: RatchetTree) -> None:
        index, parent = next(iter(tree.parents()))
        tree._nodes[index] = replace(parent, encryption_key=bytes(31) + b"\x09")

    def list_blank(tree: RatchetTree) -> None:
        index, parent = next(iter(tree.parents()))
        tree._nodes[index] = replace(parent, unmerged_leaves=(2,) if index == 1 else (77,))

    def repeat_signature_key(tree: RatchetTree) -> None:
        leaf = tree.leaf(1)
        assert leaf is not None
        tree._nodes[2] = replace(leaf, signature_key=_leaf(world).signature_key)

    def repeat_encryption_key(tree: RatchetTree) -> None:
        leaf = tree.leaf(1)
        assert leaf is not None
        tree._nodes[2] = replace(leaf, encryption_key=tree.encryption_key(0))

    def change_leaf(tree: RatchetTree) -> None:
        leaf = tree.leaf(1)
        assert leaf is not None
        tree._nodes[2] = replace(leaf, capabilities=Capabilities())

    def drop_new_leaf(tree: RatchetTree) -> None:
        tree.remove(3)

    refuses_to_join(world, *with_tree(world, swap_key), TreeRefused, "parent hash")
    refuses_to_join(world, *with_tree(world, list_blank), TreeRefused, "unmerged leaf")
    refuses_to_join(world, *with_tree(world, repeat_signature_key), TreeRefused, "signature key stands twice")
    refuses_to_join(world, *with_tree(world, repeat_encryption_key), TreeRefused, "encryption key stands twice")
    refuses_to_join(world, *with_tree(world, change_leaf), MessageRefused)
    refuses_to_join(world, *with_tree(world, drop_new_leaf), MessageRefused)


def test_unmerged_leaves_are_listed_all_the_way() -> None:
    world = World("unmerged")
    world.create()
    world.admit("ada", *(f"m{number}" for number in range(7)))
    for name in ("m0", "m3", "ada", "m5"):
        world.commit(name)
    tree = world.groups["ada"]._state.tree.copy()
    tree.check_unmerged_leaves()
    root = tree.node(tree.root)
    assert isinstance(root, ParentNode)
    tree._nodes[tree.root] = replace(root, unmerged_leaves=(0,))
    with pytest.raises(TreeRefused, match="does not list"):
        tree.check_unmerged_leaves()


@pytest.mark.parametrize("encoded", [b"\x00", b"\x01\x00", b"\x02\x01\x02"], ids=["nothing", "only blank", "cut"])
def test_a_malformed_tree_is_refused(encoded: bytes) -> None:
    with pytest.raises(MessageRefused):
        RatchetTree.parse(SUITE, encoded)


def test_a_node_of_the_wrong_kind_is_refused(world: World) -> None:
    swapped = vector(b"\x01\x02" + ParentNode(bytes(32)).encode())
    with pytest.raises(TreeRefused, match="wrong kind"):
        RatchetTree.parse(SUITE, swapped)


def test_the_path_secret_of_a_welcome_must_fit(world: World) -> None:
    original = tree_kem.new_path

    def confused(*arguments: object) -> tree_kem.NewPath:
        made = original(*arguments)  # type: ignore[arg-type]
        return replace(made, path_secrets=dict.fromkeys(made.path_secrets, bytes(32)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_kem, "new_path", confused)
        package, welcome, _ = welcomed(world)
    refuses_to_join(world, package, welcome, WelcomeRefused, "does not yield")


def test_a_welcome_that_needs_an_unknown_key_is_refused(world: World) -> None:
    package = world.package("dora")
    held = PreSharedKeys({b"id": b"key"})
    made = world.groups["ada"].commit(Add(parse_key_package(package.message)), psk(), now=NOW, psks=held).outcome
    assert made.welcome is not None
    refuses_to_join(world, package, made.welcome, UnknownPsk)
    with pytest.raises(DecryptionFailed):
        world.clients["dora"].join(made.welcome, [package], psks=PreSharedKeys({b"id": b"another"}))
    world.clients["dora"].join(made.welcome, [package], psks=held)


def test_external_joins_that_break_the_rules_are_refused(world: World) -> None:
    ada, bruno = world.groups["ada"], world.groups["bruno"]
    dora = world.client("dora")
    with pytest.raises(WelcomeRefused, match="join by themselves"):
        dora.join_externally(ada.group_info(external=False), NOW)
    with pytest.raises(WelcomeRefused, match="not a GroupInfo"):
        dora.join_externally(ada.seal(b"x").outcome, NOW)
    with pytest.raises(ProposalRefused, match="blank leaf"):
        dora.join_externally(ada.group_info(), NOW, replaces=3)
    _, sent = dora.join_externally(ada.group_info(), NOW)
    message = public(sent.commit)
    body = message.content.content.body
    assert isinstance(body, Commit)
    assert body.path is not None
    init = body.proposals[0]
    lists: list[tuple[tuple[Proposal | ProposalRef, ...], type[Exception], str]] = [
        ((), ProposalRefused, "one external init"),
        ((init, init), ProposalRefused, "one external init"),
        ((init, Remove(0), Remove(1)), ProposalRefused, "more than one leaf"),
        ((init, GroupContextExtensions(())), ProposalRefused, "may not come from"),
        ((init, ProposalRef(bytes(32))), CommitRefused, "has not seen"),
    ]
    for proposals, error, match in lists:
        content = replace(message.content.content, body=replace(body, proposals=proposals))
        refuses(bruno, sent_in_the_clear(world, "ada", content, signer="dora"), error, match)
    content = replace(message.content.content, body=replace(body, path=None))
    refuses(bruno, sent_in_the_clear(world, "ada", content, signer="dora"), ProposalRefused, "may not send this")
    refuses(bruno, encode_message(replace(message, content=replace(message.content, signature=bytes(64)))), SignatureInvalid)
    tampered = UnverifiedContent(message.content.wire_format, message.content.content, message.content.signature, bytes(32))
    refuses(bruno, encode_message(PublicMessage(tampered, None)), ConfirmationTagInvalid)
    # Taking another member's place needs that member's credential (the authority judges the successor).
    _, theft = dora.join_externally(ada.group_info(), NOW, replaces=world.leaf("carla"))
    refuses(bruno, theft.commit, CredentialRefused)
    proposed = world.deliver("carla", world.groups["carla"].adopt(world.groups["carla"].propose_update(public=True)))
    reference = proposed["bruno"].reference  # type: ignore[union-attr]
    content = replace(message.content.content, body=replace(body, proposals=(init, ProposalRef(reference))))
    refuses(bruno, sent_in_the_clear(world, "ada", content, signer="dora"), ProposalRefused, "refers to a proposal")


def test_stored_states_of_others_are_refused(world: World) -> None:
    stored = world.groups["ada"].serialise()
    with pytest.raises(FramingError, match="another device key"):
        world.clients["bruno"].restore(stored)
    for damaged in (b"", stored[:-1], stored + b"\x00", b"\x00\x02" + stored[2:]):
        with pytest.raises(FramingError):
            world.clients["ada"].restore(damaged)
