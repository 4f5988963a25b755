"""Hypothesis strategies of SMPP units."""

from __future__ import annotations

from hypothesis import strategies as st

from tramontana.cell.smpp import pdu
from tramontana.cell.smpp.pdu import CommandId

BYTE = st.integers(0, 255)


def c_text(most: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=most)


def addresses(most: int = 20) -> st.SearchStrategy[pdu.Address]:
    return st.builds(pdu.Address, c_text(most), BYTE, BYTE)


TLVS = st.lists(
    st.builds(pdu.Tlv, st.integers(0, 0xFFFF).filter(lambda tag: tag != pdu.Tag.MESSAGE_PAYLOAD), st.binary(max_size=40)), max_size=4
).map(tuple)
BINDS = st.builds(
    pdu.Bind,
    st.sampled_from([CommandId.BIND_RECEIVER, CommandId.BIND_TRANSMITTER, CommandId.BIND_TRANSCEIVER]),
    c_text(15),
    c_text(8).map(pdu.Password),
    c_text(12),
    BYTE,
    BYTE,
    BYTE,
    c_text(40),
)
MESSAGES = st.builds(
    pdu.Message,
    st.sampled_from([CommandId.SUBMIT_SM, CommandId.DELIVER_SM]),
    addresses(),
    addresses(),
    st.binary(max_size=254),
    c_text(5),
    BYTE,
    BYTE,
    BYTE,
    c_text(16),
    c_text(16),
    BYTE,
    BYTE,
    BYTE,
    BYTE,
    TLVS,
)
DATA = st.builds(
    pdu.Message,
    st.just(CommandId.DATA_SM),
    addresses(64),
    addresses(64),
    service_type=c_text(5),
    esm_class=BYTE,
    registered_delivery=BYTE,
    data_coding=BYTE,
    tlvs=TLVS,
)
ANSWERS = st.builds(
    pdu.MessageResp,
    st.sampled_from([CommandId.SUBMIT_SM_RESP, CommandId.DELIVER_SM_RESP, CommandId.DATA_SM_RESP]),
    c_text(64),
    TLVS,
)
OTHERS = st.one_of(
    st.builds(pdu.BindResp, st.sampled_from([CommandId.BIND_TRANSMITTER_RESP, CommandId.BIND_TRANSCEIVER_RESP]), c_text(15), TLVS),
    st.builds(pdu.Outbind, st.just(CommandId.OUTBIND), c_text(15), c_text(8).map(pdu.Password)),
    st.builds(pdu.QuerySm, c_text(64), addresses()),
    st.builds(pdu.QuerySmResp, c_text(64), c_text(16), BYTE, BYTE),
    st.builds(
        pdu.Bare,
        st.sampled_from(
            [
                CommandId.UNBIND,
                CommandId.UNBIND_RESP,
                CommandId.ENQUIRE_LINK,
                CommandId.ENQUIRE_LINK_RESP,
                CommandId.GENERIC_NACK,
            ]
        ),
    ),
)
PDUS = st.builds(pdu.Pdu, st.one_of(BINDS, MESSAGES, DATA, ANSWERS, OTHERS), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
