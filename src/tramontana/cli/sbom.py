"""Software bills of materials (CycloneDX 1.6, JSON) from the lock files: what is installed, with the digests checked at installation.

Only what a running service or phone is made of is listed; packages that build and test it stand in the lock files as well and are left out.
"""

from __future__ import annotations

import json
import re
import uuid
from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tramontana import __version__
from tramontana.errors import LocalError

LOCKS = ("requirements.lock", "package-lock.json")
_SOURCE_TREE = Path(__file__).parents[3]
_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)(\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_SPDX_ID = re.compile(r"^[A-Za-z0-9.+-]+$")


class LockMissing(LocalError):
    """The lock files are not where this release keeps them; install the wheel again, or run the command in the source tree."""


def lock_text(name: str) -> str:
    """A lock file: of the installed wheel, else of the source tree. Raises `LockMissing`."""
    installed = Path(__file__).parents[1] / "locks" / name
    source = _SOURCE_TREE / ("web/package-lock.json" if name == "package-lock.json" else name)
    for path in (installed, source):
        if path.is_file():
            return path.read_text("utf-8")
    raise LockMissing(f"{name} was found neither at {installed} nor at {source}; install the wheel again, or run this in the source tree")


def python_components(lock: str) -> list[dict[str, Any]]:
    """The packages of a `requirements.lock`. Raises `LocalError` for a line that is not a pinned package with digests."""
    components: list[dict[str, Any]] = []
    for line in lock.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if digest := _HASH.search(stripped):
            if not components:
                raise LocalError("requirements.lock begins with a digest; make it anew")
            components[-1]["hashes"].append({"alg": "SHA-256", "content": digest.group(1)})
            continue
        pinned = _PINNED.match(stripped)
        if pinned is None:
            raise LocalError(f"requirements.lock has a line that pins nothing: {stripped[:80]!r}; make it anew")
        name, version = pinned["name"].lower(), pinned["version"]
        component: dict[str, Any] = {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "hashes": [],
        }
        if pinned["marker"]:
            component["properties"] = [{"name": "tramontana:environment", "value": pinned["marker"].strip()}]
        components.append(component)
    return components


def npm_components(lock: str) -> list[dict[str, Any]]:
    """The packages of a `package-lock.json` that reach the browser. Raises `LocalError` for another format."""
    document = json.loads(lock)
    if document.get("lockfileVersion") != 3:
        raise LocalError("package-lock.json is not of lockfileVersion 3; make it anew with npm 9 or newer")
    components = []
    for path, package in sorted(document["packages"].items()):
        if not path or package.get("dev") or package.get("link"):
            continue
        name = path.rpartition("node_modules/")[2]
        version = package["version"]
        algorithm, _, digest = package["integrity"].partition("-")
        component: dict[str, Any] = {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:npm/{quote(name, safe='/')}@{version}",
            "hashes": [{"alg": f"SHA-{algorithm.removeprefix('sha')}", "content": b64decode(digest).hex()}],
        }
        if licence := package.get("license"):
            component["licenses"] = [{"license": {"id": licence}} if _SPDX_ID.match(licence) else {"expression": licence}]
        if package.get("optional"):
            component["scope"] = "optional"
        components.append(component)
    return components


def bill(name: str, components: Sequence[dict[str, Any]], at: float) -> dict[str, Any]:
    """A CycloneDX document; its serial number follows from its contents. Times are POSIX seconds."""
    contents = json.dumps(components, sort_keys=True)
    with_references = [{"bom-ref": f"{component['purl']}#{number}", **component} for number, component in enumerate(components)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, contents)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"bom-ref": name, "type": "application", "name": name, "version": __version__},
        },
        "components": with_references,
    }
