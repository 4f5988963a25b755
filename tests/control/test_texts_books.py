"""The books of texts: what a peer repeats, parts that do not come, and what becomes of a message whose answer was lost; on a real store."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.cell.couriers import MemoryCourier, keep_password
from tests.control.test_texts_faults import books, state_of_all
from tramontana.cell.beam_time import Rank
from tramontana.cell.short_message import submit, write
from tramontana.cell.smpp.driver import Centre, EsmeLink, Outgoing
from tramontana.cell.smpp.pdu import Address, CommandId, Message, MessageState, Password, Tag
from tramontana.cell.smpp.receipt import Receipt, encode_receipt
from tramontana.control.operators import OperatorsFileError, parse_operators
from tramontana.control.store import texts as rows
from tramontana.control.texts import Texts
from tramontana.precedence import Precedence

pytestmark = pytest.mark.anyio
PHONE, HERE = Address.of("+393331234567"), Address.of("43112")


def parts(text: str) -> tuple[Message, ...]:
    command = CommandId.DELIVER_SM
    return submit(write(text, 9), PHONE, HERE, way="udh", precedence=Precedence.ROUTINE, receipt=False, command_id=command)


async def test_the_same_octets_over_a_later_session_are_one_message_for_a_quarter_of_an_hour(tmp_path: Path) -> None:
    async with books(tmp_path) as (store, _, clock):
        message, now = parts("siamo in sette"), clock()
        async with store.write() as connection:
            first = await rows.take_in(connection, "operator", "one", message, now, ())
            assert await rows.take_in(connection, "operator", "two", message, now + 1, set(first)) != first  # its answer was heard
        async with store.write() as connection:
            other = await rows.take_in(connection, "operator", "three", parts("altro"), now, ())
            assert await rows.take_in(connection, "operator", "four", parts("altro"), now + 899, ()) == other
            assert await rows.take_in(connection, "operator", "four", parts("altro"), now + 899, ()) != other  # written twice
            late = await rows.take_in(connection, "operator", "five", parts("tardi"), now, ())
            assert await rows.take_in(connection, "operator", "six", parts("tardi"), now + 901, ()) != late


async def test_a_text_whose_part_does_not_come_is_handed_on_after_a_minute_and_a_half(tmp_path: Path) -> None:
    async with books(tmp_path) as (store, _, clock):
        now = clock()
        first, _, third = parts("a" * 153 + "b" * 153 + "c" * 50)
        async with store.write() as connection:
            await rows.take_in(connection, "operator", "one", [first, third], now, ())
            assert await rows.join_parts(connection, now + 89, {}) == []
            (text,) = await rows.join_parts(connection, now + 91, {})
            assert (text.body, text.complete) == ("a" * 153 + "[…]" + "c" * 50, False)


async def unknown(texts: Texts, if_unknown: str) -> Message:
    """A message on the wire whose session is gone."""
    async with texts.store.write() as connection:
        await texts.put(connection, origin="test", destination="+39333", body="ciao", rank=Rank.ROUTINE, if_unknown=if_unknown)
    await texts._fill()
    (outgoing,) = await texts.take("operator", 1)
    await texts.unanswered("operator", [outgoing.key])
    return outgoing.message


async def test_a_receipt_with_our_reference_settles_what_nobody_knew(tmp_path: Path) -> None:
    async with books(tmp_path) as (store, texts, _):
        sent = await unknown(texts, "hold")
        assert await state_of_all(store) == ["unknown"]
        await texts._fill()
        assert not await texts.take("operator", 9)
        reference = int.from_bytes(sent.tlv(Tag.USER_MESSAGE_REFERENCE) or b"", "big")
        for told, then in ((reference ^ 1, "unknown"), (reference, "delivered")):
            receipt = Receipt("77", MessageState.DELIVERED, reference=told)
            message = encode_receipt(receipt, source=sent.destination, destination=sent.source, submitted_at=0.0, done_at=0.0)
            await texts.received("operator", "two", [message])
            assert await state_of_all(store) == [then]


async def test_who_says_that_twice_is_better_than_never_has_it_sent_again(tmp_path: Path) -> None:
    async with books(tmp_path) as (store, texts, _):
        sent = await unknown(texts, "again")
        assert await state_of_all(store) == ["queued"]
        await texts._fill()
        (outgoing,) = await texts.take("operator", 9)
        assert outgoing.message == sent


SERVER = """
[server]
port = 0
tls_cert = "centre.pem"
tls_key = "centre.key"

[[server.peer]]
system_id = "peer"
password_file = "password"
numbers = ["43112"]

[sos]
numbers = ["112"]
"""


def certify(folder: Path) -> None:
    """A certificate of its own for this machine."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "centre")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = made.add_extension(here, critical=False).sign(key, hashes.SHA256())
    (folder / "centre.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "centre.key").write_bytes(key.private_bytes(*form))


async def test_a_peer_binds_over_tls(tmp_path: Path) -> None:
    keep_password(tmp_path)
    with pytest.raises(OperatorsFileError, match="certificate or its key cannot be used"):
        parse_operators(SERVER, tmp_path)
    certify(tmp_path)
    async with books(tmp_path, parse_operators(SERVER, tmp_path)) as (_, texts, _):
        listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        texts.on_listening = listening.set_result
        courier = MemoryCourier()
        believes = ssl.create_default_context(cafile=str(tmp_path / "centre.pem"))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            running = group.create_task(texts.run())
            centre = Centre("ours", "127.0.0.1", await listening, "peer", Password("secret"), tls=believes)
            link = group.create_task(EsmeLink(centre, courier).run())
            message = Message(CommandId.SUBMIT_SM, HERE, Address.of("112"), b"aiuto")
            courier.queue.append(Outgoing("one", message))
            await courier.until(lambda: [(answer.key, answer.status) for answer in courier.answers] == [("one", 0)])
            link.cancel()
            running.cancel()
            await asyncio.wait([link, running], timeout=30)
