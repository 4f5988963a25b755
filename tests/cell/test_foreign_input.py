"""What operators load and centres write is read, or refused with one sentence. The other parsers are fuzzed beside their own tests."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.cell import area, broadcast_network, population
from tramontana.cell.position import PlaceCatalogue
from tramontana.cell.smpp.pdu import ESM_RECEIPT, Address, CommandId, Message, MessageState, Tag, Tlv
from tramontana.cell.smpp.receipt import parse_receipt
from tramontana.errors import TramontanaError

CSV = "name,latitude,longitude,population\nAmatrice,42.63,13.29,2474\nRoma,41.9,12.5,2748109\n"
NETWORK = '[[controller]]\nname = "rieti"\nhost = "10.0.0.1"\nport = 48049\ncell = [{ id = "23-1", latitude = 42.63, longitude = 13.29 }]\n'
RECEIPT = "id:7a sub:001 dlvrd:001 submit date:2606011000 done date:2606011001 stat:DELIVRD err:000 text:ciao"
EDIT = st.tuples(st.integers(0, 200), st.integers(0, 20), st.text(max_size=12))
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["type", "geometry", "coordinates", "features"]), inner),
    max_leaves=12,
)


def edited(text: str, edit: tuple[int, int, str]) -> str:
    at, gone, instead = edit
    return text[:at] + instead + text[at + gone :]


@given(EDIT)
@settings(max_examples=100)
def test_tables_of_places_and_people_are_read_or_refused(edit: tuple[int, int, str]) -> None:
    text = edited(CSV, edit)
    with suppress(TramontanaError):
        assert len(PlaceCatalogue.parse(text)) <= text.count("\n") + text.count("\r") + 1
    with suppress(TramontanaError):
        assert (population.parse(text).people >= 0).all()


@given(EDIT)
@settings(max_examples=100)
def test_a_table_of_controllers_is_read_or_refused(edit: tuple[int, int, str]) -> None:
    with suppress(TramontanaError):
        assert all(site.name for site in broadcast_network.parse(edited(NETWORK, edit)).controllers)


@given(VALUES)
@settings(max_examples=100)
def test_an_area_is_read_or_refused(value: object) -> None:
    found = json.loads(json.dumps(value))
    with suppress(TramontanaError):
        assert all(abs(latitude) <= 90 for ring in area.from_geojson(found) for latitude, _ in ring)


@given(EDIT, st.lists(st.tuples(st.sampled_from([Tag.RECEIPTED_MESSAGE_ID, Tag.MESSAGE_STATE]), st.binary(max_size=80)), max_size=2))
@settings(max_examples=150)
def test_a_receipt_tells_of_a_message_or_of_nothing(edit: tuple[int, int, str], tlvs: list[tuple[Tag, bytes]]) -> None:
    octets = edited(RECEIPT, edit).encode("utf-8", "replace")[:254]
    optional = tuple(Tlv(tag, value) for tag, value in tlvs)
    message = Message(CommandId.DELIVER_SM, Address.of("+391"), Address.of("112"), octets, esm_class=ESM_RECEIPT, tlvs=optional)
    receipt = parse_receipt(message)
    if receipt is not None:
        assert receipt.message_id
        assert len(receipt.message_id) <= 64
        assert receipt.state in MessageState
