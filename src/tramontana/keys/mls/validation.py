"""The checks that RFC 9420 demands of leaves, key packages, trees and lists of proposals. docs/mls-validation.md maps each to its test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tramontana.keys.mls.errors import (
    CommitRefused,
    CredentialRefused,
    KeyPackageRefused,
    LeafRefused,
    MessageRefused,
    ProposalRefused,
    TreeRefused,
)
from tramontana.keys.mls.framing import MLS10
from tramontana.keys.mls.messages import (
    USAGE_APPLICATION,
    Add,
    ExternalInit,
    GroupContext,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    PskId,
    ReInit,
    Remove,
    Sender,
    SenderType,
    Update,
)
from tramontana.keys.mls.nodes import (
    SOURCE_KEY_PACKAGE,
    SOURCE_UPDATE,
    Credential,
    Extensions,
    ExternalSender,
    KeyPackage,
    LeafNode,
    RequiredCapabilities,
)
from tramontana.keys.mls.ratchet_tree import RatchetTree
from tramontana.keys.mls.suites import CipherSuite


class Authority(Protocol):
    """Who signs with which key. Asked for every credential that enters a tree (RFC 9420 §5.3.1)."""

    def accepts(self, credential: Credential, signature_key: bytes, replaces: Credential | None) -> bool:
        """Whether the key is that name's. `replaces` is the credential that stood in the same leaf before, None for a new member."""
        ...


@dataclass(frozen=True)
class Clock:
    """The present, and how long a key package may be valid in all (RFC 9420 §7.2: applications must set a maximum)."""

    now_unix_s: float
    max_lifetime_s: int


def check_credential(authority: Authority, leaf: LeafNode, replaces: Credential | None) -> None:
    """RFC 9420 §5.3.1. Raises `CredentialRefused`."""
    if not authority.accepts(leaf.credential, leaf.signature_key, replaces):
        raise CredentialRefused("the authority does not vouch for a leaf's name with its signature key")


def check_leaf(suite: CipherSuite, leaf: LeafNode, context: GroupContext, leaf_index: int, sources: tuple[int, ...]) -> None:
    """RFC 9420 §7.3, without credential, lifetime and what depends on other members. Raises `LeafRefused` and `SignatureInvalid`."""
    if leaf.source not in sources:
        raise LeafRefused(f"a leaf of source {leaf.source} stands where {' or '.join(map(str, sources))} must")
    leaf.verify_signature(suite, context.group_id, leaf_index)
    capabilities = leaf.capabilities
    if MLS10 not in capabilities.versions or suite.number not in capabilities.cipher_suites:
        raise LeafRefused("a leaf does not support the group's protocol version and cipher suite")
    if leaf.credential.type not in capabilities.credentials:
        raise LeafRefused("a leaf does not support its own credential type")
    if not capabilities.supports_extensions(extension.type for extension in leaf.extensions):
        raise LeafRefused("a leaf has an extension that it does not list as supported")
    if not capabilities.satisfies(RequiredCapabilities.of(context.extensions)):
        raise LeafRefused("a leaf lacks what the group requires")
    if not capabilities.supports_extensions(extension.type for extension in context.extensions):
        raise LeafRefused("a leaf does not support an extension of the group")
    try:
        suite.check_public_key(leaf.encryption_key)
    except MessageRefused as error:
        raise LeafRefused("the encryption key of a leaf is malformed") from error


def check_lifetime(leaf: LeafNode, clock: Clock) -> None:
    """RFC 9420 §7.2, §7.3. Raises `LeafRefused`."""
    if leaf.lifetime is None:
        raise LeafRefused("a leaf without a lifetime")
    if not leaf.lifetime.includes(clock.now_unix_s):
        raise LeafRefused("a leaf is expired or not yet valid")
    if leaf.lifetime.not_after - leaf.lifetime.not_before > clock.max_lifetime_s:
        raise LeafRefused("a leaf is valid for too long")


def check_key_package(
    suite: CipherSuite, key_package: KeyPackage, context: GroupContext, authority: Authority, clock: Clock | None
) -> None:
    """RFC 9420 §10.1. Without a clock the lifetime is not looked at. Raises `KeyPackageRefused`, `LeafRefused` and their kin."""
    if key_package.version != MLS10 or key_package.cipher_suite != suite.number:
        raise KeyPackageRefused("a key package is of another protocol version or cipher suite than the group")
    check_leaf(suite, key_package.leaf_node, context, 0, (SOURCE_KEY_PACKAGE,))
    if clock is not None:
        check_lifetime(key_package.leaf_node, clock)
    key_package.verify_signature(suite)
    if key_package.init_key == key_package.leaf_node.encryption_key:
        raise KeyPackageRefused("the init key of a key package is its encryption key")
    try:
        suite.check_public_key(key_package.init_key)
    except MessageRefused as error:
        raise KeyPackageRefused("the init key of a key package is malformed") from error
    check_credential(authority, key_package.leaf_node, None)


