"""A device's hold on MLS: its key, its name and whom it believes. It makes key packages and enters groups (RFC 9420 §10, §11, §12.4.3)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tramontana.keys.mls import epoch as epochs
from tramontana.keys.mls import key_schedule, tree_kem, tree_math
from tramontana.keys.mls.codec import Reader, parse_whole, vector
from tramontana.keys.mls.errors import FramingError, WelcomeRefused
from tramontana.keys.mls.framing import MLS10, WireFormat
from tramontana.keys.mls.group import EXTERNAL_INIT_LABEL, Group
from tramontana.keys.mls.key_schedule import NO_PSKS, EpochSecrets, PreSharedKeys
from tramontana.keys.mls.messages import (
    USAGE_APPLICATION,
    Commit,
    ExternalInit,
    FramedContent,
    GroupContext,
    GroupInfo,
    GroupSecrets,
    PreSharedKey,
    Proposal,
    PublicMessage,
    Remove,
    Sender,
    SenderType,
    VerifiedContent,
    Welcome,
    encode_message,
    parse_message,
    sign_content,
)
from tramontana.keys.mls.nodes import (
    EXTERNAL_PUB,
    RATCHET_TREE,
    SOURCE_KEY_PACKAGE,
    Capabilities,
    Credential,
    Extensions,
    KeyPackage,
    LeafNode,
    Lifetime,
    find_extension,
)
from tramontana.keys.mls.outcomes import CommitBytes
from tramontana.keys.mls.ratchet_tree import RatchetTree
from tramontana.keys.mls.state import State
from tramontana.keys.mls.suites import XWING_AES256GCM_SHA384, CipherSuite, Rng, Signer
from tramontana.keys.mls.validation import (
    Authority,
    Listed,
    apply_proposals,
    check_compatible,
    check_external_list,
    check_leaf,
    check_tree,
)

KEY_PACKAGE_LIFETIME_S = 84 * 86_400
"""12 weeks, as the browser's."""
CLOCK_GRACE_S = 3_600
"""For clocks that run late."""


@dataclass(frozen=True)
class OwnKeyPackage:
    """A key package with its private keys: stored, sealed, before `message` is handed out, and deleted when it was used."""

    message: bytes
    """MLSMessage with the KeyPackage, as the server hands it out."""
    reference: bytes
    """KeyPackageRef."""
    init_private_key: bytes = field(repr=False)
    encryption_private_key: bytes = field(repr=False)

    def serialise(self) -> bytes:
        return b"".join(map(vector, (self.message, self.reference, self.init_private_key, self.encryption_private_key)))

    @classmethod
    def restore(cls, stored: bytes) -> OwnKeyPackage:
        """Raises `FramingError`."""
        return parse_whole(stored, lambda reader: cls(*(reader.vector() for _ in range(4))))


def parse_key_package(message: bytes) -> KeyPackage:
    """An MLSMessage with a KeyPackage, not yet verified: adding it to a group does that. Raises `FramingError`."""
    parsed = parse_message(message)
    if not isinstance(parsed, KeyPackage):
        raise FramingError("this is not a key package")
    return parsed


