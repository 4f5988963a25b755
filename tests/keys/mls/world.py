"""Members of one group in one process, for the tests: a server's part is played by handing every message to everybody."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tramontana.keys.identity import DeviceKey
from tramontana.keys.mls.client import Client, OwnKeyPackage, parse_key_package
from tramontana.keys.mls.group import Group
from tramontana.keys.mls.key_schedule import NO_PSKS, PreSharedKeys
from tramontana.keys.mls.messages import Add, Proposal
from tramontana.keys.mls.nodes import Credential, Extensions
from tramontana.keys.mls.outcomes import CommitBytes, Committed, Received
from tramontana.keys.mls.suites import X25519_AES128GCM_SHA256, CipherSuite

NOW = 1_800_000_000.0
GROUP_ID = b"\x07" * 16


class SeededRng:
    """Reproducible bytes: SHAKE-256 over seed and position."""

    def __init__(self, seed: str) -> None:
        self._seed, self._drawn = seed.encode(), 0

    def __call__(self, length: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(self._seed + self._drawn.to_bytes(8, "big")).digest(length)


@dataclass
class Directory:
    """Accepts what was certified, and nothing else."""

    certified: dict[bytes, bytes] = field(default_factory=dict)
    """Identity → signature key."""

    def accepts(self, credential: Credential, signature_key: bytes, replaces: Credential | None) -> bool:
        if replaces is not None and replaces != credential:
            return False
        return self.certified.get(credential.content) == signature_key


class World:
    def __init__(self, seed: str = "world", suite: CipherSuite = X25519_AES128GCM_SHA256) -> None:
        self.rng, self.suite, self.directory = SeededRng(seed), suite, Directory()
        self.clients: dict[str, Client] = {}
        self.groups: dict[str, Group] = {}

    def client(self, name: str, *, certified: bool = True, extensions_supported: tuple[int, ...] = ()) -> Client:
        key = DeviceKey(Ed25519PrivateKey.from_private_bytes(self.rng(32)))
        if certified:
            self.directory.certified[name.encode()] = key.public_bytes
        client = Client(key, Credential.basic(name.encode()), self.directory, self.suite, self.rng, extensions_supported)
        self.clients[name] = client
        return client

    def create(self, name: str = "ada", extensions: Extensions = ()) -> Group:
        client = self.clients.get(name) or self.client(name)
        self.groups[name] = client.create(GROUP_ID, NOW, extensions)
        return self.groups[name]

    def package(self, name: str) -> OwnKeyPackage:
        return (self.clients.get(name) or self.client(name)).new_key_package(NOW)

    def commit(
        self,
        committer: str,
        *proposals: Proposal,
        psks: PreSharedKeys = NO_PSKS,
        public: bool = False,
        renew: bool = False,
        tree: bool = True,
    ) -> CommitBytes:
        """One accepted commit, processed by all; who was removed leaves the world."""
        group = self.groups[committer]
        sent = group.adopt(group.commit(*proposals, now=NOW, psks=psks, public=public, renew=renew, tree_in_welcome=tree))
        self.deliver(committer, sent.commit, psks)
        group.adopt(group.merge())
        return sent

    def deliver(self, sender: str, message: bytes, psks: PreSharedKeys = NO_PSKS) -> dict[str, Received]:
        received: dict[str, Received] = {}
        for name, group in list(self.groups.items()):
            if name != sender:
                received[name] = got = group.adopt(group.receive(message, now=NOW, psks=psks))
                if isinstance(got, Committed) and got.status:
                    del self.groups[name]
        return received

    def admit(self, committer: str, *names: str, tree: bool = True, renew: bool = False) -> CommitBytes:
        packages = {name: self.package(name) for name in names}
        adds = [Add(parse_key_package(package.message)) for package in packages.values()]
        sent = self.commit(committer, *adds, tree=tree, renew=renew)
        assert sent.welcome is not None
        for name, package in packages.items():
            self.groups[name], used = self.clients[name].join(sent.welcome, [package], tree=sent.tree)
            assert used is package
        return sent

    def leaf(self, name: str) -> int:
        return self.groups[name].own_leaf

    def restart(self, name: str) -> None:
        """Forget the group and read it back from what was stored."""
        stored = self.groups[name].serialise()
        self.groups[name] = self.clients[name].restore(stored)
        assert self.groups[name].serialise() == stored

    def check_agreement(self) -> None:
        """Everybody is in the same epoch with the same keys and members."""
        views = {
            (group.epoch, group.epoch_authenticator, group.export("tests", b"context", 32), tuple(group.members))
            for group in self.groups.values()
        }
        assert len(views) == 1