def check_compatible(tree: RatchetTree) -> None:
    """Everybody supports everybody's credential type (RFC 9420 §7.3). Raises `LeafRefused`."""
    in_use = {leaf.credential.type for _, leaf in tree.leaves()}
    if any(not in_use.issubset(leaf.capabilities.credentials) for _, leaf in tree.leaves()):
        raise LeafRefused("a credential type is in use that a member does not support")


def check_extensions_supported(tree: RatchetTree, extensions: Extensions) -> None:
    """Everybody supports the group's extensions and what they require (RFC 9420 §12.1.7). Raises `ProposalRefused`."""
    required = RequiredCapabilities.of(extensions)
    for _, leaf in tree.leaves():
        if not leaf.capabilities.satisfies(required):
            raise ProposalRefused("group context extensions require what a member does not support")
        if not leaf.capabilities.supports_extensions(extension.type for extension in extensions):
            raise ProposalRefused("a member does not support a group context extension")


def check_tree(tree: RatchetTree, context: GroupContext, authority: Authority) -> None:
    """The integrity of a whole tree before one joins by it (RFC 9420 §12.4.3.1, §7.9.2).

    Raises `TreeRefused`, `LeafRefused`, `CredentialRefused`, `SignatureInvalid`.
    """
    if tree.hash() != context.tree_hash:
        raise TreeRefused("the ratchet tree is not the one that the group context names")
    tree.check_unmerged_leaves()
    tree.check_unique_keys()
    tree.check_parent_hashes()
    for leaf_index, leaf in tree.leaves():
        check_leaf(tree.suite, leaf, context, leaf_index, (1, 2, 3))
        check_credential(authority, leaf, None)
    for _, parent in tree.parents():
        tree.suite.check_public_key(parent.encryption_key)
    check_compatible(tree)


@dataclass(frozen=True)
class Listed:
    """One proposal of a commit, and who made it: the committer himself if it came by value."""

    proposal: Proposal
    sender: Sender
    by_reference: bool = False


def check_sender(proposal: Proposal, sender: Sender) -> None:
    """Which proposals who may make (RFC 9420 §12.1.8, §17.4 and §12.2). Raises `ProposalRefused`."""
    allowed: tuple[type[Proposal], ...]
    match sender.type:
        case SenderType.MEMBER:
            allowed = (Add, Update, Remove, PreSharedKey, ReInit, GroupContextExtensions)
        case SenderType.EXTERNAL:
            allowed = (Add, Remove, PreSharedKey, ReInit, GroupContextExtensions)
        case SenderType.NEW_MEMBER_PROPOSAL:
            allowed = (Add,)
        case SenderType.NEW_MEMBER_COMMIT:
            allowed = (ExternalInit, Remove, PreSharedKey)
    if not isinstance(proposal, allowed):
        raise ProposalRefused(f"a {type(proposal).__name__} proposal may not come from a {sender.type.name.lower()} sender")


def check_list(suite: CipherSuite, listed: Sequence[Listed], tree: RatchetTree, context: GroupContext, committer: int) -> None:
    """The list of a member's commit (RFC 9420 §12.2), before it is applied. Raises `ProposalRefused`."""
    proposals = [each.proposal for each in listed]
    changed: set[int] = set()
    for each in listed:
        check_sender(each.proposal, each.sender)
        if isinstance(each.proposal, Update):
            if each.sender.index == committer:
                raise ProposalRefused("a committer commits his own update")
            leaf_index = each.sender.index
        elif isinstance(each.proposal, Remove):
            if (leaf_index := each.proposal.removed) == committer:
                raise ProposalRefused("a committer removes himself")
        else:
            continue
        if tree.leaf(leaf_index) is None:
            raise ProposalRefused(f"leaf {leaf_index} is blank: nobody can be updated or removed there")
        if leaf_index in changed:
            raise ProposalRefused("a commit changes one leaf twice")
        changed.add(leaf_index)
    _check_psks(suite, [proposal.psk for proposal in proposals if isinstance(proposal, PreSharedKey)], initial=context.epoch == 0)
    if sum(isinstance(proposal, GroupContextExtensions) for proposal in proposals) > 1:
        raise ProposalRefused("a commit sets the group context extensions twice")
    for proposal in proposals:
        if isinstance(proposal, ReInit):
            if len(proposals) > 1:
                raise ProposalRefused("a re-initialisation stands beside other proposals")
            if proposal.version < MLS10:
                raise ProposalRefused("a re-initialisation goes back to an older protocol version")


def check_external_list(suite: CipherSuite, listed: Sequence[Listed], tree: RatchetTree) -> None:
    """The list of an external commit (RFC 9420 §12.2, §12.4.3.2). Raises `ProposalRefused`."""
    if any(each.by_reference for each in listed):
        raise ProposalRefused("an external commit refers to a proposal")
    for each in listed:
        check_sender(each.proposal, each.sender)
    proposals = [each.proposal for each in listed]
    if sum(isinstance(proposal, ExternalInit) for proposal in proposals) != 1:
        raise ProposalRefused("an external commit must hold one external init")
    removes = [proposal.removed for proposal in proposals if isinstance(proposal, Remove)]
    if len(removes) > 1:
        raise ProposalRefused("an external commit removes more than one leaf")
    if any(tree.leaf(removed) is None for removed in removes):
        raise ProposalRefused("an external commit removes a blank leaf")
    _check_psks(suite, [proposal.psk for proposal in proposals if isinstance(proposal, PreSharedKey)], initial=False)


