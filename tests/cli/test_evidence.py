"""`tramontana evidence`: complete, checkable, and without a secret."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.control.custodians import Office, install
from tramontana.cli import sbom
from tramontana.cli.evidence import evidence
from tramontana.control.bootstrap import Bootstrap, prepare
from tramontana.control.store import audit
from tramontana.control.store.database import DATABASE_NAME, Store
from tramontana.errors import LocalError
from tramontana.phone.relay_secret import load_or_make_relay_secret

FILES = {
    "README.md",
    "SHA256SUMS",
    "algorithms.json",
    "audit.json",
    "audit.jsonl",
    "keys.json",
    "log.json",
    "sbom-python.cdx.json",
    "sbom-web.cdx.json",
}


def write(data: Path, folder: Path) -> None:
    result = CliRunner().invoke(evidence, ["--data", str(data), str(folder)])
    if result.exception:
        raise result.exception


def run(data: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tramontana.cli.main", "evidence", "--data", str(data), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Bootstrap]:
    """A data directory that a server has used."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    load_or_make_relay_secret(directory / "relay.secret")
    return directory, prepare(directory)


def test_the_pack_is_complete_and_every_file_can_be_checked(data: tuple[Path, Bootstrap], tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    write(data[0], folder)
    assert {path.name for path in folder.iterdir()} == FILES
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert len((folder / "SHA256SUMS").read_text().splitlines()) == len(FILES) - 1

    verdict = json.loads((folder / "audit.json").read_text())
    rows = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert verdict["intact"]
    assert verdict["rows"] == len(rows) >= 3
    previous = bytes(32)
    for row in rows:  # by the rule that the pack states
        fields = ("tramontana audit 1", previous, row["seq"], row["at"], row["actor"], row["action"], row["subject"], row["details"])
        encoded = [
            field if isinstance(field, bytes) else (repr(field) if isinstance(field, float) else str(field)).encode() for field in fields
        ]
        previous = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in encoded)).digest()
        assert previous.hex() == row["hash"]
    assert verdict["head"] == previous.hex()

    algorithms = json.loads((folder / "algorithms.json").read_text())
    assert algorithms["conversations"]["suite"].startswith("0xF002")
    assert all(profile["lacks"] for profile in algorithms["organisation"]["profiles"].values())
    assert json.loads((folder / "log.json").read_text())["tree_head"] is None
    assert json.loads((folder / "keys.json").read_text())["organisation"] is None


def test_the_pack_holds_no_secret(data: tuple[Path, Bootstrap], tmp_path: Path) -> None:
    directory, bootstrap = data
    write(directory, tmp_path / "pack")
    everything = b"\0".join(path.read_bytes() for path in (tmp_path / "pack").iterdir())
    tokens = [bootstrap.administrator_token, *bootstrap.invitation_tokens]
    secrets = [token.reveal().encode() for token in tokens]
    secrets += [form for token in tokens for form in (token.sha256().hex().encode(), base64.b64encode(token.sha256()))]
    secrets.append((directory / "relay.secret").read_text().strip().encode())
    for secret in secrets:
        assert len(secret) >= 16
        assert secret not in everything
    with sqlite3.connect(directory / DATABASE_NAME) as connection:
        columns = [(table, column) for table in ("invitations", "administrator_links", "sessions") for column in ("token_sha256",)]
        found = [row[0] for table, column in columns for row in connection.execute(f"SELECT {column} FROM {table}")]
    connection.close()
    assert found
    for digest in found:
        assert digest.hex().encode() not in everything


def test_the_pack_tells_the_life_of_every_key(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    prepare(directory)
    made = install(directory)

    async def found() -> None:
        store = await Store.open(directory, None)
        try:
            await made.found(await Office.beside(store, made.log_key))
        finally:
            await store.close()

    asyncio.run(found())
    write(directory, tmp_path / "pack")
    told = json.loads((tmp_path / "pack" / "keys.json").read_text())
    assert (told["organisation"]["profile"], told["organisation"]["fingerprint"]) == ("hybrid-1", made.key.root.fingerprint_text)
    assert [each["log_index"] for each in told["certificates"]] == [2, 3]
    assert all("custodian" in each["roles"] and each["not_after"] > each["not_before"] for each in told["certificates"])
    assert [each["revoked_at"] for each in told["certificates"]] == [None, None]
    lives = json.loads((tmp_path / "pack" / "algorithms.json").read_text())["lifetimes_s"]
    assert lives["session_of_a_tunnel_at_most"] == 180


def test_a_broken_trail_is_said_and_shown(data: tuple[Path, Bootstrap], tmp_path: Path) -> None:
    with sqlite3.connect(data[0] / DATABASE_NAME) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 2")
    connection.close()
    done = run(data[0], tmp_path / "pack")
    assert done.returncode == 1
    assert "from row 2 on" in done.stderr
    verdict = json.loads((tmp_path / "pack" / "audit.json").read_text())
    assert (verdict["intact"], verdict["first_broken"]) == (False, 2)


def test_a_pack_never_overwrites(data: tuple[Path, Bootstrap], tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    with pytest.raises(LocalError, match="choose a folder"):
        write(data[0], tmp_path / "pack")
    assert list((tmp_path / "pack").iterdir()) == []


def test_an_empty_directory_is_no_installation(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    with pytest.raises(LocalError, match="no database"):
        write(tmp_path / "empty", tmp_path / "pack")
    assert list((tmp_path / "empty").iterdir()) == []


def test_the_bills_name_what_the_lock_files_pin() -> None:
    python = sbom.python_components(sbom.lock_text("requirements.lock"))
    by_name = {component["name"]: component for component in python}
    lock = sbom.lock_text("requirements.lock")
    assert len(python) == sum(1 for line in lock.splitlines() if "==" in line and not line.startswith(" "))
    assert sum(len(component["hashes"]) for component in python) == lock.count("--hash=sha256:")
    assert by_name["cryptography"]["purl"] == f"pkg:pypi/cryptography@{by_name['cryptography']['version']}"
    assert "pytest" not in by_name
    web = {component["name"]: component for component in sbom.npm_components(sbom.lock_text("package-lock.json"))}
    assert web["ts-mls"]["version"] == "1.6.4"
    assert web["@hpke/core"]["purl"].startswith("pkg:npm/%40hpke/core@")
    assert web["preact"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert all(len(component["hashes"][0]["content"]) == 128 for component in web.values())
    assert "vitest" not in web
    document = sbom.bill("tramontana", python, 0.0)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"
    assert len({component["bom-ref"] for component in document["components"]}) == len(python)
    assert document["serialNumber"] == sbom.bill("tramontana", python, 9.0)["serialNumber"]


@pytest.mark.parametrize("lock", ["cryptography>=45", "    --hash=sha256:" + 64 * "0", "-e ."])
def test_a_lock_that_pins_nothing_is_refused(lock: str) -> None:
    with pytest.raises(LocalError, match="make it anew"):
        sbom.python_components(lock)


def test_the_stated_rule_is_the_one_of_the_code() -> None:
    assert audit.CONTEXT == b"tramontana audit 1"
