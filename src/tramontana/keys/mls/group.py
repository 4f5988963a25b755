"""A group (RFC 9420), seen through a strict and narrow door.

Whatever moves a ratchet is a *step*: it is computed first, its `state` is stored by the caller, and only `adopt` makes it the group's
own and hands out the bytes or the plaintext. A crash in between repeats work; it never uses a key twice. What does not verify changes
nothing. A commit of one's own stays outstanding, in the stored state as well, until `merge` or until another device's commit came first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar

from tramontana.keys.mls import epoch as epochs
from tramontana.keys.mls import key_schedule, tree_kem, tree_math
from tramontana.keys.mls.choice import choose
from tramontana.keys.mls.errors import (
    CommitRefused,
    FramingError,
    LeafRefused,
    NotActive,
    OwnMessage,
    PendingCommit,
    ProposalRefused,
    StaleStep,
    UnknownSender,
    WrongEpoch,
    WrongGroup,
)
from tramontana.keys.mls.framing import ContentType, WireFormat
from tramontana.keys.mls.key_schedule import NO_PSKS, PreSharedKeys
from tramontana.keys.mls.messages import (
    USAGE_APPLICATION,
    Add,
    Body,
    Commit,
    EncryptedGroupSecrets,
    FramedContent,
    GroupInfo,
    GroupSecrets,
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
    VerifiedContent,
    Welcome,
    encode_message,
    parse_message,
    sign_content,
)
from tramontana.keys.mls.nodes import SOURCE_COMMIT, SOURCE_UPDATE, Extensions, ExternalSender, LeafNode
from tramontana.keys.mls.outcomes import Application, CommitBytes, Committed, EpochKeys, Proposed, Received
from tramontana.keys.mls.protection import open_private, open_public, open_sender_data, seal_private, seal_public
from tramontana.keys.mls.state import Member, Outstanding, State, Status
from tramontana.keys.mls.suites import Rng, Signer
from tramontana.keys.mls.tree_kem import HpkeCiphertext
from tramontana.keys.mls.validation import (
    Applied,
    Authority,
    Clock,
    Listed,
    apply_proposals,
    check_compatible,
    check_credential,
    check_external_list,
    check_key_package,
    check_leaf,
    check_list,
    check_path_present,
    check_sender,
    path_required,
)

T = TypeVar("T")

EXTERNAL_INIT_LABEL = b"MLS 1.0 external init secret"  # RFC 9420 §8.3


@dataclass(frozen=True, eq=False)
class Step(Generic[T]):
    """A move that was computed and not made: store `state`, then `Group.adopt` it."""

    _before: State = field(repr=False)
    _after: State = field(repr=False)
    _result: T = field(repr=False)

    @cached_property
    def state(self) -> bytes:
        """The group after this step, to be stored, sealed, before the step is adopted."""
        return self._after.serialise()

    @property
    def outcome(self) -> T:
        """What `adopt` will hand out, for callers that store it in the same transaction. Nothing of it may be sent before."""
        return self._result


class Group:
    """One device's hold on one group. Made by `Client`."""

    def __init__(self, state: State, signer: Signer, authority: Authority, rng: Rng, max_lifetime_s: int) -> None:
        self._state = state
        self._signer = signer
        self._authority = authority
        self._rng = rng
        self._max_lifetime_s = max_lifetime_s

    # Reading

    @property
    def group_id(self) -> bytes:
        return self._state.context.group_id

    @property
    def epoch(self) -> int:
        return self._state.context.epoch

    @property
    def extensions(self) -> Extensions:
        return self._state.context.extensions

    @property
    def own_leaf(self) -> int:
        return self._state.own_leaf

    @property
    def status(self) -> Status:
        return self._state.status

    @property
    def successor(self) -> ReInit | None:
        """What the group is to be re-initialised as."""
        return self._state.reinit

    @property
    def members(self) -> list[Member]:
        return list(self._state.members.values())

    @property
    def waiting(self) -> Mapping[bytes, Proposal]:
        """Proposals of this epoch by reference, that no commit took up yet."""
        return {reference: proposal for reference, (proposal, _) in self._state.proposals.items()}

    @property
    def outstanding(self) -> CommitBytes | None:
        """The own commit that awaits the server's word, to be sent again after a restart."""
        waiting = self._state.outstanding
        return None if waiting is None else CommitBytes(waiting.epoch, waiting.commit, waiting.welcome, waiting.tree)

    @property
    def epoch_authenticator(self) -> bytes:
        """RFC 9420 §8.7: equal for all that are in the same epoch of the same group."""
        self._check_status(Status.ACTIVE, Status.REINITIALISED)
        return self._state.secrets.authenticator

    def export(self, label: str, context: bytes, length: int) -> bytes:
        """MLS-Exporter (RFC 9420 §8.5) of the present epoch."""
        return self.keys().export(label, context, length)

    def keys(self) -> EpochKeys:
        """The keys of the present epoch, held independently of what the group does next."""
        self._check_status(Status.ACTIVE, Status.REINITIALISED)
        return EpochKeys(self.epoch, self.own_leaf, tuple(self.members), self._state.suite, self._state.secrets.exporter)

    def resumption_keys(self) -> PreSharedKeys:
        """This group's resumption keys of the last epochs, for a successor or a branch (RFC 9420 §8.4)."""
        return PreSharedKeys(resumption={(self.group_id, epoch): key for epoch, key in self._state.resumption.items()})

    def group_info(self, *, tree: bool = True, external: bool = True) -> bytes:
        """An MLSMessage with the GroupInfo by which others join; `external` lets them join by a commit of their own."""
        self._check_status(Status.ACTIVE)
        return encode_message(_group_info(self._state, self._signer, tree=tree, external=external))

    def ratchet_tree(self) -> bytes:
        """For new members whose Welcome comes without it."""
        return self._state.tree.encode()

    def serialise(self) -> bytes:
        return self._state.serialise()

    # Moving

    def adopt(self, step: Step[T]) -> T:
        """Make a stored step the group's state. Raises `StaleStep` if another one was adopted since it was computed."""
        if step._before is not self._state:
            raise StaleStep("another step was adopted since this one was computed; compute it again")
        self._state = step._after
        return step._result

    def seal(self, plaintext: bytes, authenticated_data: bytes = b"") -> Step[bytes]:
        """Application data for all members: an MLSMessage. Proposals that wait must be committed first (RFC 9420 §12.4)."""
        self._check_status(Status.ACTIVE)
        if self._state.proposals:
            raise PendingCommit("proposals wait for a commit: commit them before application data is sent")
        message, state = self._frame(plaintext, authenticated_data, public=False)
        return Step(self._state, state, message)

    def propose(self, proposal: Proposal, *, now: float, public: bool = False) -> Step[bytes]:
        """Send a proposal for somebody to commit. Raises `ProposalRefused` and kin for one that nobody could accept."""
        self._check_status(Status.ACTIVE)
        if isinstance(proposal, Add):
            check_key_package(self._state.suite, proposal.key_package, self._state.context, self._authority, self._clock(now))
        if isinstance(proposal, Remove) and self._state.tree.leaf(proposal.removed) is None:
            raise ProposalRefused(f"leaf {proposal.removed} is blank: nobody can be removed there")
        check_sender(proposal, Sender(SenderType.MEMBER, self.own_leaf))
        message, state = self._frame(proposal, b"", public=public)
        return Step(self._state, state, message)

    def propose_update(self, *, public: bool = False) -> Step[bytes]:
        """Offer a fresh leaf key, to be committed by another member."""
        self._check_status(Status.ACTIVE)
        state = self._state
        private_key, encryption_key = state.suite.generate_key_pair(self._rng)
        leaf = replace(self._own_leaf_node(), encryption_key=encryption_key, source=SOURCE_UPDATE, lifetime=None, parent_hash=None)
        leaf = leaf.sign(state.suite, self._signer, self.group_id, self.own_leaf)
        kept = replace(state, update_keys={**state.update_keys, encryption_key: private_key})
        message, after = self._frame(Update(leaf), b"", public=public, state=kept)
        return Step(self._state, after, message)

    def psk(self, psk_id: bytes) -> PreSharedKey:
        """A proposal to mix in an external pre-shared key."""
        return PreSharedKey(PskId(self._rng(self._state.suite.hash_bytes), psk_id))

    def resumption_psk(self, epoch: int, *, usage: int = USAGE_APPLICATION, group_id: bytes | None = None) -> PreSharedKey:
        """A proposal to mix in what the members of an earlier epoch (or of another group) share."""
        nonce = self._rng(self._state.suite.hash_bytes)
        return PreSharedKey(PskId(nonce, None, usage, self.group_id if group_id is None else group_id, epoch))

    def commit(
        self,
        *proposals: Proposal,
        now: float,
        psks: PreSharedKeys = NO_PSKS,
        renew: bool = False,
        public: bool = False,
        tree_in_welcome: bool = True,
    ) -> Step[CommitBytes]:
        """Commit these proposals and those that wait; with none, or with `renew`, renew this device's keys.

        The group itself moves only with `merge`. Raises `ProposalRefused` and kin, `UnknownPsk`, and `PendingCommit` where one is
        outstanding already.
        """
        self._check_status(Status.ACTIVE)
        if self._state.outstanding is not None:
            raise PendingCommit("a commit of this device awaits the server's answer; merge or discard it first")
        state, suite = self._state, self._state.suite
        own = Sender(SenderType.MEMBER, self.own_leaf)
        waiting, applied = choose(state, proposals, self._authority, self._clock(now))
        listed = [Listed(each.proposal, each.sender, True) for each in waiting] + [Listed(proposal, own) for proposal in proposals]
        path, commit_secret, new_path = None, bytes(suite.hash_bytes), None
        private_keys = dict(state.private_keys)
        if renew or path_required(listed):
            new_path = tree_kem.new_path(applied.tree, self.own_leaf, self._own_leaf_node(), self.group_id, self._signer, self._rng)
            context = epochs.provisional_context(state.context, applied)
            path = tree_kem.seal_path(applied.tree, self.own_leaf, new_path, context.encode(), applied.added_leaves)
            commit_secret = new_path.commit_secret
            private_keys.update(new_path.private_keys)
        else:
            context = epochs.provisional_context(state.context, applied)
        items = (*(ProposalRef(each.reference) for each in waiting), *proposals)
        wire_format = WireFormat.PUBLIC_MESSAGE if public else WireFormat.PRIVATE_MESSAGE
        framed = FramedContent(self.group_id, self.epoch, own, b"", Commit(items, path))
        signed = sign_content(suite, self._signer, framed, wire_format, state.context)
        secrets = (state.secrets.init, commit_secret, epochs.with_psks(suite, applied.psks, self._held(psks)))
        commit_input = VerifiedContent(wire_format, framed, signed.signature, None).confirmed_transcript_input()
        following = epochs.derive_next(suite, context, state.interim_transcript_hash, commit_input, secrets)
        after = epochs.enter(
            suite, following.context, applied.tree, self.own_leaf, private_keys, following.secrets, following.confirmation_tag, state
        )
        if applied.reinit is not None:
            after = replace(after, status=Status.REINITIALISED, reinit=applied.reinit)
        welcome = None
        if applied.added:
            secret = following.joined
            welcome = encode_message(_welcome(after, self._signer, applied, secret, new_path, tree_in_welcome=tree_in_welcome))
        message, before = self._protect(replace(signed, confirmation_tag=following.confirmation_tag), state)
        tree = after.tree.encode() if welcome is not None and not tree_in_welcome else None
        outstanding = Outstanding(self.epoch, message, welcome, tree, after)
        result = CommitBytes(self.epoch, message, welcome, tree)
        return Step(self._state, replace(before, outstanding=outstanding), result)

    def merge(self) -> Step[Committed]:
        """The server accepted the outstanding commit: enter its epoch."""
        waiting = self._state.outstanding
        if waiting is None:
            raise PendingCommit("no commit of this device is outstanding")
        # Messages of this epoch may have been opened while the commit was outstanding: their keys must not come back.
        past = waiting.next.past
        if past and past[-1].context.epoch == self.epoch:
            past = (*past[:-1], replace(past[-1], secret_tree=self._state.secret_tree))
        kept = {each.context.epoch: each for each in self._state.past}
        after = replace(waiting.next, past=tuple(kept.get(each.context.epoch, each) for each in past))
        return Step(self._state, after, _committed(self._state, after, self.own_leaf))

    def discard(self) -> Step[None]:
        """The server refused the outstanding commit: forget it. Its key stays used."""
        if self._state.outstanding is None:
            raise PendingCommit("no commit of this device is outstanding")
        return Step(self._state, replace(self._state, outstanding=None), None)

    def receive(self, message: bytes, *, now: float | None = None, psks: PreSharedKeys = NO_PSKS) -> Step[Received]:
        """Open what the server delivered. Raises a `MessageRefused` by name, and then nothing has changed.

        `now` is when the server accepted the message, POSIX seconds: lifetimes of added leaves are judged by it; without it they are not
        judged (RFC 9420 §7.3 leaves that to the receiver).
        """
        self._check_status(Status.ACTIVE)
        parsed = parse_message(message)
        if isinstance(parsed, PrivateMessage):
            self._check_address(parsed.group_id, parsed.epoch, parsed.content_type)
            if parsed.content_type is ContentType.APPLICATION:
                return self._receive_application(parsed)
            sender = open_sender_data(self._state.suite, self._state.secrets.sender_data, parsed)
            if sender[0] == self.own_leaf:
                raise OwnMessage("this device sealed the message itself")
            self._member(sender[0])
            content, secret_tree = open_private(self._state.suite, self._state.secret_tree, parsed, sender)
            return self._receive_handshake(content, replace(self._state, secret_tree=secret_tree), now, psks)
        if isinstance(parsed, PublicMessage):
            framed = parsed.content.content
            self._check_address(framed.group_id, framed.epoch, ContentType.COMMIT)
            if framed.sender == Sender(SenderType.MEMBER, self.own_leaf):
                raise OwnMessage("this device sent the message itself")
            content = open_public(self._state.suite, self._state.secrets.membership, parsed, self._state.context)
            return self._receive_handshake(content, self._state, now, psks)
        raise FramingError("a Welcome, GroupInfo or KeyPackage is not for a group that one is in")

    # Inside

    def _clock(self, now: float) -> Clock:
        return Clock(now, self._max_lifetime_s)

    def _check_status(self, *allowed: Status) -> None:
        if self._state.status not in allowed:
            raise NotActive(f"this device's part in the group has ended ({self._state.status.name.lower()}); join the successor")

    def _own_leaf_node(self) -> LeafNode:
        leaf = self._state.tree.leaf(self.own_leaf)
        assert leaf is not None
        return leaf

    def _held(self, psks: PreSharedKeys) -> PreSharedKeys:
        return PreSharedKeys(psks.external, {**psks.resumption, **self.resumption_keys().resumption})

    def _frame(self, body: Body, authenticated_data: bytes, *, public: bool, state: State | None = None) -> tuple[bytes, State]:
        state = self._state if state is None else state
        wire_format = WireFormat.PUBLIC_MESSAGE if public else WireFormat.PRIVATE_MESSAGE
        framed = FramedContent(self.group_id, self.epoch, Sender(SenderType.MEMBER, self.own_leaf), authenticated_data, body)
        signed = sign_content(state.suite, self._signer, framed, wire_format, state.context)
        message, after = self._protect(signed, state)
        if not isinstance(body, bytes | Commit):
            reference = VerifiedContent(wire_format, framed, signed.signature, None).proposal_reference(state.suite)
            after = replace(after, proposals={**after.proposals, reference: (body, framed.sender)})
        return message, after

    def _protect(self, content: UnverifiedContent, state: State) -> tuple[bytes, State]:
        if content.wire_format is WireFormat.PUBLIC_MESSAGE:
            return encode_message(seal_public(state.suite, state.secrets.membership, content, state.context)), state
        message, secret_tree = seal_private(state.suite, state.secrets.sender_data, state.secret_tree, content, self._rng)
        return encode_message(message), replace(state, secret_tree=secret_tree)

    def _check_address(self, group_id: bytes, epoch: int, content_type: ContentType) -> None:
        if group_id != self.group_id:
            raise WrongGroup("the message is of another group")
        if epoch > self.epoch:
            raise WrongEpoch(f"the message is of epoch {epoch}; this device is in {self.epoch}")
        if epoch < self.epoch and content_type is not ContentType.APPLICATION:
            raise WrongEpoch(f"a proposal or commit of epoch {epoch} came in epoch {self.epoch}")

    def _member(self, leaf_index: int) -> Member:
        leaf = self._state.tree.leaf(leaf_index)
        if leaf is None:
            raise UnknownSender(f"leaf {leaf_index} is blank")
        return Member(leaf_index, leaf.signature_key, leaf.credential)

    def _receive_application(self, message: PrivateMessage) -> Step[Received]:
        state, suite = self._state, self._state.suite
        if message.epoch == self.epoch:
            context, sender_data, secret_tree, members = state.context, state.secrets.sender_data, state.secret_tree, None
        else:
            past = next((each for each in state.past if each.context.epoch == message.epoch), None)
            if past is None:
                raise WrongEpoch(f"the keys of epoch {message.epoch} are erased")
            context, sender_data, secret_tree, members = past.context, past.sender_data, past.secret_tree, past.members
        sender = open_sender_data(suite, sender_data, message)
        if members is None:
            member = self._member(sender[0])
        elif (found := members.get(sender[0])) is None:
            raise UnknownSender(f"leaf {sender[0]} was blank in epoch {message.epoch}")
        else:
            member = found
        if sender[0] == self.own_leaf and member.signature_key == self._signer.public_bytes:
            raise OwnMessage("this device sealed the message itself")
        content, advanced = open_private(suite, secret_tree, message, sender)
        verified = content.verify(suite, member.signature_key, context)
        assert isinstance(verified.content.body, bytes)
        if members is None:
            after = replace(state, secret_tree=advanced)
        else:
            moved = (replace(each, secret_tree=advanced) if each.context.epoch == message.epoch else each for each in state.past)
            after = replace(state, past=tuple(moved))
        received = Application(member, verified.content.body, verified.content.authenticated_data, message.epoch)
        return Step(state, after, received)

    def _receive_handshake(self, content: UnverifiedContent, state: State, now: float | None, psks: PreSharedKeys) -> Step[Received]:
        verified = content.verify(state.suite, self._signature_key(content.content), state.context)
        body = verified.content.body
        if isinstance(body, Commit):
            after, received = self._process_commit(state, verified, body, now, psks)
            return Step(self._state, after, received)
        assert not isinstance(body, bytes)
        sender = verified.content.sender
        check_sender(body, sender)
        clock = None if now is None else self._clock(now)
        if isinstance(body, Add):
            check_key_package(state.suite, body.key_package, state.context, self._authority, clock)
        if isinstance(body, Update):
            old = state.tree.leaf(sender.index)
            check_leaf(state.suite, body.leaf_node, state.context, sender.index, (SOURCE_UPDATE,))
            check_credential(self._authority, body.leaf_node, None if old is None else old.credential)
            if old is not None and body.leaf_node.encryption_key == old.encryption_key:
                raise LeafRefused("an update keeps the old encryption key")
        reference = verified.proposal_reference(state.suite)
        member = self._member(sender.index) if sender.type is SenderType.MEMBER else None
        after = replace(state, proposals={**state.proposals, reference: (body, sender)})
        return Step(self._state, after, Proposed(member, body, reference))

    def _signature_key(self, content: FramedContent) -> bytes:
        """Whose key the content must be signed with (RFC 9420 §6.1). Raises `UnknownSender` and `ProposalRefused`."""
        sender, body = content.sender, content.body
        if sender.type is SenderType.MEMBER:
            return self._member(sender.index).signature_key
        if sender.type is SenderType.EXTERNAL:
            allowed = ExternalSender.all_of(self.extensions)
            if isinstance(body, Commit) or sender.index >= len(allowed):
                raise UnknownSender(f"external sender {sender.index} is not one of the group's")
            return allowed[sender.index].signature_key
        if sender.type is SenderType.NEW_MEMBER_PROPOSAL and isinstance(body, Add):
            return body.key_package.leaf_node.signature_key
        if sender.type is SenderType.NEW_MEMBER_COMMIT and isinstance(body, Commit) and body.path is not None:
            return body.path.leaf_node.signature_key
        raise ProposalRefused(f"a {sender.type.name.lower()} sender may not send this")

    def _listed(self, state: State, commit: Commit, sender: Sender) -> list[Listed]:
        listed = []
        for item in commit.proposals:
            if not isinstance(item, ProposalRef):
                listed.append(Listed(item, sender))
            elif (found := state.proposals.get(item.reference)) is None:
                raise CommitRefused("a commit refers to a proposal that this device has not seen")
            else:
                listed.append(Listed(*found, by_reference=True))
        return listed

    def _process_commit(
        self, state: State, verified: VerifiedContent, commit: Commit, now: float | None, psks: PreSharedKeys
    ) -> tuple[State, Committed]:
        """RFC 9420 §12.4.2."""
        suite, sender = state.suite, verified.content.sender
        joining = sender.type is SenderType.NEW_MEMBER_COMMIT
        listed = self._listed(state, commit, sender)
        if joining:
            check_external_list(suite, listed, state.tree)
        else:
            check_list(suite, listed, state.tree, state.context, sender.index)
        check_path_present(listed, has_path=commit.path is not None)
        applied = apply_proposals(state.tree, state.context, listed, self._authority, None if now is None else self._clock(now))
        committer = applied.tree.next_free_leaf() if joining else sender.index
        if self.own_leaf in applied.removed:
            after = epochs.closed(state, Status.REMOVED)
            return after, _committed(state, after, committer, applied)
        private_keys = dict(state.private_keys)
        if self.own_leaf in applied.updated:
            leaf = applied.tree.leaf(self.own_leaf)
            assert leaf is not None
            private_keys = {2 * self.own_leaf: state.update_keys[leaf.encryption_key]}
        commit_secret = bytes(suite.hash_bytes)
        if commit.path is not None:
            self._merge_path(applied, committer, commit.path, joining=joining, before=state)
        context = epochs.provisional_context(state.context, applied)
        if commit.path is not None:
            private_keys = {node: key for node, key in private_keys.items() if self._still_mine(state, applied, node)}
            learned, commit_secret = tree_kem.open_path(
                applied.tree, committer, self.own_leaf, commit.path, context.encode(), applied.added_leaves, private_keys
            )
            private_keys.update(learned)
        init_secret = state.secrets.init
        if applied.external_init is not None:
            external, _ = suite.kem.derive_key_pair(state.secrets.external)
            init_secret = suite.export_from(external, applied.external_init, EXTERNAL_INIT_LABEL, suite.hash_bytes)
        secrets = (init_secret, commit_secret, epochs.with_psks(suite, applied.psks, self._held(psks)))
        following = epochs.derive_next(suite, context, state.interim_transcript_hash, verified.confirmed_transcript_input(), secrets)
        epochs.check_confirmation(suite, following.secrets, following.context, verified.confirmation_tag)
        tag = following.confirmation_tag
        after = epochs.enter(suite, following.context, applied.tree, self.own_leaf, private_keys, following.secrets, tag, state)
        if applied.reinit is not None:
            after = replace(after, status=Status.REINITIALISED, reinit=applied.reinit)
        return after, _committed(state, after, committer, applied)

    def _still_mine(self, before: State, applied: Applied, node: int) -> bool:
        """Whether the key that this device has for a node is still the node's: proposals may have blanked or moved it."""
        if node == 2 * self.own_leaf:
            return True
        if node >= 2 * applied.tree.leaf_count - 1:
            return False
        current = applied.tree.node(node)
        return current is not None and current.encryption_key == before.tree.encryption_key(node)

    def _merge_path(self, applied: Applied, committer: int, path: tree_kem.UpdatePath, *, joining: bool, before: State) -> None:
        """Check a received path and put it into the tree (RFC 9420 §12.4.2, §7.5)."""
        suite = applied.tree.suite
        context = replace(before.context, extensions=applied.extensions)
        check_leaf(suite, path.leaf_node, context, committer, (SOURCE_COMMIT,))
        replaced = before.tree.leaf(applied.removed[0] if joining and applied.removed else committer)
        check_credential(
            self._authority, path.leaf_node, None if replaced is None or (joining and not applied.removed) else replaced.credential
        )
        if joining:
            applied.tree.add(path.leaf_node)
        tree_kem.check_path(applied.tree, committer, path, joining=joining)
        applied.tree.set_path(committer, path.leaf_node, [node.encryption_key for node in path.nodes])
        applied.tree.check_unique_keys()
        check_compatible(applied.tree)