def _check_psks(suite: CipherSuite, psks: Iterable[PskId], *, initial: bool) -> None:
    """RFC 9420 §12.1.4, §12.2."""
    seen: set[bytes] = set()
    for psk in psks:
        if len(psk.nonce) != suite.hash_bytes:
            raise ProposalRefused("the nonce of a pre-shared key has the wrong length")
        if psk.psk_id is None and psk.usage != USAGE_APPLICATION and not initial:
            raise ProposalRefused("a resumption key for re-initialisation or branching stands outside a group's first commit")
        if (encoded := psk.encode()) in seen:
            raise ProposalRefused("a pre-shared key stands twice in a commit")
        seen.add(encoded)


@dataclass(frozen=True)
class Applied:
    """A tree after a commit's proposals, before its path (RFC 9420 §12.3)."""

    tree: RatchetTree
    extensions: Extensions
    added: tuple[tuple[int, KeyPackage], ...]
    updated: tuple[int, ...]
    removed: tuple[int, ...]
    psks: tuple[PskId, ...]
    reinit: ReInit | None
    external_init: bytes | None

    @property
    def added_leaves(self) -> frozenset[int]:
        return frozenset(leaf for leaf, _ in self.added)


def apply_proposals(
    before: RatchetTree, context: GroupContext, listed: Sequence[Listed], authority: Authority, clock: Clock | None
) -> Applied:
    """Apply a list that was checked (RFC 9420 §12.3) and check what it makes of the tree (§7.3, §10.1, §12.1.1, §12.1.7).

    Raises `ProposalRefused`, `KeyPackageRefused`, `LeafRefused`, `CredentialRefused`, `TreeRefused` and `SignatureInvalid`.
    """
    suite, tree = before.suite, before.copy()
    by_kind = {kind: [each for each in listed if isinstance(each.proposal, kind)] for kind in (Add, Update, Remove)}
    proposals = [each.proposal for each in listed]
    extensions = next((proposal.extensions for proposal in proposals if isinstance(proposal, GroupContextExtensions)), context.extensions)
    after = GroupContext(
        context.cipher_suite, context.group_id, context.epoch, context.tree_hash, context.confirmed_transcript_hash, extensions
    )
    updated, removed, added = [], [], []
    for each in by_kind[Update]:
        assert isinstance(each.proposal, Update)
        leaf, old = each.proposal.leaf_node, before.leaf(each.sender.index)
        assert old is not None
        check_leaf(suite, leaf, after, each.sender.index, (SOURCE_UPDATE,))
        if leaf.encryption_key == old.encryption_key:
            raise LeafRefused("an update keeps the old encryption key")
        check_credential(authority, leaf, old.credential)
        tree.update(each.sender.index, leaf)
        updated.append(each.sender.index)
    for each in by_kind[Remove]:
        assert isinstance(each.proposal, Remove)
        tree.remove(each.proposal.removed)
        removed.append(each.proposal.removed)
    for each in by_kind[Add]:
        assert isinstance(each.proposal, Add)
        check_key_package(suite, each.proposal.key_package, after, authority, clock)
        added.append((tree.add(each.proposal.key_package.leaf_node), each.proposal.key_package))
    if not any(True for _ in tree.leaves()):
        raise ProposalRefused("a commit removes everybody")
    if any(isinstance(proposal, GroupContextExtensions) for proposal in proposals):
        check_extensions_supported(tree, extensions)
        for sender in ExternalSender.all_of(extensions):
            if not authority.accepts(sender.credential, sender.signature_key, None):
                raise CredentialRefused("the authority does not vouch for an external sender")
    init_keys = [package.init_key for _, package in added]
    if len(set(init_keys)) != len(init_keys):
        raise ProposalRefused("a commit adds one client twice")
    tree.check_unique_keys()
    check_compatible(tree)
    return Applied(
        tree,
        extensions,
        tuple(added),
        tuple(updated),
        tuple(removed),
        tuple(proposal.psk for proposal in proposals if isinstance(proposal, PreSharedKey)),
        next((proposal for proposal in proposals if isinstance(proposal, ReInit)), None),
        next((proposal.kem_output for proposal in proposals if isinstance(proposal, ExternalInit)), None),
    )


def check_path_present(listed: Sequence[Listed], *, has_path: bool) -> None:
    """RFC 9420 §12.4: an empty list and these kinds need fresh keys. Raises `CommitRefused`."""
    if path_required(listed) and not has_path:
        raise CommitRefused("a commit lacks the update path that its proposals demand")


def path_required(listed: Sequence[Listed]) -> bool:
    return not listed or any(isinstance(each.proposal, Update | Remove | ExternalInit | GroupContextExtensions) for each in listed)
