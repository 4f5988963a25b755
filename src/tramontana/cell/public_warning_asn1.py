"""Warnings as LTE and NR carry them: S1AP and NGAP towards the core and base stations, system information towards phones.

TS 36.413 §8.12 and §9.1.13, TS 38.413 §8.9 and §9.2.8, TS 36.331 and 38.331 §5.2.2. The ASN.1 is pycrate's, an unmodified library
(LGPL-2.1) that comes with the extra `broadcast`; it is loaded when it is first needed, which takes seconds. Only octets are made here: who
sends them is the operator's own core.
"""

from __future__ import annotations

from typing import Any

from tramontana.cell.asn1_directory import directory
from tramontana.cell.cell_broadcast import Message, SerialNumber
from tramontana.errors import LocalError

SEGMENT_OCTETS = 190
"""Of a warning in one system information message: within 277 octets (2,216 bits, TS 36.331 §5.2.1.1) with room for its header."""
LONGEST_REPETITION_S = 4095
MOST_BROADCASTS = 65535
"""The ASN.1 of both has INTEGER (0..65535); 0 is until it is killed."""


def message_contents(message: Message) -> bytes:
    """CB-Data: the number of pages, and each page with its length behind it (TS 23.041 §9.4.2.2.5)."""
    return bytes([len(message.pages)]) + b"".join(page.octets + bytes([page.length]) for page in message.pages)


def s1ap_write_replace(identifier: int, serial: SerialNumber, message: Message, repetition_s: int, broadcasts: int = 0) -> bytes:
    """WRITE-REPLACE WARNING REQUEST for all cells of a base station (TS 36.413 §9.1.13.1). broadcasts: 0 for until it is killed."""
    ies = [
        _ie(111, "reject", "MessageIdentifier", (identifier, 16)),
        _ie(112, "reject", "SerialNumber", (serial.value, 16)),
        _ie(114, "reject", "RepetitionPeriod", _seconds(repetition_s)),
        _ie(115, "reject", "NumberofBroadcastRequest", broadcasts),
        _ie(118, "ignore", "DataCodingScheme", (message.data_coding_scheme, 8)),
        _ie(119, "ignore", "WarningMessageContents", message_contents(message)),
        _ie(142, "reject", "ConcurrentWarningMessageIndicator", "true"),  # beside other warnings, not in their place
    ]
    return _initiating("S1AP", "S1AP_PDU_Descriptions", "S1AP_PDU", 36, "WriteReplaceWarningRequest", ies)


def s1ap_kill(identifier: int, serial: SerialNumber) -> bytes:
    """KILL REQUEST (TS 36.413 §9.1.13.3)."""
    ies = [_ie(111, "reject", "MessageIdentifier", (identifier, 16)), _ie(112, "reject", "SerialNumber", (serial.value, 16))]
    return _initiating("S1AP", "S1AP_PDU_Descriptions", "S1AP_PDU", 43, "KillRequest", ies)


def ngap_write_replace(identifier: int, serial: SerialNumber, message: Message, repetition_s: int, broadcasts: int = 0) -> bytes:
    """WRITE-REPLACE WARNING REQUEST (TS 38.413 §9.2.8.1)."""
    ies = [
        _ie(35, "reject", "MessageIdentifier", (identifier, 16)),
        _ie(95, "reject", "SerialNumber", (serial.value, 16)),
        _ie(87, "reject", "RepetitionPeriod", _seconds(repetition_s)),
        _ie(47, "reject", "NumberOfBroadcastsRequested", broadcasts),
        _ie(20, "ignore", "DataCodingScheme", (message.data_coding_scheme, 8)),
        _ie(123, "ignore", "WarningMessageContents", message_contents(message)),
        _ie(17, "reject", "ConcurrentWarningMessageInd", "true"),
    ]
    return _initiating("NGAP", "NGAP_PDU_Descriptions", "NGAP_PDU", 51, "WriteReplaceWarningRequest", ies)


