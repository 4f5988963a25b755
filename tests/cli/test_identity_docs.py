"""docs/identity.md, command for command, against a running server: from founding an organisation to its audit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.control.test_serve import serving
from tramontana.cli.main import tramontana
from tramontana.cli.server_api import ServerApi, ServerRefused, split_link
from tramontana.errors import TramontanaError
from tramontana.keys.identity import DeviceKey
from tramontana.keys.organisation import device_code, parse_fingerprint, verify_root
from tramontana.keys.profiles import PROFILES

PAGE = Path(__file__).parents[2] / "docs" / "identity.md"
BLOCKS = [match.strip().splitlines() for match in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)]


class Walk:
    """Takes the page's blocks one after another, in one directory; `names` are the shell variables that the page uses."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: dict[str, str] = {}
        self.opened: list[ServerApi] = []
        self._left = iter(BLOCKS)

    def block(self, expected: str) -> list[str]:
        """Run the next block, which begins with this command. What each of its commands printed."""
        lines = next(self._left)
        assert lines[0].startswith(f"tramontana {expected} "), lines[0]
        return [self.line(line) for line in lines]

    def line(self, line: str, status: int = 0) -> str:
        command, _, file = line.partition(" > ")
        command = re.sub(r'"\$\(head -n 1 ([a-z.]+)\)"', lambda match: f'"{self.first_line(match[1])}"', command)
        command = re.sub(r"\$([A-Z]+)", lambda match: self.names[match[1]], command)
        name, *arguments = shlex.split(command)
        assert name == "tramontana"
        ran = CliRunner().invoke(tramontana, arguments)
        said = ran.stdout if ran.exception is None else f"{ran.output}{ran.exception}"
        assert (ran.exit_code != 0) == bool(status), f"{line}\n{said}"
        if file:
            (self.directory / file).write_text(said)
        return said

    def first_line(self, file: str) -> str:
        return (self.directory / file).read_text().splitlines()[0]

    def at_an_end(self) -> bool:
        return next(self._left, None) is None


class Person:
    """Somebody with a device."""

    def __init__(self, walk: Walk, link_file: str, name: str) -> None:
        origin, fields = split_link(walk.first_line(link_file))
        self.key, self.api = DeviceKey.generate(), ServerApi(origin)
        walk.opened.append(self.api)
        self.account_id, self.device_id = self.api.enrol(fields["invite"], name, self.key)
        self.code = device_code(parse_fingerprint(fields["org"]), self.key.public_bytes)

    def state(self) -> str:
        self.api.login(self.device_id, self.key)
        return str(self.api.call("GET", "/me/certificate")["state"])

    def refusal(self) -> str:
        with pytest.raises(ServerRefused) as refused:
            self.api.login(self.device_id, self.key)
        return refused.value.code


@pytest.fixture
def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAMONTANA_DATA", str(tmp_path / "data"))
    for name in ("ministry", "first", "second", "allies"):
        file = tmp_path / f"{name}.pass"
        file.write_text(f"a passphrase of {name}\n")
        file.chmod(0o600)
    walk = Walk(tmp_path)
    yield walk
    for api in walk.opened:
        api.close()


def test_the_page_names_every_profile() -> None:
    assert re.findall(r"^\| `([a-z0-9.-]+-1)`", PAGE.read_text(), re.M) == list(PROFILES)


def test_the_page_is_true(walk: Walk) -> None:
    [said] = walk.block("init")
    fingerprint = re.search(r"Fingerprint +(\S{43})", said)
    assert fingerprint is not None
    walk.names["FINGERPRINT"] = fingerprint[1]
    for step in ("organisation request", "organisation sign", "organisation install"):
        [said] = walk.block(step)
    assert said == f"This server belongs to Ministry of the Sea, fingerprint {fingerprint[1]}.\n"
    with serving(walk.directory / "data"):
        walk.block("invite")
        assert [line.split(",")[0] for line in walk.block("custodian enrol")] == ["Founding custodian"] * 2
        _enrols(walk)