def _committed(before: State, after: State, committer: int, applied: Applied | None = None) -> Committed:
    old, new = before.members, after.members
    sender = new.get(committer) or old[committer]
    removed_leaves = applied.removed if applied is not None else ()
    gone = tuple(old[leaf] for leaf in old if leaf in removed_leaves or (leaf in old and leaf not in new))
    come = tuple(new[leaf] for leaf in new if leaf not in old or leaf in removed_leaves)
    return Committed(sender, after.context.epoch, come, gone, after.status)


def _group_info(state: State, signer: Signer, *, tree: bool, external: bool) -> GroupInfo:
    extensions = epochs.group_info_extensions(state, tree=tree, external=external)
    return GroupInfo(state.context, extensions, state.confirmation_tag, state.own_leaf).sign(state.suite, signer)


def _welcome(
    after: State, signer: Signer, applied: Applied, joined: key_schedule.Joined, path: tree_kem.NewPath | None, *, tree_in_welcome: bool
) -> Welcome:
    """RFC 9420 §12.4.3.1."""
    suite = after.suite
    info = _group_info(after, signer, tree=tree_in_welcome, external=False)
    key, nonce = key_schedule.welcome_key(suite, joined.welcome_secret)
    sealed_info = suite.seal(key, nonce, b"", info.encode())
    secrets = []
    for leaf, key_package in applied.added:
        path_secret = None if path is None else path.path_secrets[tree_math.common_ancestor(after.own_leaf, leaf)]
        plain = GroupSecrets(joined.joiner_secret, path_secret, applied.psks).encode()
        sealed = HpkeCiphertext(*suite.encrypt_with_label(key_package.init_key, "Welcome", sealed_info, plain))
        secrets.append(EncryptedGroupSecrets(key_package.reference(suite), sealed))
    return Welcome(suite.number, tuple(secrets), sealed_info)