@dataclass(frozen=True)
class Client:
    """`rng` gives randomness (`os.urandom`, or a seeded one in tests)."""

    signer: Signer
    credential: Credential
    authority: Authority
    suite: CipherSuite = XWING_AES256GCM_SHA384
    rng: Rng = os.urandom
    extensions_supported: tuple[int, ...] = ()
    max_lifetime_s: int = KEY_PACKAGE_LIFETIME_S + CLOCK_GRACE_S

    def _leaf(self, encryption_key: bytes, now: float) -> LeafNode:
        lifetime = Lifetime(int(now) - CLOCK_GRACE_S, int(now) - CLOCK_GRACE_S + self.max_lifetime_s)
        capabilities = Capabilities((MLS10,), (self.suite.number,), self.extensions_supported, (), (self.credential.type,))
        key = self.signer.public_bytes
        return LeafNode(encryption_key, key, self.credential, capabilities, SOURCE_KEY_PACKAGE, lifetime)

    def new_key_package(self, now: float) -> OwnKeyPackage:
        """RFC 9420 §10. `now` is the present, POSIX seconds."""
        init_private, init_key = self.suite.generate_key_pair(self.rng)
        private_key, encryption_key = self.suite.generate_key_pair(self.rng)
        leaf = self._leaf(encryption_key, now).sign(self.suite, self.signer)
        package = KeyPackage(self.suite.number, init_key, leaf).sign(self.suite, self.signer)
        return OwnKeyPackage(encode_message(package), package.reference(self.suite), init_private, private_key)

    def _group(self, state: State) -> Group:
        return Group(state, self.signer, self.authority, self.rng, self.max_lifetime_s)

    def create(self, group_id: bytes, now: float, extensions: Extensions = ()) -> Group:
        """A new group with this device alone, in epoch 0 (RFC 9420 §11). Store `serialise()` before a first step is adopted."""
        private_key, encryption_key = self.suite.generate_key_pair(self.rng)
        leaf = self._leaf(encryption_key, now).sign(self.suite, self.signer)
        tree = RatchetTree.of_one(self.suite, leaf)
        context = GroupContext(self.suite.number, group_id, 0, tree.hash(), b"", extensions)
        check_leaf(self.suite, leaf, context, 0, (SOURCE_KEY_PACKAGE,))
        secrets = EpochSecrets.of(self.suite, self.rng(self.suite.hash_bytes))
        tag = self.suite.mac(secrets.confirmation, b"")
        return self._group(epochs.enter(self.suite, context, tree, 0, {0: private_key}, secrets, tag, None))

    def restore(self, stored: bytes) -> Group:
        """A group as it was stored. Raises `FramingError` for other bytes, and for a group of another suite or key."""
        state = State.restore(stored)
        leaf = state.tree.leaf(state.own_leaf)
        if state.suite is not self.suite or leaf is None or leaf.signature_key != self.signer.public_bytes:
            raise FramingError("the stored group belongs to another device key or cipher suite")
        return self._group(state)

    def join(
        self, welcome: bytes, key_packages: Sequence[OwnKeyPackage], *, tree: bytes | None = None, psks: PreSharedKeys = NO_PSKS
    ) -> tuple[Group, OwnKeyPackage]:
        """Join by a Welcome (RFC 9420 §12.4.3.1): the group, and the key package that is used up.

        Store the group's `serialise()` before the key package is deleted. Raises a `MessageRefused` by name; nothing is used up then.
        """
        parsed, secrets, own = self._opened(welcome, key_packages)
        return self._group(self._welcomed(parsed, secrets, own, tree, psks)), own

    def tree_apart(self, welcome: bytes, key_packages: Sequence[OwnKeyPackage], *, psks: PreSharedKeys = NO_PSKS) -> int | None:
        """The epoch whose ratchet tree `join` has to be given; None if the Welcome brings it. Raises as `join` does."""
        parsed, secrets, _ = self._opened(welcome, key_packages)
        info = self._group_info(parsed, secrets, epochs.with_psks(self.suite, secrets.psks, psks))
        return info.group_context.epoch if find_extension(info.extensions, RATCHET_TREE) is None else None

    def _opened(self, welcome: bytes, key_packages: Sequence[OwnKeyPackage]) -> tuple[Welcome, GroupSecrets, OwnKeyPackage]:
        """The secrets in a Welcome that are for one of these key packages."""
        parsed = parse_message(welcome)
        if not isinstance(parsed, Welcome):
            raise WelcomeRefused("this is not a Welcome")
        if parsed.cipher_suite != self.suite.number:
            raise WelcomeRefused("the Welcome is of another cipher suite")
        for own in key_packages:
            for entry in parsed.secrets:
                if entry.new_member == own.reference:
                    sealed = entry.encrypted_group_secrets
                    plain = self.suite.decrypt_with_label(
                        own.init_private_key, "Welcome", parsed.encrypted_group_info, sealed.kem_output, sealed.ciphertext
                    )
                    return parsed, parse_whole(plain, GroupSecrets.parse), own
        raise WelcomeRefused("the Welcome was made for a key package that this device no longer has")

    def _group_info(self, welcome: Welcome, secrets: GroupSecrets, psk_secret: bytes) -> GroupInfo:
        """Opened, its signature not verified yet."""
        key, nonce = key_schedule.welcome_key(self.suite, key_schedule.welcome_secret_of(self.suite, secrets.joiner_secret, psk_secret))
        return parse_whole(self.suite.open(key, nonce, b"", welcome.encrypted_group_info), GroupInfo.parse)

    def _welcomed(
        self, welcome: Welcome, secrets: GroupSecrets, own: OwnKeyPackage, tree_apart: bytes | None, psks: PreSharedKeys
    ) -> State:
        suite = self.suite
        special = [psk for psk in secrets.psks if psk.psk_id is None and psk.usage != USAGE_APPLICATION]
        if len(special) > 1 or len({psk.encode() for psk in secrets.psks}) != len(secrets.psks):
            raise WelcomeRefused("a Welcome names a pre-shared key twice, or more than one for re-initialisation or branching")
        psk_secret = epochs.with_psks(suite, secrets.psks, psks)
        info = self._group_info(welcome, secrets, psk_secret)
        tree = self._checked_tree(info, tree_apart)
        if special and info.group_context.epoch != 1:
            raise WelcomeRefused("a re-initialised or branched group is joined in epoch 1 only")
        package = parse_key_package(own.message)
        own_leaf = next((index for index, leaf in tree.leaves() if leaf == package.leaf_node), None)
        if own_leaf is None or own_leaf == info.signer:
            raise WelcomeRefused("the tree of a Welcome does not hold this device's leaf")
        private_keys = {2 * own_leaf: own.encryption_private_key}
        if secrets.path_secret is not None:
            private_keys |= self._learn_path(tree, own_leaf, info.signer, secrets.path_secret)
        joined = key_schedule.from_joiner(suite, secrets.joiner_secret, psk_secret, info.group_context)
        epoch_secrets = EpochSecrets.of(suite, joined.epoch_secret)
        epochs.check_confirmation(suite, epoch_secrets, info.group_context, info.confirmation_tag)
        return epochs.enter(suite, info.group_context, tree, own_leaf, private_keys, epoch_secrets, info.confirmation_tag, None)

    def _learn_path(self, tree: RatchetTree, own_leaf: int, signer: int, path_secret: bytes) -> dict[int, bytes]:
        meeting = tree_math.common_ancestor(own_leaf, signer)
        nodes = [node for node in (meeting, *tree_math.direct_path(meeting, tree.leaf_count)) if tree.node(node) is not None]
        if not nodes or nodes[0] != meeting:
            raise WelcomeRefused("a Welcome brings a path secret for a blank node")
        _, private_keys, public_keys, _ = tree_kem.path_keys(self.suite, path_secret, nodes)
        if any(tree.encryption_key(node) != key for node, key in public_keys.items()):
            raise WelcomeRefused("the path secret of a Welcome does not yield the keys of the tree")
        return private_keys

    def _checked_tree(self, info: GroupInfo, tree_apart: bytes | None) -> RatchetTree:
        """The verified tree of a verified GroupInfo (RFC 9420 §12.4.3.1)."""
        if info.group_context.cipher_suite != self.suite.number:
            raise WelcomeRefused("the GroupInfo is of another cipher suite")
        encoded = find_extension(info.extensions, RATCHET_TREE)
        if encoded is None:
            encoded = tree_apart
        if encoded is None:
            raise WelcomeRefused("the ratchet tree is neither in the GroupInfo nor given apart")
        tree = RatchetTree.parse(self.suite, encoded)
        info.verify_signature(self.suite, tree.leaf(info.signer))
        check_tree(tree, info.group_context, self.authority)
        return tree

    def join_externally(
        self, group_info: bytes, now: float, *, tree: bytes | None = None, replaces: int | None = None, psks: Sequence[PreSharedKey] = (),
        held: PreSharedKeys = NO_PSKS,
    ) -> tuple[Group, CommitBytes]:  # fmt: skip
        """Join by a commit of one's own (RFC 9420 §12.4.3.2). `replaces` is the leaf that this device had before and has lost the state of.

        The group is as it will be once the server accepted the commit: store its `serialise()` before the commit is sent, and drop it if
        the server refuses. Raises a `MessageRefused` by name.
        """
        info = parse_message(group_info)
        if not isinstance(info, GroupInfo):
            raise WelcomeRefused("this is not a GroupInfo")
        old_tree, suite, context = self._checked_tree(info, tree), self.suite, info.group_context
        external = find_extension(info.extensions, EXTERNAL_PUB)
        if external is None:
            raise WelcomeRefused("the GroupInfo does not let others join by themselves")
        kem_output, init_secret = suite.export_to(parse_whole(external, Reader.vector), EXTERNAL_INIT_LABEL, suite.hash_bytes, self.rng)
        sender = Sender(SenderType.NEW_MEMBER_COMMIT)
        proposals: list[Proposal] = [ExternalInit(kem_output), *psks]
        if replaces is not None:
            proposals.append(Remove(replaces))
        listed = [Listed(proposal, sender) for proposal in proposals]
        check_external_list(suite, listed, old_tree)
        applied = apply_proposals(old_tree, context, listed, self.authority, None)
        _, first_key = suite.generate_key_pair(self.rng)
        own_leaf = applied.tree.add(self._leaf(first_key, now))
        path = tree_kem.new_path(applied.tree, own_leaf, self._leaf(first_key, now), context.group_id, self.signer, self.rng)
        check_leaf(suite, path.leaf_node, context, own_leaf, (path.leaf_node.source,))
        applied.tree.check_unique_keys()
        check_compatible(applied.tree)
        provisional = epochs.provisional_context(context, applied)
        sealed = tree_kem.seal_path(applied.tree, own_leaf, path, provisional.encode(), frozenset())
        framed = FramedContent(context.group_id, context.epoch, sender, b"", Commit(tuple(proposals), sealed))
        signed = sign_content(suite, self.signer, framed, WireFormat.PUBLIC_MESSAGE, context)
        interim = key_schedule.interim_transcript_hash(suite, context.confirmed_transcript_hash, info.confirmation_tag)
        secrets = (init_secret, path.commit_secret, epochs.with_psks(suite, applied.psks, held))
        commit_input = VerifiedContent(WireFormat.PUBLIC_MESSAGE, framed, signed.signature, None).confirmed_transcript_input()
        following = epochs.derive_next(suite, provisional, interim, commit_input, secrets)
        tag = following.confirmation_tag
        state = epochs.enter(suite, following.context, applied.tree, own_leaf, path.private_keys, following.secrets, tag, None)
        message = encode_message(PublicMessage(replace(signed, confirmation_tag=tag), None))
        return self._group(state), CommitBytes(context.epoch, message, None, None)
