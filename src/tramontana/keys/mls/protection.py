"""Sealing and opening messages with the keys of one epoch (RFC 9420 §6.2, §6.3)."""

from __future__ import annotations

import hmac

from tramontana.keys.mls.codec import Reader, uint
from tramontana.keys.mls.errors import DecryptionFailed, FramingError, MembershipTagInvalid
from tramontana.keys.mls.framing import ContentType
from tramontana.keys.mls.messages import (
    GroupContext,
    PrivateMessage,
    PublicMessage,
    SenderType,
    UnverifiedContent,
    content_type_of,
    encode_private_content,
    parse_private_content,
)
from tramontana.keys.mls.secret_tree import APPLICATION, HANDSHAKE, SecretTree
from tramontana.keys.mls.suites import CipherSuite, Rng

PADDING_BYTES = 256
"""Sealed contents are padded to multiples of this, so that lengths tell less (RFC 9420 §15.1)."""
REUSE_GUARD_BYTES = 4


def membership_tag(suite: CipherSuite, membership_key: bytes, content: UnverifiedContent, context: GroupContext) -> bytes:
    """RFC 9420 §6.2."""
    return suite.mac(membership_key, content.to_be_signed(context) + content.auth())


def seal_public(suite: CipherSuite, membership_key: bytes, content: UnverifiedContent, context: GroupContext) -> PublicMessage:
    member = content.content.sender.type is SenderType.MEMBER
    return PublicMessage(content, membership_tag(suite, membership_key, content, context) if member else None)


def open_public(suite: CipherSuite, membership_key: bytes, message: PublicMessage, context: GroupContext) -> UnverifiedContent:
    """Raises `FramingError` and `MembershipTagInvalid`."""
    if content_type_of(message.content.content.body) is ContentType.APPLICATION:
        raise FramingError("application data must not be sent in the clear")  # RFC 9420 §6
    if message.membership_tag is not None:
        expected = membership_tag(suite, membership_key, message.content, context)
        if not hmac.compare_digest(expected, message.membership_tag):
            raise MembershipTagInvalid("the membership tag of a public message does not verify")
    return message.content


def _ratchet_of(content_type: ContentType) -> int:
    return APPLICATION if content_type is ContentType.APPLICATION else HANDSHAKE


def sender_data_key(suite: CipherSuite, sender_data_secret: bytes, ciphertext: bytes) -> tuple[bytes, bytes]:
    """RFC 9420 §6.3.2: bound to a sample of the ciphertext."""
    sample = ciphertext[: suite.hash_bytes]
    key = suite.expand_with_label(sender_data_secret, "key", sample, suite.key_bytes)
    return key, suite.expand_with_label(sender_data_secret, "nonce", sample, suite.nonce_bytes)


def _guard(nonce: bytes, reuse_guard: bytes) -> bytes:
    """RFC 9420 §6.3.1: two copies of one state that seal at the same generation still use different nonces."""
    return bytes(a ^ b for a, b in zip(nonce, reuse_guard, strict=False)) + nonce[REUSE_GUARD_BYTES:]


def seal_private(
    suite: CipherSuite, sender_data_secret: bytes, secret_tree: SecretTree, content: UnverifiedContent, rng: Rng
) -> tuple[PrivateMessage, SecretTree]:
    """Seal signed content of a member with his next key, and the tree that no longer holds that key."""
    framed, leaf = content.content, content.content.sender.index
    content_type = content_type_of(framed.body)
    kind = _ratchet_of(content_type)
    generation = secret_tree.next_generation(leaf, kind)
    key, advanced = secret_tree.take(suite, leaf, kind, generation)
    head = PrivateMessage(framed.group_id, framed.epoch, content_type, framed.authenticated_data, b"", b"")
    padding = -len(encode_private_content(content, 0)) % PADDING_BYTES
    reuse_guard = rng(REUSE_GUARD_BYTES)
    ciphertext = suite.seal(key.key, _guard(key.nonce, reuse_guard), _content_aad(head), encode_private_content(content, padding))
    sender_data = uint(leaf, 4) + uint(generation, 4) + reuse_guard
    sealed_sender = suite.seal(*sender_data_key(suite, sender_data_secret, ciphertext), head.head(), sender_data)
    return PrivateMessage(framed.group_id, framed.epoch, content_type, framed.authenticated_data, sealed_sender, ciphertext), advanced


def _content_aad(message: PrivateMessage) -> bytes:
    """PrivateContentAAD (RFC 9420 §6.3.1)."""
    return PrivateMessage(message.group_id, message.epoch, message.content_type, message.authenticated_data, b"", b"").encode()[:-2]


def open_sender_data(suite: CipherSuite, sender_data_secret: bytes, message: PrivateMessage) -> tuple[int, int, bytes]:
    """(leaf, generation, reuse guard). Raises `DecryptionFailed`."""
    key, nonce = sender_data_key(suite, sender_data_secret, message.ciphertext)
    reader = Reader(suite.open(key, nonce, message.head(), message.encrypted_sender_data))
    leaf, generation, reuse_guard = reader.uint(4), reader.uint(4), reader.take(REUSE_GUARD_BYTES)
    reader.end()
    return leaf, generation, reuse_guard


def open_private(
    suite: CipherSuite, secret_tree: SecretTree, message: PrivateMessage, sender: tuple[int, int, bytes]
) -> tuple[UnverifiedContent, SecretTree]:
    """Open a message of `sender` (`open_sender_data`): the content, not yet verified, and the tree to keep once it is.

    Raises `DecryptionFailed`, `KeyAlreadyUsed`, `TooFarAhead`, `UnknownSender`, `FramingError`.
    """
    leaf, generation, reuse_guard = sender
    if generation == 0xFFFFFFFF:
        raise DecryptionFailed("a ratchet is exhausted")
    key, advanced = secret_tree.take(suite, leaf, _ratchet_of(message.content_type), generation)
    plaintext = suite.open(key.key, _guard(key.nonce, reuse_guard), _content_aad(message), message.ciphertext)
    return parse_private_content(plaintext, message, leaf), advanced
