"""Three MLS engines behind one interface: the core, the browser's ts-mls (in Node), and mls-rs. For differential tests."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.keys.mls.world import GROUP_ID, SeededRng
from tramontana.keys.identity import DeviceKey
from tramontana.keys.mls.client import Client, OwnKeyPackage, parse_key_package
from tramontana.keys.mls.group import Group
from tramontana.keys.mls.key_schedule import PreSharedKeys
from tramontana.keys.mls.messages import Add, PreSharedKey, Proposal, PskId, Remove
from tramontana.keys.mls.nodes import Credential
from tramontana.keys.mls.outcomes import Application
from tramontana.keys.mls.state import Status
from tramontana.keys.mls.suites import SUITES

ROOT = Path(__file__).parents[3]
ESBUILD = ROOT / "web/node_modules/.bin/esbuild"

Psk = tuple[bytes, bytes]
"""(id, nonce)."""


@dataclass(frozen=True)
class View:
    epoch: int
    authenticator: bytes
    exported: bytes


class Peer(Protocol):
    """One member. What it refuses raises an exception of whatever kind its engine has."""

    name: str
    kind: str

    def key_package(self) -> bytes: ...
    def create(self) -> None: ...
    def join(self, welcome: bytes, tree: bytes | None) -> None: ...
    def external(self, group_info: bytes, *, resync: int | None) -> bytes: ...
    def group_info(self) -> bytes: ...
    def commit(
        self, adds: Sequence[bytes], removes: Sequence[int], psks: Sequence[Psk], *, public: bool
    ) -> tuple[bytes, bytes | None, bytes | None]: ...
    def merge(self) -> None: ...
    def propose_remove(self, leaf: int, *, public: bool) -> bytes: ...
    def process(self, message: bytes) -> bytes | None:
        """The plaintext of application data."""
        ...

    def seal(self, plaintext: bytes) -> bytes: ...
    def restart(self) -> None: ...
    def view(self) -> View: ...
    def is_active(self) -> bool: ...


class Everybody:
    def accepts(self, credential: Credential, signature_key: bytes, replaces: Credential | None) -> bool:
        return replaces is None or replaces == credential


@dataclass
class Keys:
    """Pre-shared keys that all peers of a run hold."""

    external: dict[bytes, bytes] = field(default_factory=dict)


class PythonPeer:
    kind = "python"

    def __init__(self, name: str, suite: int, rng: SeededRng, keys: Keys) -> None:
        self.name, self._keys = name, keys
        signer = DeviceKey(Ed25519PrivateKey.from_private_bytes(rng(32)))
        # ts-mls and mls-rs choose longer lifetimes than our phones do.
        self._client = Client(signer, Credential.basic(name.encode()), Everybody(), SUITES[suite], rng, max_lifetime_s=400 * 86_400)
        self._packages: list[OwnKeyPackage] = []
        self._group: Group | None = None

    @property
    def group(self) -> Group:
        assert self._group is not None
        return self._group

    def _psks(self) -> PreSharedKeys:
        return PreSharedKeys(self._keys.external)

    def key_package(self) -> bytes:
        self._packages.append(self._client.new_key_package(time.time()))
        return self._packages[-1].message

    def create(self) -> None:
        self._group = self._client.create(GROUP_ID, time.time())

    def join(self, welcome: bytes, tree: bytes | None) -> None:
        self._group, _ = self._client.join(welcome, self._packages, tree=tree, psks=self._psks())

    def external(self, group_info: bytes, *, resync: int | None) -> bytes:
        self._group, sent = self._client.join_externally(group_info, time.time(), replaces=resync)
        return sent.commit

    def group_info(self) -> bytes:
        return self.group.group_info()

    def commit(
        self, adds: Sequence[bytes], removes: Sequence[int], psks: Sequence[Psk], *, public: bool
    ) -> tuple[bytes, bytes | None, bytes | None]:
        proposals: list[Proposal] = [Add(parse_key_package(message)) for message in adds]
        proposals += [Remove(leaf) for leaf in removes]
        proposals += [PreSharedKey(PskId(nonce, psk_id)) for psk_id, nonce in psks]
        sent = self.group.adopt(self.group.commit(*proposals, now=time.time(), psks=self._psks(), public=public))
        return sent.commit, sent.welcome, sent.tree

    def merge(self) -> None:
        self.group.adopt(self.group.merge())

    def propose_remove(self, leaf: int, *, public: bool) -> bytes:
        return self.group.adopt(self.group.propose(Remove(leaf), now=time.time(), public=public))

    def propose_update(self, *, public: bool) -> bytes:
        return self.group.adopt(self.group.propose_update(public=public))

    def process(self, message: bytes) -> bytes | None:
        received = self.group.adopt(self.group.receive(message, now=time.time(), psks=self._psks()))
        return received.plaintext if isinstance(received, Application) else None

    def seal(self, plaintext: bytes) -> bytes:
        return self.group.adopt(self.group.seal(plaintext))

    def restart(self) -> None:
        self._group = self._client.restore(self.group.serialise())

    def view(self) -> View:
        return View(self.group.epoch, self.group.epoch_authenticator, self.group.export("tests", b"context", 32))

    def is_active(self) -> bool:
        return self.group.status is Status.ACTIVE


class RefusedByNode(Exception):
    """ts-mls refused; the message is its own."""


class Node:
    """The process with the ts-mls members."""

    def __init__(self, bundle: Path) -> None:
        self._process = subprocess.Popen(["node", str(bundle)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @staticmethod
    def bundle(directory: Path) -> Path:
        """The driver with ts-mls and our suite in one file."""
        output = directory / "mls_peer.mjs"
        source = ROOT / "web/tests/engine/mls_peer.ts"
        command = [str(ESBUILD), str(source), "--bundle", "--platform=node", "--format=esm", "--log-level=warning", f"--outfile={output}"]
        subprocess.run(command, check=True, cwd=ROOT / "web", timeout=120)
        return output

    def ask(self, op: str, name: str, **fields: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, "name": name, **fields}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RefusedByNode(f"{op}: {answer['error']}")
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


class NodePeer:
    kind = "ts-mls"

    def __init__(self, name: str, suite: int, node: Node) -> None:
        self.name, self._node = name, node
        node.ask("client", name, suite=suite)

    def _ask(self, op: str, **fields: object) -> dict[str, Any]:
        return self._node.ask(op, self.name, **fields)

    def key_package(self) -> bytes:
        return bytes.fromhex(self._ask("key_package")["message"])

    def create(self) -> None:
        self._ask("create", group_id=GROUP_ID.hex())

    def join(self, welcome: bytes, tree: bytes | None) -> None:
        assert tree is None
        self._ask("join", welcome=welcome.hex())

    def external(self, group_info: bytes, *, resync: int | None) -> bytes:
        return bytes.fromhex(self._ask("external", group_info=group_info.hex(), resync=resync is not None)["commit"])

    def group_info(self) -> bytes:
        return bytes.fromhex(self._ask("group_info")["message"])

    def commit(
        self, adds: Sequence[bytes], removes: Sequence[int], psks: Sequence[Psk], *, public: bool
    ) -> tuple[bytes, bytes | None, bytes | None]:
        pairs = [[psk_id.hex(), nonce.hex()] for psk_id, nonce in psks]
        made = self._ask("commit", adds=[add.hex() for add in adds], removes=list(removes), psks=pairs, public=public)
        return bytes.fromhex(made["commit"]), None if made["welcome"] is None else bytes.fromhex(made["welcome"]), None

    def merge(self) -> None:
        self._ask("merge")

    def propose_remove(self, leaf: int, *, public: bool) -> bytes:
        return bytes.fromhex(self._ask("propose", removes=[leaf], public=public)["message"])

    def process(self, message: bytes) -> bytes | None:
        plaintext = self._ask("process", message=message.hex()).get("plaintext")
        return None if plaintext is None else bytes.fromhex(plaintext)

    def seal(self, plaintext: bytes) -> bytes:
        return bytes.fromhex(self._ask("seal", plaintext=plaintext.hex())["message"])

    def restart(self) -> None:
        self._ask("restart")

    def view(self) -> View:
        seen = self._ask("view")
        return View(seen["epoch"], bytes.fromhex(seen["authenticator"]), bytes.fromhex(seen["exported"]))

    def is_active(self) -> bool:
        return bool(self._ask("view")["active"])


class RustPeer:
    """mls-rs through its foreign interface: suite 1, no pre-shared keys, no external join of its own; it removes only its own kind."""

    kind = "mls-rs"

    def __init__(self, name: str) -> None:
        import mls_rs_uniffi as rust

        self.name, self._rust = name, rust
        keys = rust.generate_signature_keypair(rust.CipherSuite.CURVE25519_AES128)
        self.client = rust.Client(name.encode(), keys, rust.client_config_default())
        self._group: Any = None
        self._own: Any = None
        self.active = True

    def key_package(self) -> bytes:
        return bytes(self.client.generate_key_package_message().to_bytes())

    def create(self) -> None:
        self._group = self.client.create_group(GROUP_ID)

    def join(self, welcome: bytes, tree: bytes | None) -> None:
        assert tree is None
        self._group = self.client.join_group(None, self._rust.Message.from_bytes(welcome)).group

    def external(self, group_info: bytes, *, resync: int | None) -> bytes:
        raise AssertionError("a script asked mls-rs for an external join, which its foreign interface does not have")

    def group_info(self) -> bytes:
        raise AssertionError("a script asked mls-rs for a group info, which its foreign interface does not have")

    def commit(
        self, adds: Sequence[bytes], removes: Sequence[int], psks: Sequence[Psk], *, public: bool
    ) -> tuple[bytes, bytes | None, bytes | None]:
        assert not removes
        assert not psks
        packages = [self._rust.Message.from_bytes(add) for add in adds]
        made = self._group.add_members(packages) if packages else self._group.commit()
        self._own = made.commit_message
        welcome = None if made.welcome_message is None else bytes(made.welcome_message.to_bytes())
        return bytes(made.commit_message.to_bytes()), welcome, None

    def merge(self) -> None:
        self._group.process_incoming_message(self._own)

    def propose_remove(self, leaf: int, *, public: bool) -> bytes:
        raise AssertionError("a script asked mls-rs to remove a leaf by number, which its foreign interface does not have")

    def process(self, message: bytes) -> bytes | None:
        received = self._group.process_incoming_message(self._rust.Message.from_bytes(message))
        if received.is_application_message():
            return bytes(received.data)
        if received.is_commit() and received.effect.is_removed():
            self.active = False
        return None

    def seal(self, plaintext: bytes) -> bytes:
        return bytes(self._group.encrypt_application_message(plaintext).to_bytes())

    def restart(self) -> None:
        self._group.write_to_storage()
        self._group = self.client.load_group(GROUP_ID)

    def view(self) -> View:
        return View(-1, b"", bytes(self._group.export_secret(b"tests", b"context", 32)))

    def is_active(self) -> bool:
        return self.active
