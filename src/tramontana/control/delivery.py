"""The delivery service (RFC 9750 §5): at most one accepted commit per epoch, every message once and in order.

It reads the outside of MLS messages only. A commit is accepted, recorded and put into every mailbox in one transaction, so rivals see
either all of it or nothing; what was accepted survives the death of the process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.hub import Hub
from tramontana.control.problem import Problem
from tramontana.control.store import attachments, audit, conversations, key_packages, mailbox, trees
from tramontana.control.store.database import Store
from tramontana.control.together import Together
from tramontana.keys.mls.framing import SUITE, ContentType, FramingError, Welcome, parse_private_message, parse_welcome

EPOCHS_BACK = 2
"""Application messages of the current epoch and this many before it are accepted."""

NO_GROUP = conversations.MlsGroup(0, {})


@dataclass(frozen=True, slots=True)
class Sender:
    """The authenticated device that submits something."""

    device_id: str
    account_id: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a commit: the epoch from now on."""

    epoch: int
    accepted_at: float


def _digest(commit: bytes, welcome: bytes | None) -> bytes:
    return hashlib.sha256(hashlib.sha256(commit).digest() + hashlib.sha256(welcome or b"").digest()).digest()


def _read_head(conversation_id: str, message: bytes, content_type: ContentType) -> int:
    """The epoch in the framing. Raises `Problem`."""
    try:
        head = parse_private_message(message)
    except FramingError as error:
        raise Problem("bad_mls_message", str(error)) from error
    if head.group_id != bytes.fromhex(conversation_id):
        raise Problem("bad_mls_message", "the group id in the message is not this conversation's")
    if head.content_type is not content_type:
        raise Problem("bad_mls_message", f"the message carries {head.content_type.name.lower()}, not {content_type.name.lower()}")
    return head.epoch


def _read_welcome(message: bytes | None) -> Welcome | None:
    if message is None:
        return None
    try:
        welcome = parse_welcome(message)
    except FramingError as error:
        raise Problem("bad_mls_message", str(error)) from error
    if welcome.cipher_suite != SUITE:
        raise Problem("bad_mls_message", f"the welcome is of cipher suite {welcome.cipher_suite:#06x}, not {SUITE:#06x}")
    return welcome


@dataclass(frozen=True, slots=True)
class _Submission:
    """An application message as its sender submits it, and the epoch that it is of."""

    sender: Sender
    message_id: str
    sent: mailbox.Sent
    epoch: int
    payload: bytes = field(repr=False)
    told: Collection[str]

    @property
    def name(self) -> tuple[str, str]:
        return self.sender.device_id, self.message_id

    def letter(self, joined: Mapping[str, conversations.Joined]) -> mailbox.Letter:
        """To whom it goes.

        A device that joined later than the message's epoch could not decrypt it. One whose account was taken off the list is not out
        of the group before the commit that removes it, but it gets no content from now on.
        """
        receivers = frozenset(
            device_id
            for device_id, its in joined.items()
            if its.epoch <= self.epoch and its.is_member and device_id != self.sender.device_id
        )
        sent = self.sent
        return mailbox.Letter(sent.conversation_id, "application", self.sender.device_id, self.payload, sent.accepted_at, receivers)


def _repeated(submission: _Submission, earlier: mailbox.Sent) -> float | Problem:
    """The answer to a message under an id that was accepted already."""
    if (earlier.conversation_id, earlier.digest) != (submission.sent.conversation_id, submission.sent.digest):
        return Problem("message_id_reused")
    return earlier.accepted_at