def _waiting(walk: Walk, who: str) -> None:
    """REQUEST and CODE of somebody who waits, as the list shows them."""
    listed = walk.line("tramontana custodian list --home first --passphrase-file first.pass")
    found = re.search(rf"^([0-9a-f]{{8}})  {re.escape(who)}   code (.{{19}})$", listed, re.M)
    assert found is not None, listed
    walk.names |= {"REQUEST": found[1], "CODE": found[2]}


def _enrols(walk: Walk) -> None:
    walk.block("invite")
    ada = Person(walk, "ada.link", "Ada")
    assert ada.state() == "pending"
    [listed] = walk.block("custodian list")
    assert "unit Fleet, roles member, ceiling flash" in listed
    assert "2 more to approve" in listed
    _waiting(walk, "Ada")
    assert walk.names["CODE"] == ada.code
    approve = "tramontana custodian approve --home first --passphrase-file first.pass"
    assert "the codes differ" in walk.line(f'{approve} --code "AAAA BBBB CCCC DDDD" $REQUEST', 1)
    [said] = walk.block("custodian approve")
    assert said.splitlines()[-2:] == ["Approved.", "1 more custodian has to approve."]
    assert ada.state() == "pending"
    [said] = walk.block("custodian approve")
    assert said.splitlines()[-2:] == ["Approved.", "Certificate issued, entry 4 of the log."]
    assert ada.state() == "certified"

    walk.line('tramontana invite --note "Eve" > eve.link')
    eve = Person(walk, "eve.link", "Eve")
    _waiting(walk, "Eve")
    assert walk.block("custodian reject") == ["Rejected.\n"]
    assert eve.refusal() == "enrolment_rejected"
    assert walk.line("tramontana custodian list --home second --passphrase-file second.pass") == "Nothing waits for approval.\n"
    _changes(walk, ada)


def _changes(walk: Walk, ada: Person) -> None:
    walk.names["DEVICE"] = ada.device_id
    [said] = walk.block("custodian change")
    request = re.search(r"request ([0-9a-f]{8})\.", said)
    assert request is not None
    walk.names["REQUEST"] = request[1]
    [said] = walk.block("custodian approve")
    assert said.endswith("entry 5 of the log.\n")
    ada.state()
    me = ada.api.call("GET", "/me")
    assert me["precedence_ceiling"] == "priority"

    assert walk.block("custodian revoke") == ["Revoked, entry 6 of the log.\n"]
    with pytest.raises(ServerRefused, match="Log in again"):
        ada.api.call("GET", "/me")
    assert ada.refusal() == "device_revoked"
    again = "tramontana custodian revoke --home first --passphrase-file first.pass --reason again --organisation ministry"
    assert "revoked already" in walk.line(f"{again} --key-passphrase-file ministry.pass $DEVICE", 1)
    _recovers(walk, ada)


def _recovers(walk: Walk, ada: Person) -> None:
    walk.names["ACCOUNT"] = ada.account_id
    walk.block("invite")
    new = Person(walk, "again.link", "Ada")
    assert new.account_id == ada.account_id
    _waiting(walk, "Ada")
    said = walk.block("custodian approve")
    assert "1 more custodian has to approve." in said[0]
    assert "entry 7 of the log" in said[1]
    assert new.state() == "certified"

    walk.block("auditor-link")
    [seen] = walk.block("log follow")
    assert [line.split(maxsplit=1)[0] for line in seen.splitlines()] == [str(number) for number in range(8)]
    assert "left in a taxi" in seen
    assert "ceiling flash; 2 approvals" in seen
    _withdraws_the_auditors_link(walk)
    _federates(walk)


def _withdraws_the_auditors_link(walk: Walk) -> None:
    follow = 'tramontana log follow --org "$FINGERPRINT" --state audit.json --once "$(head -n 1 audit.link)"'
    walk.names["ID"], note = walk.line("tramontana auditor-link --list").split(maxsplit=1)
    assert "court of audit" in note
    listed, _ = walk.block("auditor-link")
    assert listed.startswith(walk.names["ID"])
    assert "not_logged_in" in walk.line(follow, status=1)
    assert "no link of this id" in walk.line('tramontana auditor-link --withdraw "$ID"', status=1)
    walk.line('tramontana auditor-link --note "its successor" > audit.link')


