"""`tramontana log follow` against a server that lies: each lie is refused, named, kept as evidence, and ends with exit status 3."""

from __future__ import annotations

import json
import secrets
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from tests.keys.organisations import Organisation, grant
from tramontana.cli.log import ALARM_STATUS, follow_log
from tramontana.keys.certificate import issue_revocation
from tramontana.keys.federation import Federation, issue_federation
from tramontana.keys.follow import MAX_HEAD_AGE_S, Follower, StateDamaged
from tramontana.keys.log import TreeHead
from tramontana.keys.merkle import Edge
from tramontana.keys.organisation import OrganisationKey, SignedStatement
from tramontana.keys.refused import Refused
from tramontana.precedence import Precedence


def b64(value: bytes) -> str:
    return b64encode(value).decode()


def root_of(entries: Sequence[bytes]) -> bytes:
    edge = Edge()
    for entry in entries:
        edge.append(entry)
    return edge.root


def federation(key: OrganisationKey) -> Federation:
    allies = Organisation.make("Allies").key.root
    limits = {"units": ("Coast Guard",), "roles": ("member",), "ceiling": Precedence.PRIORITY, "not_after": 2_000_000_000}
    return issue_federation(key, secrets.token_hex(16), allies, **limits, now=time.time())  # type: ignore[arg-type]


class LogServer:
    """The three answers that an auditor asks for. It is honest until a test makes it lie."""

    def __init__(self, organisation: Organisation) -> None:
        self.organisation = organisation
        self.entries = organisation.founding()
        self.log_key_statement = organisation.log_key_statement().encoded
        self.entries[1] = self.log_key_statement
        self.shown: list[bytes] | None = None
        """The entries that are shown, if not those that were signed."""
        self.late_s = 0.0
        """How old the head is."""
        self.tokens: list[str | None] = []
        self.answers: bytes | None = None
        """What it answers whatever it is asked."""

    def head(self) -> TreeHead:
        return self.organisation.log_key.sign_head(len(self.entries), root_of(self.entries), now=time.time() - self.late_s)

    def certify(self, name: str) -> None:
        self.entries.append(self.organisation.certify(grant(name), "First").encoded)

    def answer(self, path: str, query: dict[str, list[str]]) -> dict[str, object]:
        if path == "/api/v1/organisation":
            root = self.organisation.key.root
            return {"organisation": b64(root.encoded), "log_key": b64(self.log_key_statement)}
        if path == "/api/v1/log/head":
            head = self.head()
            shown = {"log_id": head.log_id, "root_hash": head.root_hash, "signature": head.signature}
            return {"tree_size": head.tree_size, "at": head.at, **{name: b64(value) for name, value in shown.items()}}
        assert path == "/api/v1/log/entries"
        entries, start, count = self.entries if self.shown is None else self.shown, int(query["start"][0]), int(query["count"][0])
        return {"entries": [b64(entry) for entry in entries[start : start + count]]}

    @contextmanager
    def listening(self) -> Iterator[str]:
        lies = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                lies.tokens.append(self.headers.get("Authorization"))
                body = lies.answers or json.dumps(lies.answer(parts.path, parse_qs(parts.query))).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}#audit={'t' * 43}"
            finally:
                server.shutdown()


@pytest.fixture(scope="module")
def ministry() -> Organisation:
    return Organisation.make()


@pytest.fixture
def server(ministry: Organisation) -> LogServer:
    return LogServer(ministry)


def look(url: str, server: LogServer, state: Path, fingerprint: str | None = None) -> Result:
    org = fingerprint or server.organisation.key.root.fingerprint_text
    return CliRunner().invoke(follow_log, [url, "--org", org, "--state", str(state), "--once"])


def test_an_honest_log_is_followed_over_many_looks(server: LogServer, tmp_path: Path) -> None:
    state = tmp_path / "log.json"
    with server.listening() as url:
        first = look(url, server, state)
        assert first.exit_code == 0, first.output
        assert "organisation Ministry, profile hybrid-1" in first.output
        assert first.output.count("certificate of") == 2
        for number in range(70):  # more than one answer holds
            server.certify(f"Phone {number}")
        more = look(url, server, state)
        assert more.exit_code == 0, more.output
        assert more.output.count("certificate of Phone") == 70
        key, lost = server.organisation.key, server.organisation.certify(grant("Ada"), "First")
        revocation = issue_revocation(key, lost.serial, lost.grant.device_id, "lost", now=time.time())
        server.entries += [lost.encoded, revocation.encoded, federation(key).encoded]
        last = look(url, server, state)
        assert ": lost" in last.output
        assert "cross-certification of Allies, ceiling priority" in last.output
        assert "nothing new" in look(url, server, state).output
        assert set(server.tokens) == {f"Bearer {'t' * 43}"}
    assert state.stat().st_mode & 0o077 == 0


def _hides(server: LogServer) -> None:
    server.certify("Eve")
    server.shown = server.entries[:-1]


def _shrinks(server: LogServer) -> None:
    del server.entries[-1]


def _rewrites(server: LogServer) -> None:
    server.entries[4] = server.organisation.certify(grant("Eve"), "First").encoded
    server.certify("Later")


def _reorders_what_was_seen(server: LogServer) -> None:
    server.entries[4], server.entries[5] = server.entries[5], server.entries[4]


def _reorders_what_comes(server: LogServer) -> None:
    for name in ("Chiara", "Dora"):
        server.certify(name)
    server.shown = [*server.entries[:-2], server.entries[-1], server.entries[-2]]


