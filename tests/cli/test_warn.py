"""`tramontana warn` from two persons' machines against a running server, and what the operator loads for it."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.cell import osmo_bsc
from tests.control import custodians
from tests.control.test_serve import serving
from tramontana.cell import public_warning_asn1
from tramontana.cell.cell_broadcast import SerialNumber, encode
from tramontana.cli.main import tramontana
from tramontana.control.admission import invite
from tramontana.control.store import accounts, requests
from tramontana.control.store.database import Store
from tramontana.control.store.requests import Proposal
from tramontana.errors import LocalError, TramontanaError
from tramontana.keys.certificate import Grant
from tramontana.precedence import Precedence

NETWORK = """[[controller]]
name = "rieti"
host = "127.0.0.1"
port = {port}
cell = [{{ id = "1-6969", latitude = 42.63, longitude = 13.29 }}, {{ id = "1-6970", latitude = 41.9, longitude = 12.5 }}]
"""
AREAS = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": "Amatrice"},
            "geometry": {"type": "Polygon", "coordinates": [[[13.2, 42.6], [13.4, 42.6], [13.4, 42.8], [13.2, 42.6]]]},
        }
    ],
}


def run(*arguments: str, status: int = 0) -> Result:
    ran = CliRunner().invoke(tramontana, arguments)
    assert ran.exit_code == status, f"{arguments}\n{ran.output}\n{ran.exception!r}"
    return ran


def refusal(*arguments: str) -> str:
    return str(run(*arguments, status=1).exception)


def first_id(said: str) -> str:
    found = re.search(r"^([0-9a-f]{32})  ", said, re.M)
    assert found, said
    return found[1]


def enrol(data: Path, where: Path, url: str, made: custodians.Custodians, names: Mapping[str, tuple[str, ...]]) -> None:
    """Each name with its roles, in a directory of its own with a passphrase file."""

    async def everybody() -> None:
        store = await Store.open(data)
        try:
            office = await custodians.Office.beside(store, made.log_key)
            await made.found(office)
            for name, roles in names.items():
                invitation = await invite(store, origin="command", actor="test", note="", now=office.clock(), proposal=Proposal("", roles))
                passphrase = where / f"{name}.pass"
                passphrase.write_text("correct horse battery staple\n")
                passphrase.chmod(0o600)
                link = f"{url}/phone#invite={invitation.token.reveal()}&org={made.key.root.fingerprint_text}"
                home = str(where / name)
                await asyncio.to_thread(run, "warn", "enrol", "--name", name, "--home", home, "--passphrase-file", str(passphrase), link)
                async with store.read() as connection:
                    device = next(d for d in await accounts.all_devices(connection) if d.state(office.clock()) == "pending")
                person = custodians.Person(name, account_id=device.account_id, device_id=device.device_id)
                grant = made.grant(office, person, roles=roles, ceiling=Precedence.FLASH, signature_public_key=device.signature_public_key)
                await certify(office, made, grant)
        finally:
            await store.close()

    asyncio.run(everybody())


async def certify(office: custodians.Office, made: custodians.Custodians, grant: Grant) -> None:
    async with office.store.read() as connection:
        request = await requests.pending_of_device(connection, grant.device_id)
    assert request is not None
    both = (made.first, made.second)[: grant.approvals_needed()]
    for custodian in both:
        await office.custody.approve(custodian.sender, request.request_id, *made.approval(office, custodian, request.request_id, grant))
    await office.custody.issue(made.first.sender, request.request_id, made.signed(office, grant, both).encoded, is_custodian=True)


def warning_fields(octets: bytes) -> dict[str, Any]:
    """What an MME reads in an S1AP warning request."""
    pdu = import_module("pycrate_asn1dir.S1AP").S1AP_PDU_Descriptions.S1AP_PDU
    pdu.from_aper(octets)
    return dict(each["value"] for each in pdu.get_val()[1]["value"][1]["protocolIEs"])


@pytest.mark.skipif(osmo_bsc.why_not() is not None, reason=str(osmo_bsc.why_not()))
def test_from_the_command_line_to_a_real_controller(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    made = custodians.install(data)
    with osmo_bsc.osmo_bsc(tmp_path) as bsc:
        (tmp_path / "network.toml").write_text(NETWORK.format(port=bsc.cbsp_port))
        (tmp_path / "areas.geojson").write_text(json.dumps(AREAS))
        (tmp_path / "people.csv").write_text("name,latitude,longitude,population\nAmatrice,42.63,13.29,2474\n")
        loaded = run(
            "warn", "load", "--data", str(data), "--network", str(tmp_path / "network.toml"), "--areas", str(tmp_path / "areas.geojson"),
            "--population", str(tmp_path / "people.csv"),
        ).output  # fmt: skip
        assert "1 controllers with 2 cells" in loaded
        assert "2,474 people" in loaded
        with serving(data) as (_, url):
            enrol(data, tmp_path, url, made, {"ada": ("approver",), "bruno": ("approver",)})
            ada, bruno = (
                ["--home", str(tmp_path / name), "--passphrase-file", str(tmp_path / f"{name}.pass")] for name in ("ada", "bruno")
            )
            submitted = run(
                "warn", "submit", *ada, "--event", "Terremoto", "--text", "it=Uscite", "--text", "en=Go out", "--named-area", "Amatrice"
            )
            warning = first_id(submitted.output)
            assert "6 of 1395 characters" in submitted.output
            assert "nobody approves his own" in refusal("warn", "approve", *ada, "--yes", warning[:8])
            lte = ["--as", "s1ap", "--out", str(tmp_path / "lte")]
            assert "submitted, and only what is on the air" in refusal("warn", "payload", *ada, warning, *lte)
            approved = run("warn", "approve", *bruno, "--yes", warning[:8]).output
            assert "on-air" in approved
            assert "within latitude 42.6000 to 42.8000, longitude 13.2000 to 13.4000" in approved
            assert "the server says, unsigned: 2,474 people in the area, heard from 1 cells" in approved
            followed = run("warn", "status", *ada, "--follow", warning).output
            assert re.findall(r"rieti +1-6969 +(\d+)  on-air", followed) == ["4370", "4383"]
            assert sorted(identifier for identifier, _ in bsc.messages(0)) == [4370, 4383]
            assert bsc.messages(1) == {}
            run("warn", "payload", *ada, warning, *lte)
            assert "on-air: --kill is for" in refusal("warn", "payload", *ada, warning, *lte, "--kill")
            italian, english = sorted((tmp_path / "lte").iterdir())
            fields = warning_fields(italian.read_bytes())
            assert fields["WarningMessageContents"] == public_warning_asn1.message_contents(encode("Uscite", "it"))
            assert fields["MessageIdentifier"] == (4370, 16)
            assert 0 < fields["NumberofBroadcastRequest"] <= 60
            assert warning_fields(english.read_bytes())["MessageIdentifier"] == (4383, 16)
            document = tmp_path / "alert.xml"
            made_known = run("warn", "cap", *ada, warning).output
            document.write_text(made_known)
            assert "on the air already" in refusal("warn", "submit", *bruno, "--cap", str(document))
            document.write_text(re.sub("<identifier>.+</identifier>", "<identifier>another</identifier>", made_known))
            assert "Terremoto" in run("warn", "submit", *bruno, "--cap", str(document)).output
            cancelled = first_id(run("warn", "cancel", *ada, warning).output)
            approved = run("warn", "approve", *bruno, "--yes", cancelled).output
            assert "done" in approved
            assert f"it replaces {warning[:8]} (on-air): Terremoto\n     [it] Uscite\n     [en] Go out" in approved
            assert len(re.findall("off-air", run("warn", "status", *ada, "--follow", warning).output)) == 2
            assert bsc.messages(0) == {}
            assert "cancelled, and only what is on the air" in refusal("warn", "payload", *ada, warning, *lte)
            run("warn", "payload", *ada, warning, *lte, "--kill")
            serial = fields["SerialNumber"][0]
            kill = (tmp_path / "lte" / f"s1ap-4370-{serial:04x}-kill.bin").read_bytes()
            assert kill == public_warning_asn1.s1ap_kill(4370, SerialNumber.parse(serial))
            listed = run("warn", "status", *bruno).output
            assert [line.split()[3] for line in listed.splitlines()] == ["done", "submitted", "cancelled"]


def test_payloads_without_their_library_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycrate_asn1dir.NGAP", None)
    with pytest.raises(LocalError, match="with the extra `broadcast`"):
        public_warning_asn1.ngap_cancel(4370, SerialNumber(7))


def test_what_cannot_be_loaded_is_refused_with_a_reason(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name, option, text, why in [
        ("a.toml", "--network", "[[controller]]\nname='x'\nhost='h'\ncell=[{id='1'}]", "names no cell"),
        ("b.toml", "--network", "controller = 3", "list of tables"),
        ("c.csv", "--population", "name,lat\n", "no column"),
        ("d.csv", "--population", "name,latitude,longitude,population\nx,a,b,c\n", "line 2"),
        ("e.geojson", "--areas", "{}", "feature collection"),
    ]:
        file = tmp_path / name
        file.write_text(text)
        with pytest.raises(TramontanaError, match=why):
            CliRunner().invoke(tramontana, ["warn", "load", "--data", str(data), option, str(file)], catch_exceptions=False)
    assert not (data / "warnings").exists()
