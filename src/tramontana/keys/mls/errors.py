"""Why the MLS core refuses something. What a peer or the server sent gives a `MessageRefused` by name, and the group is as it was."""

from __future__ import annotations

from tramontana.errors import LocalError, RemoteError


class MessageRefused(RemoteError):
    """What arrived is not acceptable in this conversation; it was dropped and nothing changed."""


class FramingError(MessageRefused):
    """These bytes are not the MLS message that they should be; they were dropped. Encode an MLSMessage as in RFC 9420 §6."""


class WrongGroup(MessageRefused):
    """The message is of another conversation; hand it to that one."""


class WrongEpoch(MessageRefused):
    """The message is of an epoch that this device has not reached, or whose keys it has erased; fetch what is missing, or join again."""


class UnknownSender(MessageRefused):
    """Nobody with this place in the tree was in the group when the message was sealed."""


class OwnMessage(MessageRefused):
    """This device sealed that message itself; it needs no opening."""


class SignatureInvalid(MessageRefused):
    """A signature does not verify: the content was not made by whom it names."""


class MembershipTagInvalid(MessageRefused):
    """A public message whose membership tag does not verify was made outside the group."""


class ConfirmationTagInvalid(MessageRefused):
    """The committer derived other keys than this device: his commit or GroupInfo leads to another group state."""


class DecryptionFailed(MessageRefused):
    """The ciphertext is not authentic under the keys of this group."""


class KeyAlreadyUsed(MessageRefused):
    """The key of this message was used, or has been erased: the message is a repeat, or came much too late."""


class TooFarAhead(MessageRefused):
    """The message claims more skipped predecessors than this device is willing to compute."""


class CredentialRefused(MessageRefused):
    """The authority does not vouch for this name with this signature key; get the device certified."""


class LeafRefused(MessageRefused):
    """A leaf node breaks a rule of RFC 9420 §7.3."""


class KeyPackageRefused(MessageRefused):
    """A key package breaks a rule of RFC 9420 §10.1; claim another one."""


class TreeRefused(MessageRefused):
    """The ratchet tree breaks a rule of RFC 9420 §7 or is not the one that the GroupInfo means."""


class ProposalRefused(MessageRefused):
    """A proposal, or the list of a commit, breaks a rule of RFC 9420 §12."""


class CommitRefused(MessageRefused):
    """A commit breaks a rule of RFC 9420 §12.4."""


class WelcomeRefused(MessageRefused):
    """A Welcome or GroupInfo breaks a rule of RFC 9420 §12.4.3."""


class UnknownPsk(MessageRefused):
    """A pre-shared key is demanded that this device does not hold; obtain it, then process the message again."""


class NotActive(LocalError):
    """This device was removed, or the group was re-initialised: nothing can be done in it; join the successor."""


class StaleStep(LocalError):
    """Another step was adopted since this one was computed; compute it again."""


class PendingCommit(LocalError):
    """A commit of this device awaits the server's answer; merge or discard it first."""