def _federates(walk: Walk) -> None:
    walk.line("tramontana init --organisation allies --name Allies --passphrase-file allies.pass")
    (walk.directory / "allies.root").write_bytes((walk.directory / "allies" / "organisation.root").read_bytes())
    allies = verify_root((walk.directory / "allies.root").read_bytes())
    walk.names["THEIRS"] = walk.names["FINGERPRINT"]
    wrong = next(line for block in BLOCKS for line in block if "cross-certify" in line)
    assert "another organisation" in walk.line(wrong, 1)
    walk.names["THEIRS"] = allies.fingerprint_text
    walk.block("organisation cross-certify")
    said = walk.block("custodian federate")
    assert said[0] == "Cross-certified, entry 8 of the log.\n"
    serial = re.match(r"([0-9a-f]{32})  Allies: units Coast Guard, roles member, ceiling priority, until ", said[1])
    assert serial is not None
    walk.names["SERIAL"] = serial[1]
    walk.block("invite")
    guest = Person(walk, "guest.link", "Liaison")
    _waiting(walk, "Liaison")
    code, walk.names["CODE"] = walk.names["CODE"], "AAAA BBBB CCCC DDDD"
    early = walk.line('tramontana custodian guest --home first --passphrase-file first.pass "$REQUEST"', 1)
    assert "1 more custodian has to approve this first" in early
    walk.names["CODE"] = code
    said = walk.block("custodian approve")
    assert said[0].splitlines()[-1] == "Approved."
    assert guest.state() == "pending"
    certify = "tramontana organisation certify-guest --organisation allies --passphrase-file allies.pass"
    assert "the codes differ" in walk.line(f'{certify} --code "AAAA BBBB CCCC DDDD" guest.json', 1)
    walk.block("organisation certify-guest")
    assert walk.block("custodian admit") == ["Guest certified, entry 10 of the log.\n"]
    assert guest.state() == "certified"
    seen = walk.line('tramontana log follow --org "$FINGERPRINT" --state audit.json --once "$(head -n 1 audit.link)"')
    assert "certificate of Liaison, guest of Allies (member; ceiling priority; 1 approvals)" in seen
    assert walk.block("custodian unfederate") == ["Revoked, entry 11 of the log.\n"]
    assert guest.refusal() == "device_revoked"
    listed = "tramontana custodian federations --home second --passphrase-file second.pass"
    assert walk.line(listed) == "No organisation is cross-certified.\n"
    assert walk.at_an_end()


def test_the_page_says_what_the_commands_say() -> None:
    """Every option on the page is one of its command, and pages that it names exist."""
    for block in BLOCKS:
        for line in block:
            _, *words = shlex.split(line.partition(" > ")[0])
            command: click.Command = tramontana
            for name in words:
                if not isinstance(command, click.Group):
                    break
                found = command.get_command(click.Context(command), name)
                assert found is not None, line
                command = found
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            assert {word for word in words if word.startswith("--")} <= known, line
    for target in re.findall(r"\]\(([a-z-]+\.md)\)", PAGE.read_text()):
        assert (PAGE.parent / target).is_file(), target


def test_wrong_keys_and_links_are_one_sentence(walk: Walk, tmp_path: Path) -> None:
    for block in BLOCKS[:1]:
        walk.line(block[0])
    for line, words in (
        ("tramontana init --organisation ministry --name Again --passphrase-file ministry.pass", "an organisation in"),
        ("tramontana init --organisation data/keys --name Again --passphrase-file ministry.pass", "must not be in the server's data"),
        ("tramontana custodian list --home nobody --passphrase-file first.pass", "cannot read"),
        ("tramontana custodian enrol --name X --home x --passphrase-file first.pass hello", "not the address of a server"),
        ("tramontana organisation sign --organisation ministry --passphrase-file ministry.pass ministry.pass", "is not a"),
    ):
        assert words in walk.line(line, 1)
    (tmp_path / "request.json").write_text('{"format": "tramontana log key request 1", "service_id": "x", "log_public_key": "?"}')
    ran = CliRunner().invoke(tramontana, shlex.split("organisation sign --organisation ministry --passphrase-file first.pass request.json"))
    assert isinstance(ran.exception, TramontanaError)
    assert "passphrase does not open" in str(ran.exception)