def _forks(server: LogServer) -> None:
    """Another last entry for this reader."""
    server.entries[-1] = server.organisation.certify(grant("Bruno's second"), "First").encoded


def _adds_a_device(server: LogServer) -> None:
    """A certificate that the organisation never signed: the server has no key of it."""
    good = SignedStatement.parse(server.organisation.certify(grant("Eve"), "First").encoded)
    stranger = SignedStatement.parse(Organisation.make().certify(grant("Eve"), "First").encoded)
    server.entries.append(SignedStatement(good.statement, stranger.ed25519_signature, stranger.ml_dsa_signature).encode())


def _adds_without_approval(server: LogServer) -> None:
    """Signed with the organisation's key, but one custodian gave a flash ceiling alone."""
    server.entries.append(server.organisation.certify(grant("Eve", ceiling=Precedence.FLASH), "First").encoded)


def _replays(server: LogServer) -> None:
    server.entries.append(server.entries[4])


def _shows_an_old_head(server: LogServer) -> None:
    server.late_s = MAX_HEAD_AGE_S + 60


def _changes_the_log_key(server: LogServer) -> None:
    server.log_key_statement = Organisation(server.organisation.key).log_key_statement().encoded


def _signs_with_another_key(server: LogServer) -> None:
    server.organisation = Organisation(server.organisation.key)


LIES: dict[str, tuple[Callable[[LogServer], None], str]] = {
    "hides": (_hides, "hides some"),
    "shrinks": (_shrinks, "has shrunk from 6 to 5"),
    "rewrites": (_rewrites, "was rewritten"),
    "reorders what was seen": (_reorders_what_was_seen, "two different logs of 6 entries"),
    "reorders what comes": (_reorders_what_comes, "was rewritten"),
    "forks": (_forks, "two different logs of 6 entries"),
    "adds a device": (_adds_a_device, "(forged)"),
    "adds without approval": (_adds_without_approval, "(missing_approver)"),
    "replays": (_replays, "(replayed)"),
    "old head": (_shows_an_old_head, "not of now"),
    "another log key": (_changes_the_log_key, "another log than before"),
    "another key's head": (_signs_with_another_key, "not of this log"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_named_and_kept(server: LogServer, tmp_path: Path, name: str) -> None:
    lie, words = LIES[name]
    state = tmp_path / "log.json"
    for person in ("Ada", "Bruno"):
        server.certify(person)
    with server.listening() as url:
        assert look(url, server, state).exit_code == 0
        before, signed_before = state.read_bytes(), json.loads(state.read_bytes())["head"]
        lie(server)
        caught = look(url, server, state)
    assert caught.exit_code == ALARM_STATUS, caught.output
    assert words in caught.output
    assert state.read_bytes() == before, "what was believed before an alarm stays what is believed"
    evidence = json.loads((tmp_path / "log.json.alarm").read_bytes())
    assert words in evidence["sentence"]
    assert evidence["signed"][0] == signed_before


def test_a_log_that_lies_at_first_sight(server: LogServer, tmp_path: Path) -> None:
    _adds_a_device(server)
    with server.listening() as url:
        caught = look(url, server, tmp_path / "log.json")
    assert (caught.exit_code, "(forged)" in caught.output) == (ALARM_STATUS, True)
    assert not (tmp_path / "log.json").exists()


def test_what_is_no_lie_is_no_alarm(server: LogServer, tmp_path: Path) -> None:
    """The wrong fingerprint, a server that is no server, a damaged state: exit status 1, and a sentence."""
    other = Organisation.make()
    with server.listening() as url:
        for result in (
            look(url, server, tmp_path / "log.json", other.key.root.fingerprint_text),
            look(url, server, tmp_path / "log.json", "short"),
        ):
            assert result.exit_code == 1
            assert "fingerprint" in str(result.exception)
        assert look(url, server, tmp_path / "log.json").exit_code == 0
        for answer in (b"<html>", b"[]", b'{"organisation": 1}', b'{"organisation": "?", "log_key": "?"}'):
            server.answers = answer
            unreachable = look(url, server, tmp_path / "log.json")
            assert unreachable.exit_code == 1
            assert "does not answer as a server" in str(unreachable.exception)
        server.answers = None
        (tmp_path / "log.json").write_text("{}")
        damaged = look(url, server, tmp_path / "log.json")
        assert damaged.exit_code == 1
        assert "state file" in str(damaged.exception)
    assert not (tmp_path / "log.json.alarm").exists()


def test_a_state_is_the_same_after_a_restart(server: LogServer) -> None:
    key = server.organisation.key
    server.certify("Ada")
    server.entries.append(federation(key).encoded)
    follower = Follower.begin(key.root.encoded, key.root.fingerprint, server.log_key_statement)
    for entry in server.entries:
        follower.read(entry)
    head = server.head()
    follower.accept(head)
    kept = Follower.load(follower.dump(), key.root.fingerprint)
    assert (kept.register, kept.head, kept.dump()) == (follower.register, follower.head, follower.dump())
    with pytest.raises(Refused, match="another organisation"):
        Follower.load(follower.dump(), Organisation.make().key.root.fingerprint)
    document = json.loads(follower.dump())
    damages: list[dict[str, object]] = [{"format": "other"}, {"size": "x", "edge": [1]}, {"certificates": [{}]}, {"head": {}}]
    for damage in damages:
        with pytest.raises(StateDamaged):
            Follower.load(json.dumps({**document, **damage}).encode(), key.root.fingerprint)
