"""Wireshark's dissectors read what we send to base-station controllers, LTE and NR, without a malformed field or a complaint."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cell.test_smpp_tshark import PORT as CAPTURED_PORT
from tests.cell.test_smpp_tshark import capture
from tramontana.cell import cbsp, public_warning_asn1
from tramontana.cell.cbsp import Cell
from tramontana.cell.cell_broadcast import Alphabet, SerialNumber, encode

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is missing (Debian: apt-get install tshark)")

SERIAL = SerialNumber(7, 3)
LONG = encode("Terremoto: uscite, restate lontano dagli edifici. " * 27, "it")
CYRILLIC = encode("Землетрясение: выходите", "ru", Alphabet.UCS_2)
USER_DLT = 147


def user_capture(frames: list[bytes]) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, USER_DLT)
    return head + b"".join(struct.pack("<IIII", number, 0, len(frame), len(frame)) + frame for number, frame in enumerate(frames))


def dissect(path: Path, *options: str) -> list[dict[str, Any]]:
    run = subprocess.run(["tshark", "-n", "-r", str(path), *options, "-T", "json"], capture_output=True, check=True, timeout=180)
    shown = run.stdout.decode()
    assert "_ws.malformed" not in shown, shown[:3000]
    assert '"_ws.expert' not in shown, shown[:3000]
    return [packet["_source"]["layers"] for packet in json.loads(shown)]


def read(tmp_path: Path, protocol: str, frames: list[bytes]) -> list[str]:
    path = tmp_path / f"{protocol}.pcap"
    path.write_bytes(user_capture(frames))
    packets = dissect(path, "-o", f'uat:user_dlts:"User 0 (DLT={USER_DLT})","{protocol}","0","","0",""')
    assert len(packets) == len(frames)
    return [json.dumps(packet) for packet in packets]


def test_cbsp(tmp_path: Path) -> None:
    cells = (Cell(1, 6969), Cell(1, 6970))
    sent = [
        cbsp.WriteReplace(4370, SERIAL, cells, LONG, 60.0, 600.0).encode(),
        cbsp.WriteReplace(4370, SERIAL.updated(), cells, CYRILLIC, 60.0, 600.0, replaces=SERIAL).encode(),
        cbsp.Kill(4370, SERIAL.updated(), cells).encode(),
        cbsp.KeepAlive(10).encode(),
    ]
    path = tmp_path / "cbsp.pcap"
    path.write_bytes(capture(sent))
    packets = dissect(path, "-d", f"tcp.port=={CAPTURED_PORT},cbsp", "-o", "tcp.check_checksum:false", "-o", "ip.check_checksum:false")
    shown = [json.dumps(packet["cbsp"]) for packet in packets]
    assert len(shown) == len(sent)
    assert "Terremoto" in shown[0]
    assert f"{SERIAL.value:#06x}" in shown[1]


def test_s1ap(tmp_path: Path) -> None:
    write = public_warning_asn1.s1ap_write_replace(4370, SERIAL, LONG, 60)
    kill = public_warning_asn1.s1ap_kill(4370, SERIAL)
    shown = read(tmp_path, "s1ap", [write, kill])
    assert public_warning_asn1.message_contents(LONG).hex(":") in shown[0]
    assert "KillRequest" in shown[1]


def test_ngap(tmp_path: Path) -> None:
    write = public_warning_asn1.ngap_write_replace(4370, SERIAL, LONG, 60)
    cancel = public_warning_asn1.ngap_cancel(4370, SERIAL)
    shown = read(tmp_path, "ngap", [write, cancel])
    assert public_warning_asn1.message_contents(LONG).hex(":") in shown[0]
    assert "PWSCancelRequest" in shown[1]


def test_system_information(tmp_path: Path) -> None:
    lte, nr = (make(4370, SERIAL, LONG) for make in (public_warning_asn1.sib12, public_warning_asn1.sib8))
    assert len(lte) == len(nr) == 7
    assert len(public_warning_asn1.message_contents(LONG)) == 1246
    assert all("sib12" in packet for packet in read(tmp_path, "lte_rrc.bcch_dl_sch", lte))
    assert all("sib8" in packet for packet in read(tmp_path, "nr-rrc.bcch.dl.sch", nr))
