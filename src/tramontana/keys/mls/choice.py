"""Which of the waiting proposals a commit takes up (RFC 9420 §12.2): what one member proposes must not keep others from committing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tramontana.keys.mls.errors import MessageRefused
from tramontana.keys.mls.messages import ExternalInit, Proposal, ReInit, Remove, Sender, SenderType, Update
from tramontana.keys.mls.state import State
from tramontana.keys.mls.validation import Applied, Authority, Clock, Listed, apply_proposals, check_list


@dataclass(frozen=True)
class Waiting:
    """A proposal that was sent in this epoch."""

    reference: bytes
    proposal: Proposal
    sender: Sender


def choose(state: State, by_value: Sequence[Proposal], authority: Authority, clock: Clock) -> tuple[list[Waiting], Applied]:
    """The waiting proposals that make a valid list with the committer's own, and the tree after that list.

    All that do not contradict each other; where that list is invalid, one after the other as long as it stays valid. Raises
    `ProposalRefused` and kin where the committer's own are invalid.
    """

    def applied(waiting: Sequence[Waiting]) -> Applied:
        own = Sender(SenderType.MEMBER, state.own_leaf)
        listed = [Listed(each.proposal, each.sender, True) for each in waiting] + [Listed(proposal, own) for proposal in by_value]
        check_list(state.suite, listed, state.tree, state.context, state.own_leaf)
        return apply_proposals(state.tree, state.context, listed, authority, clock)

    candidates = _without_contradictions(state, by_value)
    try:
        return candidates, applied(candidates)
    except MessageRefused:
        best = applied([])
    chosen: list[Waiting] = []
    for candidate in candidates:
        try:
            best = applied([*chosen, candidate])
        except MessageRefused:
            continue
        chosen.append(candidate)
    return chosen, best


def _without_contradictions(state: State, by_value: Sequence[Proposal]) -> list[Waiting]:
    """Of proposals for one leaf the removal wins, then the latest; what concerns the committer's own leaf is for others to commit."""
    removed = {proposal.removed for proposal in by_value if isinstance(proposal, Remove)}
    removed |= {proposal.removed for proposal, _ in state.proposals.values() if isinstance(proposal, Remove)}
    taken: set[int] = {proposal.removed for proposal in by_value if isinstance(proposal, Remove)}
    exclusive = any(isinstance(proposal, ReInit) for proposal in by_value)
    chosen: list[Waiting] = []
    for reference, (proposal, sender) in reversed(list(state.proposals.items())):
        if exclusive or isinstance(proposal, ExternalInit):
            continue
        leaf = sender.index if isinstance(proposal, Update) else proposal.removed if isinstance(proposal, Remove) else None
        if leaf is not None:
            if leaf == state.own_leaf or leaf in taken or (isinstance(proposal, Update) and leaf in removed):
                continue
            taken.add(leaf)
        chosen.append(Waiting(reference, proposal, sender))
    return list(reversed(chosen))
