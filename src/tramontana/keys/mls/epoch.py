"""From one epoch to the next, for whoever makes, processes or is welcomed by a commit (RFC 9420 §8, §12.4)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tramontana.keys.mls import key_schedule
from tramontana.keys.mls.codec import vector
from tramontana.keys.mls.errors import ConfirmationTagInvalid
from tramontana.keys.mls.key_schedule import EpochSecrets, Joined, PreSharedKeys
from tramontana.keys.mls.messages import GroupContext, PskId
from tramontana.keys.mls.nodes import EXTERNAL_PUB, RATCHET_TREE, Extension, Extensions
from tramontana.keys.mls.ratchet_tree import RatchetTree
from tramontana.keys.mls.secret_tree import SecretTree
from tramontana.keys.mls.state import PastEpoch, State, Status
from tramontana.keys.mls.suites import CipherSuite
from tramontana.keys.mls.validation import Applied

PAST_EPOCHS = 2
"""The server takes messages of the current epoch and of the two before (docs/protocols.md)."""
RESUMPTION_EPOCHS = 8
"""Epochs whose resumption key is kept."""


@dataclass(frozen=True)
class NextEpoch:
    """What both sides of a commit derive, before the confirmation tag is made or compared."""

    context: GroupContext
    joined: Joined = field(repr=False)
    secrets: EpochSecrets = field(repr=False)
    confirmation_tag: bytes


def provisional_context(context: GroupContext, applied: Applied) -> GroupContext:
    """The context that update paths are sealed under: of the next epoch, with the transcript of this one (RFC 9420 §12.4.1)."""
    return replace(context, epoch=context.epoch + 1, tree_hash=applied.tree.hash(), extensions=applied.extensions)


def with_psks(suite: CipherSuite, ids: Sequence[PskId], held: PreSharedKeys) -> bytes:
    """Raises `UnknownPsk`."""
    return key_schedule.psk_secret(suite, [(psk_id, held.find(psk_id)) for psk_id in ids])


def derive_next(
    suite: CipherSuite,
    context: GroupContext,
    interim_transcript_hash: bytes,
    commit_input: bytes,
    secrets: tuple[bytes, bytes, bytes],
) -> NextEpoch:
    """`context` is the provisional one, `secrets` are init secret, commit secret and PSK secret."""
    confirmed = key_schedule.confirmed_transcript_hash(suite, interim_transcript_hash, commit_input)
    context = replace(context, confirmed_transcript_hash=confirmed)
    joined = key_schedule.next_epoch(suite, *secrets, context)
    epoch_secrets = EpochSecrets.of(suite, joined.epoch_secret)
    return NextEpoch(context, joined, epoch_secrets, suite.mac(epoch_secrets.confirmation, confirmed))


def check_confirmation(suite: CipherSuite, secrets: EpochSecrets, context: GroupContext, tag: bytes | None) -> None:
    """RFC 9420 §6.1, §12.4.2. Raises `ConfirmationTagInvalid`."""
    if tag is None or not hmac.compare_digest(tag, suite.mac(secrets.confirmation, context.confirmed_transcript_hash)):
        raise ConfirmationTagInvalid("the confirmation tag does not match the keys that this device derived")


def enter(
    suite: CipherSuite,
    context: GroupContext,
    tree: RatchetTree,
    own_leaf: int,
    private_keys: Mapping[int, bytes],
    secrets: EpochSecrets,
    confirmation_tag: bytes,
    before: State | None,
) -> State:
    """The state at the start of an epoch. The encryption secret moves into the secret tree; keys of blank nodes are dropped."""
    past: tuple[PastEpoch, ...] = ()
    resumption: dict[int, bytes] = {}
    if before is not None:
        leaving = PastEpoch(before.context, before.secrets.sender_data, before.secret_tree, before.members)
        past = (*before.past, leaving)[-PAST_EPOCHS:]
        resumption = dict(before.resumption)
    resumption[context.epoch] = secrets.resumption
    return State(
        suite,
        context,
        tree,
        own_leaf,
        {node: key for node, key in private_keys.items() if node < 2 * tree.leaf_count - 1 and tree.node(node) is not None},
        replace(secrets, encryption=b""),
        SecretTree.of(tree.leaf_count, secrets.encryption),
        key_schedule.interim_transcript_hash(suite, context.confirmed_transcript_hash, confirmation_tag),
        confirmation_tag,
        past,
        dict(sorted(resumption.items())[-RESUMPTION_EPOCHS:]),
    )


def closed(state: State, status: Status) -> State:
    """A state that keeps nothing but where it ended: the keys are forgotten."""
    return replace(
        state,
        status=status,
        private_keys={},
        secrets=EpochSecrets(*(b"",) * 9),
        secret_tree=SecretTree(1, {}),
        past=(),
        proposals={},
        update_keys={},
        outstanding=None,
    )


def group_info_extensions(state: State, *, tree: bool, external: bool) -> Extensions:
    """ratchet_tree and external_pub (RFC 9420 §12.4.3)."""
    extensions = []
    if tree:
        extensions.append(Extension(RATCHET_TREE, state.tree.encode()))
    if external:
        _, public_key = state.suite.kem.derive_key_pair(state.secrets.external)
        extensions.append(Extension(EXTERNAL_PUB, vector(public_key)))
    return tuple(extensions)
