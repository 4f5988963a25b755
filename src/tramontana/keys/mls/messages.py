"""Everything that MLS sends: proposals, commits, framed content, Welcome, GroupInfo, MLSMessage (RFC 9420 §6, §8.1, §12)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from tramontana.keys.mls.codec import Reader, optional, parse_whole, uint, vector, vector_of
from tramontana.keys.mls.errors import FramingError, SignatureInvalid
from tramontana.keys.mls.framing import MLS10, ContentType, WireFormat
from tramontana.keys.mls.nodes import Extensions, KeyPackage, LeafNode, parse_extensions
from tramontana.keys.mls.suites import CipherSuite, Signer
from tramontana.keys.mls.tree_kem import HpkeCiphertext, UpdatePath

PSK_EXTERNAL = 1  # RFC 9420 §8.4, PSKType
PSK_RESUMPTION = 2
USAGE_APPLICATION = 1  # RFC 9420 §8.4, ResumptionPSKUsage
USAGE_REINIT = 2
USAGE_BRANCH = 3


@dataclass(frozen=True)
class GroupContext:
    """RFC 9420 §8.1."""

    cipher_suite: int
    group_id: bytes
    epoch: int
    tree_hash: bytes
    confirmed_transcript_hash: bytes
    extensions: Extensions = ()

    @classmethod
    def parse(cls, reader: Reader) -> GroupContext:
        if (version := reader.uint(2)) != MLS10:
            raise FramingError(f"the group is of protocol version {version}, not mls10")
        return cls(reader.uint(2), reader.vector(), reader.uint(8), reader.vector(), reader.vector(), parse_extensions(reader))

    def encode(self) -> bytes:
        head = uint(MLS10, 2) + uint(self.cipher_suite, 2) + vector(self.group_id) + uint(self.epoch, 8)
        return head + vector(self.tree_hash) + vector(self.confirmed_transcript_hash) + vector_of(self.extensions)


@dataclass(frozen=True)
class PskId:
    """PreSharedKeyID (RFC 9420 §8.4): `psk_id` of an external one, or usage, group and epoch of a resumption one."""

    nonce: bytes
    psk_id: bytes | None = None
    usage: int = 0
    group_id: bytes = b""
    epoch: int = 0

    @classmethod
    def parse(cls, reader: Reader) -> PskId:
        if (kind := reader.uint(1)) == PSK_EXTERNAL:
            psk_id = reader.vector()
            return cls(reader.vector(), psk_id)
        if kind != PSK_RESUMPTION:
            raise FramingError(f"unknown type of pre-shared key {kind}")
        if not USAGE_APPLICATION <= (usage := reader.uint(1)) <= USAGE_BRANCH:
            raise FramingError(f"unknown usage of a resumption key {usage}")
        group_id, epoch = reader.vector(), reader.uint(8)
        return cls(reader.vector(), None, usage, group_id, epoch)

    def encode(self) -> bytes:
        if self.psk_id is not None:
            return uint(PSK_EXTERNAL, 1) + vector(self.psk_id) + vector(self.nonce)
        return uint(PSK_RESUMPTION, 1) + uint(self.usage, 1) + vector(self.group_id) + uint(self.epoch, 8) + vector(self.nonce)


# Proposals (RFC 9420 §12.1)


@dataclass(frozen=True)
class Add:
    key_package: KeyPackage
    TYPE = 1

    def encode(self) -> bytes:
        return uint(self.TYPE, 2) + self.key_package.encode()


@dataclass(frozen=True)
class Update:
    leaf_node: LeafNode
    TYPE = 2

    def encode(self) -> bytes:
        return uint(self.TYPE, 2) + self.leaf_node.encode()


@dataclass(frozen=True)
class Remove:
    removed: int
    """Leaf index."""
    TYPE = 3

    def encode(self) -> bytes:
        return uint(self.TYPE, 2) + uint(self.removed, 4)


@dataclass(frozen=True)
class PreSharedKey:
    psk: PskId
    TYPE = 4

    def encode(self) -> bytes:
        return uint(self.TYPE, 2) + self.psk.encode()


@dataclass(frozen=True)
class ReInit:
    """The group ends; a successor with these parameters takes its place (RFC 9420 §11.2, §12.1.5)."""

    group_id: bytes
    cipher_suite: int
    extensions: Extensions = ()
    version: int = MLS10
    TYPE = 5

    def encode(self) -> bytes:
        return uint(self.TYPE, 2) + vector(self.group_id) + uint(self.version, 2) + uint(self.cipher_suite, 2) + vector_of(self.extensions)


@dataclass(frozen=True)
class ExternalInit:
    kem_output: bytes
    TYPE = 6

    def encode(self) -> bytes:
        return uint(self.TYPE, 2) + vector(self.kem_output)


@dataclass(frozen=True)
class GroupContextExtensions:
    extensions: Extensions
    TYPE = 7

    def encode(self) -> bytes:
        return uint(self.TYPE, 2) + vector_of(self.extensions)


Proposal = Add | Update | Remove | PreSharedKey | ReInit | ExternalInit | GroupContextExtensions


def _parse_reinit(reader: Reader) -> ReInit:
    group_id, version, cipher_suite = reader.vector(), reader.uint(2), reader.uint(2)
    return ReInit(group_id, cipher_suite, parse_extensions(reader), version)


def parse_proposal(reader: Reader) -> Proposal:
    """Raises `FramingError`, also for types that this core does not know: we announce no others."""
    match reader.uint(2):
        case Add.TYPE:
            return Add(KeyPackage.parse(reader))
        case Update.TYPE:
            return Update(LeafNode.parse(reader))
        case Remove.TYPE:
            return Remove(reader.uint(4))
        case PreSharedKey.TYPE:
            return PreSharedKey(PskId.parse(reader))
        case ReInit.TYPE:
            return _parse_reinit(reader)
        case ExternalInit.TYPE:
            return ExternalInit(reader.vector())
        case GroupContextExtensions.TYPE:
            return GroupContextExtensions(parse_extensions(reader))
        case unknown:
            raise FramingError(f"proposal type {unknown} is not supported here")


@dataclass(frozen=True)
class ProposalRef:
    """RFC 9420 §12.4: a proposal named by its hash."""

    reference: bytes

    def encode(self) -> bytes:
        return b"\x02" + vector(self.reference)


def _parse_proposal_or_ref(reader: Reader) -> Proposal | ProposalRef:
    if (kind := reader.uint(1)) == 1:
        return parse_proposal(reader)
    if kind == 2:
        return ProposalRef(reader.vector())
    raise FramingError(f"a commit holds neither proposal nor reference but {kind}")


@dataclass(frozen=True)
class Commit:
    """RFC 9420 §12.4."""

    proposals: tuple[Proposal | ProposalRef, ...]
    path: UpdatePath | None

    @classmethod
    def parse(cls, reader: Reader) -> Commit:
        return cls(reader.list_of(_parse_proposal_or_ref), reader.optional(UpdatePath.parse))

    def encode(self) -> bytes:
        items = [item.encode() if isinstance(item, ProposalRef) else b"\x01" + item.encode() for item in self.proposals]
        return vector(b"".join(items)) + optional(None if self.path is None else self.path.encode())


# Framing (RFC 9420 §6)


class SenderType(IntEnum):
    MEMBER = 1
    EXTERNAL = 2
    NEW_MEMBER_PROPOSAL = 3
    NEW_MEMBER_COMMIT = 4


@dataclass(frozen=True)
class Sender:
    type: SenderType
    index: int = 0
    """Leaf of a member, or place in external_senders."""

    @classmethod
    def parse(cls, reader: Reader) -> Sender:
        try:
            type_ = SenderType(reader.uint(1))
        except ValueError as error:
            raise FramingError(f"unknown sender: {error}") from error
        return cls(type_, reader.uint(4) if type_ <= SenderType.EXTERNAL else 0)

    def encode(self) -> bytes:
        return uint(self.type, 1) + (uint(self.index, 4) if self.type <= SenderType.EXTERNAL else b"")


Body = bytes | Proposal | Commit


def content_type_of(body: Body) -> ContentType:
    if isinstance(body, bytes):
        return ContentType.APPLICATION
    return ContentType.COMMIT if isinstance(body, Commit) else ContentType.PROPOSAL


def parse_body(reader: Reader, content_type: ContentType) -> Body:
    if content_type is ContentType.APPLICATION:
        return reader.vector()
    return Commit.parse(reader) if content_type is ContentType.COMMIT else parse_proposal(reader)


def encode_body(body: Body) -> bytes:
    return vector(body) if isinstance(body, bytes) else body.encode()


def parse_content_type(reader: Reader) -> ContentType:
    try:
        return ContentType(reader.uint(1))
    except ValueError as error:
        raise FramingError(f"unknown content type: {error}") from error


@dataclass(frozen=True)
class FramedContent:
    """RFC 9420 §6."""

    group_id: bytes
    epoch: int
    sender: Sender
    authenticated_data: bytes
    body: Body = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> FramedContent:
        group_id, epoch, sender, authenticated_data = reader.vector(), reader.uint(8), Sender.parse(reader), reader.vector()
        return cls(group_id, epoch, sender, authenticated_data, parse_body(reader, parse_content_type(reader)))

    def encode(self) -> bytes:
        head = vector(self.group_id) + uint(self.epoch, 8) + self.sender.encode() + vector(self.authenticated_data)
        return head + uint(content_type_of(self.body), 1) + encode_body(self.body)


@dataclass(frozen=True)
class UnverifiedContent:
    """AuthenticatedContent (RFC 9420 §6) as it arrived: only `verify` yields what the group acts on."""

    wire_format: WireFormat
    content: FramedContent
    signature: bytes
    confirmation_tag: bytes | None

    def auth(self) -> bytes:
        """FramedContentAuthData (RFC 9420 §6.1)."""
        return vector(self.signature) + (b"" if self.confirmation_tag is None else vector(self.confirmation_tag))

    def to_be_signed(self, group_context: GroupContext | None) -> bytes:
        """FramedContentTBS: the context is part of it for members and for who joins by a commit of his own."""
        inside = self.content.sender.type in (SenderType.MEMBER, SenderType.NEW_MEMBER_COMMIT)
        context = group_context.encode() if inside and group_context is not None else b""
        return uint(MLS10, 2) + uint(self.wire_format, 2) + self.content.encode() + context

    def encode(self) -> bytes:
        return uint(self.wire_format, 2) + self.content.encode() + self.auth()

    def verify(self, suite: CipherSuite, signature_key: bytes, group_context: GroupContext) -> VerifiedContent:
        """Raises `SignatureInvalid`."""
        suite.verify_with_label(signature_key, "FramedContentTBS", self.to_be_signed(group_context), self.signature)
        return VerifiedContent(self.wire_format, self.content, self.signature, self.confirmation_tag)


@dataclass(frozen=True)
class VerifiedContent:
    """Content whose signature was verified with the key of the sender that it names, or that this device signed."""

    wire_format: WireFormat
    content: FramedContent
    signature: bytes
    confirmation_tag: bytes | None

    def encode(self) -> bytes:
        return UnverifiedContent(self.wire_format, self.content, self.signature, self.confirmation_tag).encode()

    def proposal_reference(self, suite: CipherSuite) -> bytes:
        """RFC 9420 §5.2."""
        return suite.ref_hash("Proposal Reference", self.encode())

    def confirmed_transcript_input(self) -> bytes:
        """ConfirmedTranscriptHashInput (RFC 9420 §8.2)."""
        return uint(self.wire_format, 2) + self.content.encode() + vector(self.signature)


def sign_content(
    suite: CipherSuite, signer: Signer, content: FramedContent, wire_format: WireFormat, group_context: GroupContext
) -> UnverifiedContent:
    """Sign as a member; the confirmation tag of a commit is added afterwards (RFC 9420 §6.1)."""
    unsigned = UnverifiedContent(wire_format, content, b"", None)
    signature = suite.sign_with_label(signer, "FramedContentTBS", unsigned.to_be_signed(group_context))
    return UnverifiedContent(wire_format, content, signature, None)


def _parse_auth(reader: Reader, content_type: ContentType) -> tuple[bytes, bytes | None]:
    return reader.vector(), reader.vector() if content_type is ContentType.COMMIT else None


@dataclass(frozen=True)
class PublicMessage:
    """RFC 9420 §6.2, as it arrived."""

    content: UnverifiedContent
    membership_tag: bytes | None

    @classmethod
    def parse(cls, reader: Reader) -> PublicMessage:
        content = FramedContent.parse(reader)
        signature, tag = _parse_auth(reader, content_type_of(content.body))
        unverified = UnverifiedContent(WireFormat.PUBLIC_MESSAGE, content, signature, tag)
        return cls(unverified, reader.vector() if content.sender.type is SenderType.MEMBER else None)

    def encode(self) -> bytes:
        tag = b"" if self.membership_tag is None else vector(self.membership_tag)
        return self.content.content.encode() + self.content.auth() + tag


@dataclass(frozen=True)
class PrivateMessage:
    """RFC 9420 §6.3, as it arrived."""

    group_id: bytes
    epoch: int
    content_type: ContentType
    authenticated_data: bytes
    encrypted_sender_data: bytes
    ciphertext: bytes

    @classmethod
    def parse(cls, reader: Reader) -> PrivateMessage:
        return cls(reader.vector(), reader.uint(8), parse_content_type(reader), reader.vector(), reader.vector(), reader.vector())

    def head(self) -> bytes:
        """SenderDataAAD (RFC 9420 §6.3.2)."""
        return vector(self.group_id) + uint(self.epoch, 8) + uint(self.content_type, 1)

    def encode(self) -> bytes:
        return self.head() + vector(self.authenticated_data) + vector(self.encrypted_sender_data) + vector(self.ciphertext)


def encode_private_content(content: UnverifiedContent, padding: int) -> bytes:
    """PrivateMessageContent (RFC 9420 §6.3.1)."""
    return encode_body(content.content.body) + content.auth() + bytes(padding)


def parse_private_content(plaintext: bytes, message: PrivateMessage, sender: int) -> UnverifiedContent:
    """Raises `FramingError`, also for padding that is not all zero."""
    reader = Reader(plaintext)
    body = parse_body(reader, message.content_type)
    signature, tag = _parse_auth(reader, message.content_type)
    if any(reader.rest()):
        raise FramingError("the padding of a private message is not zero")
    content = FramedContent(message.group_id, message.epoch, Sender(SenderType.MEMBER, sender), message.authenticated_data, body)
    return UnverifiedContent(WireFormat.PRIVATE_MESSAGE, content, signature, tag)


# Welcome and GroupInfo (RFC 9420 §12.4.3)


@dataclass(frozen=True)
class GroupInfo:
    """As it arrived, until `verify_signature` and the checks of a join have passed."""

    group_context: GroupContext
    extensions: Extensions
    confirmation_tag: bytes
    signer: int
    signature: bytes = b""

    @classmethod
    def parse(cls, reader: Reader) -> GroupInfo:
        context, extensions = GroupContext.parse(reader), parse_extensions(reader)
        return cls(context, extensions, reader.vector(), reader.uint(4), reader.vector())

    def to_be_signed(self) -> bytes:
        return self.group_context.encode() + vector_of(self.extensions) + vector(self.confirmation_tag) + uint(self.signer, 4)

    def encode(self) -> bytes:
        return self.to_be_signed() + vector(self.signature)

    def sign(self, suite: CipherSuite, signer: Signer) -> GroupInfo:
        signature = suite.sign_with_label(signer, "GroupInfoTBS", self.to_be_signed())
        return GroupInfo(self.group_context, self.extensions, self.confirmation_tag, self.signer, signature)

    def verify_signature(self, suite: CipherSuite, signer: LeafNode | None) -> None:
        """Raises `SignatureInvalid`."""
        if signer is None:
            raise SignatureInvalid("the signer of a GroupInfo is not in the tree")
        suite.verify_with_label(signer.signature_key, "GroupInfoTBS", self.to_be_signed(), self.signature)


@dataclass(frozen=True)
class GroupSecrets:
    joiner_secret: bytes = field(repr=False)
    path_secret: bytes | None = field(repr=False)
    psks: tuple[PskId, ...]

    @classmethod
    def parse(cls, reader: Reader) -> GroupSecrets:
        return cls(reader.vector(), reader.optional(Reader.vector), reader.list_of(PskId.parse))

    def encode(self) -> bytes:
        return vector(self.joiner_secret) + optional(None if self.path_secret is None else vector(self.path_secret)) + vector_of(self.psks)


@dataclass(frozen=True)
class EncryptedGroupSecrets:
    new_member: bytes
    """KeyPackageRef."""
    encrypted_group_secrets: HpkeCiphertext

    @classmethod
    def parse(cls, reader: Reader) -> EncryptedGroupSecrets:
        return cls(reader.vector(), HpkeCiphertext.parse(reader))

    def encode(self) -> bytes:
        return vector(self.new_member) + self.encrypted_group_secrets.encode()


@dataclass(frozen=True)
class Welcome:
    cipher_suite: int
    secrets: tuple[EncryptedGroupSecrets, ...]
    encrypted_group_info: bytes

    @classmethod
    def parse(cls, reader: Reader) -> Welcome:
        return cls(reader.uint(2), reader.list_of(EncryptedGroupSecrets.parse), reader.vector())

    def encode(self) -> bytes:
        return uint(self.cipher_suite, 2) + vector_of(self.secrets) + vector(self.encrypted_group_info)


MlsMessage = PublicMessage | PrivateMessage | Welcome | GroupInfo | KeyPackage
_FORMATS: dict[type[MlsMessage], WireFormat] = {
    PublicMessage: WireFormat.PUBLIC_MESSAGE,
    PrivateMessage: WireFormat.PRIVATE_MESSAGE,
    Welcome: WireFormat.WELCOME,
    GroupInfo: WireFormat.GROUP_INFO,
    KeyPackage: WireFormat.KEY_PACKAGE,
}


def parse_message(data: bytes) -> MlsMessage:
    """The one MLSMessage that the bytes are (RFC 9420 §6); nothing in it is verified. Raises `FramingError`."""

    def parse(reader: Reader) -> MlsMessage:
        if (version := reader.uint(2)) != MLS10:
            raise FramingError(f"protocol version {version} is not mls10")
        number = reader.uint(2)
        for kind, wire_format in _FORMATS.items():
            if wire_format == number:
                return kind.parse(reader)
        raise FramingError(f"unknown wire format {number}")

    return parse_whole(data, parse)


def encode_message(message: MlsMessage) -> bytes:
    return uint(MLS10, 2) + uint(_FORMATS[type(message)], 2) + message.encode()
