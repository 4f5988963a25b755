"""A loaded fleet on disk, in one canonical form with a checksum: damage is noticed, and nothing is overwritten half way."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from tramontana.errors import LocalError
from tramontana.space.fleet import ELEMENT_FIELDS, Fleet, FleetError
from tramontana.space.shells import starlink_gen1_as_filed

FLEET_FILE = Path("sky", "fleet.json")  # below the data directory
SET_ASIDE_FILE = Path("sky", "fleet.previous.json")
_MAGIC = "tramontana-fleet 1 sha256="


class FleetFileError(LocalError):
    """The saved constellation cannot be used; the message says why. The file is left as it is."""


def encode_fleet(fleet: Fleet) -> bytes:
    """A line with the SHA-256 of the second line, and that line: the fleet as JSON. Equal fleets give equal bytes."""
    document: dict[str, object] = {}
    for field in fields(fleet):
        value = getattr(fleet, field.name)
        document[field.name] = value.tolist() if isinstance(value, np.ndarray) else value
    body = json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode()
    return f"{_MAGIC}{hashlib.sha256(body).hexdigest()}\n".encode() + body + b"\n"


def decode_fleet(data: bytes) -> Fleet:
    """Read what `encode_fleet` wrote. Raises `FleetFileError` on anything else."""
    header, _, rest = data.partition(b"\n")
    body = rest.removesuffix(b"\n")
    if not header.startswith(_MAGIC.encode()):
        raise FleetFileError("it is not a file of this program, or of another version of it")
    if header != f"{_MAGIC}{hashlib.sha256(body).hexdigest()}".encode():
        raise FleetFileError("its checksum does not match: it is damaged or was changed by hand")
    try:
        document = json.loads(body)
        arrays = {name: np.array(document[name], dtype=np.float64) for name in ELEMENT_FIELDS}
        return Fleet(
            label=str(document["label"]),
            provenance=document["provenance"],
            source=str(document["source"]),
            names=tuple(str(name) for name in document["names"]),
            catalogue_number=np.array(document["catalogue_number"], dtype=np.int64),
            **arrays,
        )
    except (ValueError, KeyError, TypeError, OverflowError, FleetError) as error:
        raise FleetFileError(f"its content is not a constellation ({error})") from error


def save_fleet(fleet: Fleet, directory: Path) -> Path:
    """Make the fleet the one in use in a data directory; on any failure the old one is kept. Raises `FleetFileError`."""
    path = directory / FLEET_FILE
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, encode_fleet(fleet))
    except OSError as error:
        raise FleetFileError(f"cannot save the constellation to {path} ({error.strerror}): make room or check the permissions") from error
    return path


def load_fleet(directory: Path) -> Fleet:
    """The fleet in use: the saved one, or the built-in default where none was saved. Raises `FleetFileError` for a damaged file."""
    path = directory / FLEET_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return starlink_gen1_as_filed()
    except OSError as error:
        raise FleetFileError(f"cannot read {path} ({error.strerror}): check its permissions") from error
    try:
        return decode_fleet(data)
    except FleetFileError as error:
        raise FleetFileError(
            f"cannot use the constellation in {path}: {error}. Load the elements again with `tramontana sky load FILE`, "
            "or return to the built-in one with `tramontana sky default` (the damaged file is kept beside it)"
        ) from error


def use_default(directory: Path) -> Path | None:
    """Return to the built-in fleet. The saved file, damaged or not, is set aside; its new path, or None if there was none."""
    path, aside = directory / FLEET_FILE, directory / SET_ASIDE_FILE
    try:
        path.replace(aside)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FleetFileError(f"cannot set {path} aside ({error.strerror}): check the permissions of {directory}") from error
    return aside


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file, readable by its owner only, so that readers see the old content or all of the new one, even after a power cut."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