def ngap_cancel(identifier: int, serial: SerialNumber) -> bytes:
    """PWS CANCEL REQUEST (TS 38.413 §9.2.8.3)."""
    ies = [_ie(35, "reject", "MessageIdentifier", (identifier, 16)), _ie(95, "reject", "SerialNumber", (serial.value, 16))]
    return _initiating("NGAP", "NGAP_PDU_Descriptions", "NGAP_PDU", 32, "PWSCancelRequest", ies)


def segments(contents: bytes, octets: int = SEGMENT_OCTETS) -> list[bytes]:
    """A warning cut for system information; at most 64 pieces."""
    pieces = [contents[at : at + octets] for at in range(0, len(contents), octets)]
    if not octets >= 1 or len(pieces) > 64:
        raise LocalError("a warning has at most 64 segments: make them longer")
    return pieces


def sib12(identifier: int, serial: SerialNumber, message: Message, octets: int = SEGMENT_OCTETS) -> list[bytes]:
    """BCCH-DL-SCH messages with SystemInformationBlockType12, one a segment (TS 36.331 §6.3.1)."""
    pdu = directory("RRCLTE").EUTRA_RRC_Definitions.BCCH_DL_SCH_Message
    made = []
    for block in _blocks(identifier, serial, message, octets, "-r9", "warningMessageSegmentNumber-r9"):
        information = ("systemInformation-r8", {"sib-TypeAndInfo": [("sib12-v920", block)]})
        pdu.set_val({"message": ("c1", ("systemInformation", {"criticalExtensions": information}))})
        made.append(bytes(pdu.to_uper()))
    return made


def sib8(identifier: int, serial: SerialNumber, message: Message, octets: int = SEGMENT_OCTETS) -> list[bytes]:
    """BCCH-DL-SCH messages with SIB8, one a segment (TS 38.331 §6.3.1)."""
    pdu = directory("RRCNR").NR_RRC_Definitions.BCCH_DL_SCH_Message
    made = []
    for block in _blocks(identifier, serial, message, octets, "", "warningMessageSegmentNumber"):
        information = ("systemInformation", {"sib-TypeAndInfo": [("sib8", block)]})
        pdu.set_val({"message": ("c1", ("systemInformation", {"criticalExtensions": information}))})
        made.append(bytes(pdu.to_uper()))
    return made


def _blocks(identifier: int, serial: SerialNumber, message: Message, octets: int, suffix: str, number_name: str) -> list[dict[str, Any]]:
    pieces = segments(message_contents(message), octets)
    blocks = []
    for number, piece in enumerate(pieces):
        block: dict[str, Any] = {
            f"messageIdentifier{suffix}": (identifier, 16),
            f"serialNumber{suffix}": (serial.value, 16),
            f"warningMessageSegmentType{suffix}": "lastSegment" if number == len(pieces) - 1 else "notLastSegment",
            number_name: number,
            f"warningMessageSegment{suffix}": piece,
        }
        if number == 0:  # in the first segment only
            block[f"dataCodingScheme{suffix}"] = bytes([message.data_coding_scheme])
        blocks.append(block)
    return blocks


def _seconds(repetition_s: int) -> int:
    if not 0 <= repetition_s <= LONGEST_REPETITION_S:
        raise LocalError(f"a repetition period is 0 to {LONGEST_REPETITION_S} s")
    return repetition_s


def _ie(number: int, criticality: str, kind: str, value: object) -> dict[str, Any]:
    return {"id": number, "criticality": criticality, "value": (kind, value)}


def _initiating(module: str, part: str, name: str, procedure: int, kind: str, ies: list[dict[str, Any]]) -> bytes:
    pdu = getattr(getattr(directory(module), part), name)
    message = {"procedureCode": procedure, "criticality": "reject", "value": (kind, {"protocolIEs": ies})}
    pdu.set_val(("initiatingMessage", message))
    return bytes(pdu.to_aper())
