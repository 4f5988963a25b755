"""The ASN.1 of 3GPP as pycrate has it: an unmodified library (LGPL-2.1) of the extra `broadcast`, loaded when it is first needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tramontana.errors import LocalError


def directory(name: str) -> Any:
    """One of pycrate's directories, which share state: use one PDU at a time. Loading takes seconds. Raises `LocalError`."""
    try:
        return import_module(f"pycrate_asn1dir.{name}")
    except ImportError as error:
        raise LocalError("LTE and NR payloads need pycrate: install tramontana with the extra `broadcast`") from error
