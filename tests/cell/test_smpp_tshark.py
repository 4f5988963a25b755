"""Wireshark's dissectors read our SMPP without complaint, and read the same in it."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tramontana.cell.short_message import submit, write
from tramontana.cell.smpp.pdu import (
    Address,
    Bare,
    Bind,
    BindResp,
    Body,
    CommandId,
    MessageResp,
    MessageState,
    Password,
    Pdu,
    QuerySm,
    QuerySmResp,
    Tag,
    Tlv,
)
from tramontana.cell.smpp.receipt import Receipt, encode_receipt
from tramontana.precedence import Precedence

PORT = 2775
PHONE, OFFICE = Address.of("+393331234567"), Address.of("43112")


def capture(units: list[bytes]) -> bytes:
    """A capture file with one TCP segment a unit (link type 228, raw IPv4)."""
    out, sequence = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 228), 1
    for number, unit in enumerate(units):
        tcp = struct.pack(">HHIIBBHHH", 40000, PORT, sequence, 1, 0x50, 0x18, 65535, 0, 0) + unit
        sequence += len(unit)
        addresses = bytes((127, 0, 0, 1)) + bytes((127, 0, 0, 2))
        packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), number, 0, 64, 6, 0) + addresses + tcp
        out += struct.pack("<IIII", number, 0, len(packet), len(packet)) + packet
    return out


def dissect(path: Path) -> list[dict[str, Any]]:
    options = ["-d", f"tcp.port=={PORT},smpp", "-o", "tcp.check_checksum:false", "-o", "ip.check_checksum:false", "-T", "json"]
    run = subprocess.run(["tshark", "-n", "-r", str(path), *options], capture_output=True, check=True, timeout=120)
    return [packet["_source"]["layers"] for packet in json.loads(run.stdout)]


def test_every_unit_is_read(tmp_path: Path) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("tshark is missing (Debian: apt-get install tshark)")
    text = "Vine ajutorul: rămâneți pe terasă, faceți lumină și nu coborâți. " * 3
    parts = submit(write(text, 9), OFFICE, PHONE, way="udh", precedence=Precedence.FLASH, receipt=True, validity_s=3600, user_reference=7)
    receipt = encode_receipt(Receipt("2a", MessageState.DELIVERED, "000", 7), source=PHONE, destination=OFFICE, submitted_at=0, done_at=60)
    bodies: list[Body] = [
        Bind(CommandId.BIND_TRANSCEIVER, "office", Password("secret"), "SOS"),
        BindResp(CommandId.BIND_TRANSCEIVER_RESP, "TRAMONTANA", (Tlv(Tag.SC_INTERFACE_VERSION, b"\x34"),)),
        *parts,
        MessageResp(CommandId.SUBMIT_SM_RESP, "2a"),
        receipt,
        MessageResp(CommandId.DELIVER_SM_RESP),
        QuerySm("2a", OFFICE),
        QuerySmResp("2a", "", MessageState.ENROUTE),
        Bare(CommandId.ENQUIRE_LINK),
        Bare(CommandId.UNBIND),
        Bare(CommandId.GENERIC_NACK),
    ]
    path = tmp_path / "smpp.pcap"
    path.write_bytes(capture([Pdu(body, number).encode() for number, body in enumerate(bodies, 1)]))
    packets = dissect(path)
    assert len(packets) == len(bodies)
    shown = json.dumps(packets)
    assert "_ws.malformed" not in shown
    assert '"_ws.expert' not in shown
    for number, (packet, body) in enumerate(zip(packets, bodies, strict=True), 1):
        assert int(packet["smpp"]["smpp.command_id"], 16) == body.command_id
        assert int(packet["smpp"]["smpp.sequence_number"], 0) == number
    first = packets[2]["smpp"]
    assert (first["smpp.destination_addr"], first["smpp.source_addr"]) == ("393331234567", "43112")
    assert int(first["smpp.priority_flag"], 0) == 3