class Delivery:
    """Takes commits and messages of authenticated devices and puts them into mailboxes."""

    def __init__(self, store: Store, hub: Hub, clock: Callable[[], float]) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock
        self._messages = Together(self._accept_messages)

    async def submit_commit(
        self,
        sender: Sender,
        conversation_id: str,
        epoch: int,
        commit: bytes,
        welcome: bytes | None,
        removed: Collection[str] = (),
    ) -> Accepted:
        """Accept the first commit of an epoch. A repeat of the accepted one gets the same answer; a rival gets `epoch_taken`.

        removed: the devices that the commit takes out of the group, which only its sender can tell. They get this commit and nothing
        after it. Raises `Problem`.
        """
        now = self._clock()
        if _read_head(conversation_id, commit, ContentType.COMMIT) != epoch:
            raise Problem("bad_mls_message", "the epoch in the message is not the epoch of the request")
        admission = _read_welcome(welcome)
        digest = _digest(commit, welcome)
        taken_at: int | None = None
        receivers: set[str] = set()
        async with self._store.write() as connection:
            conversation = await self._conversation(connection, sender, conversation_id)
            current = conversation.epoch or 0
            if epoch != current:
                earlier = await conversations.commit_of(connection, conversation_id, epoch)
                if earlier and (earlier.device_id, earlier.digest) == (sender.device_id, digest):
                    return Accepted(epoch + 1, earlier.accepted_at)
                if epoch > current:
                    raise Problem("epoch_out_of_range", epoch=current)
                taken_at = current
                details = {"epoch": epoch, "current": current}
                await self._audit(connection, sender, "commit.refused", conversation_id, details, now)
            else:
                receivers = await self._accept(connection, sender, conversation, epoch, commit, welcome, admission, removed, digest, now)
        if taken_at is not None:
            raise Problem("epoch_taken", epoch=taken_at)
        self._hub.mail(receivers)
        return Accepted(epoch + 1, now)

    async def _accept(
        self,
        connection: AsyncConnection,
        sender: Sender,
        conversation: conversations.Conversation,
        epoch: int,
        commit: bytes,
        welcome: bytes | None,
        admission: Welcome | None,
        removed: Collection[str],
        digest: bytes,
        now: float,
    ) -> set[str]:
        conversation_id = conversation.conversation_id
        joined = await conversations.joined_devices(connection, conversation_id)
        if conversation.epoch is not None and sender.device_id not in joined:
            raise Problem("not_joined")
        if sender.device_id in removed or not joined.keys() >= set(removed):
            raise Problem("removal_refused")
        welcomed = await self._welcomed(connection, sender, conversation_id, admission)
        await conversations.accept_commit(connection, conversation_id, epoch, conversations.Commit(sender.device_id, digest, now))
        await conversations.part(connection, conversation_id, removed)
        joining = welcomed | ({sender.device_id} if conversation.epoch is None else set())
        await conversations.join(connection, conversation_id, joining, epoch + 1)
        others = set(joined) - welcomed - {sender.device_id}
        letters = [mailbox.Letter(conversation_id, "commit", sender.device_id, commit, now, frozenset(others))]
        if welcome is not None:
            letters.append(mailbox.Letter(conversation_id, "welcome", sender.device_id, welcome, now, frozenset(welcomed)))
        if not all(await mailbox.put(connection, letters)):
            raise Problem("mailbox_full")
        await trees.keep_only(connection, conversation_id, epoch + 1, sender.device_id)
        details = {"epoch": epoch, "welcomed": sorted(welcomed), "removed": sorted(removed)}
        await self._audit(connection, sender, "commit.accepted", conversation_id, details, now)
        return others | welcomed

    async def _welcomed(self, connection: AsyncConnection, sender: Sender, conversation_id: str, admission: Welcome | None) -> set[str]:
        if admission is None:
            return set()
        by_reference = await key_packages.claimed_by_reference(connection, admission.new_members)
        members = await conversations.member_devices(connection, conversation_id)
        welcomed = set(by_reference.values())
        if len(by_reference) != len(admission.new_members) or not welcomed <= members or sender.device_id in welcomed:
            raise Problem("welcome_refused")
        return welcomed

    async def offer_tree(self, sender: Sender, conversation_id: str, epoch: int, tree: bytes) -> None:
        """Keep the ratchet tree that this device's next commit leads to. Raises `Problem`."""
        if len(tree) > trees.MAX_TREE_BYTES:
            raise Problem("too_large")
        async with self._store.write() as connection:
            conversation = await self._conversation(connection, sender, conversation_id)
            if conversation.epoch is not None and sender.device_id not in await conversations.joined_devices(connection, conversation_id):
                raise Problem("not_joined")
            if epoch != (conversation.epoch or 0) + 1:
                raise Problem("epoch_out_of_range", epoch=conversation.epoch or 0)
            await trees.offer(connection, conversation_id, epoch, sender.device_id, tree, self._clock())

    async def submit_message(
        self, sender: Sender, conversation_id: str, message_id: str, message: bytes, told: Collection[str] = ()
    ) -> float:
        """Accept an application message once; a repeat gets the first answer. Returns when it was accepted. Raises `Problem`.

        told: attachments that the message tells of: whoever it goes to may fetch them from now on.
        """
        now = self._clock()
        epoch = _read_head(conversation_id, message, ContentType.APPLICATION)
        sent = mailbox.Sent(conversation_id, hashlib.sha256(message).digest(), now)
        answer = await self._messages.ask(_Submission(sender, message_id, sent, epoch, message, told))
        if isinstance(answer, Problem):
            raise answer
        return answer

    async def _accept_messages(self, submissions: Sequence[_Submission]) -> Sequence[float | Problem]:
        """For each when it was accepted, now or before, or why it was not."""
        # Beside others: what this reads only a commit changes, and the rows that it writes are locked in order.
        answers, receivers = await self._store.beside(lambda connection: self._judge_messages(connection, submissions))
        self._hub.mail(receivers)
        return answers

    async def _judge_messages(
        self, connection: AsyncConnection, submissions: Sequence[_Submission]
    ) -> tuple[Sequence[float | Problem], frozenset[str]]:
        """The answers, and the devices that something was put into the mailbox of."""
        groups = await conversations.groups(connection, {each.sent.conversation_id for each in submissions})
        known = await mailbox.sent(connection, {each.name for each in submissions})
        answers: list[float | Problem | None] = []
        letters: dict[tuple[str, str], mailbox.Letter] = {}
        for each in submissions:
            group = groups.get(each.sent.conversation_id, NO_GROUP)
            answer = await self._known_or_refused(connection, each, group, known.get(each.name))
            answers.append(answer)
            if answer is None and each.name not in letters:  # else the same once more, before it was answered
                letters[each.name] = each.letter(group.joined)
        taken = dict(zip(letters, await mailbox.put(connection, list(letters.values())), strict=True))
        accepted: dict[tuple[str, str], mailbox.Sent] = {}
        told: dict[str, int] = {}
        for number, each in enumerate(submissions):
            if answers[number] is not None:
                continue
            if not taken[each.name]:
                answers[number] = Problem("mailbox_full")
                continue
            first = accepted.setdefault(each.name, each.sent)
            if first is each.sent:
                told.update(dict.fromkeys(each.told, each.epoch))
            answers[number] = _repeated(each, first)
        await attachments.release(connection, told)
        await mailbox.remember_sent(connection, accepted)
        mailed = frozenset[str]().union(*(letters[name].receivers for name in accepted))
        return [answer for answer in answers if answer is not None], mailed

    async def _known_or_refused(
        self, connection: AsyncConnection, each: _Submission, group: conversations.MlsGroup, known: mailbox.Sent | None
    ) -> float | Problem | None:
        """The answer to a message that is not to be put into mailboxes."""
        joined = group.joined.get(each.sender.device_id)
        if joined is None or not joined.is_member:
            is_member = await conversations.has_member(connection, each.sent.conversation_id, each.sender.account_id)
            if not is_member:
                return Problem("not_found")
        if known is not None:
            return _repeated(each, known)
        if joined is None:
            return Problem("not_joined")
        if not group.epoch - EPOCHS_BACK <= each.epoch <= group.epoch:
            return Problem("epoch_out_of_range", epoch=group.epoch)
        if not await attachments.may_tell(connection, each.told, each.sender.account_id, each.sent.conversation_id):
            return Problem("attachment_missing")
        return None

    async def _conversation(self, connection: AsyncConnection, sender: Sender, conversation_id: str) -> conversations.Conversation:
        conversation = await conversations.find(connection, conversation_id)
        if conversation is None or sender.account_id not in conversation.members:
            raise Problem("not_found")
        return conversation

    async def _audit(
        self, connection: AsyncConnection, sender: Sender, action: str, conversation_id: str, details: Mapping[str, object], now: float
    ) -> None:
        actor = audit.device_actor(sender.device_id)
        await audit.append(connection, now=now, actor=actor, action=action, subject=f"conversation {conversation_id}", details=details)
