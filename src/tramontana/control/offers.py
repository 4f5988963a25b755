"""What the server checks of a key package before it offers it to others (docs/protocols.md, "Identity and enrolment", step 4)."""

from __future__ import annotations

from collections.abc import Sequence

from tramontana.control.problem import Problem
from tramontana.control.store.accounts import Device
from tramontana.control.store.key_packages import Offered
from tramontana.keys.mls.framing import SUITE, FramingError, parse_key_package

CLOCK_SKEW_S = 3600.0
"""How far a phone's clock may run ahead of ours."""
MAX_EXPIRY_UNIX_S = float(2**53)


def check_key_packages(device: Device, single_use: Sequence[bytes], last_resort: bytes, now: float) -> tuple[list[Offered], Offered]:
    """Read key packages that a device offers. Raises `Problem` for the first that is malformed, expired or not the device's own."""
    identity = f"{device.account_id}/{device.device_id}".encode()
    offered = []
    for number, message in enumerate((*single_use, last_resort), start=1):
        try:
            package = parse_key_package(message)
        except FramingError as error:
            raise Problem("key_package_refused", f"Key package {number}: {error}.") from error
        fault = None
        if package.cipher_suite != SUITE:
            fault = f"its cipher suite is {package.cipher_suite:#06x}, not {SUITE:#06x}"
        elif package.signature_key != device.signature_public_key:
            fault = "its signature key is not this device's"
        elif package.identity != identity:
            fault = "its credential does not name this account and device"
        elif not package.not_before_unix_s - CLOCK_SKEW_S <= now < package.not_after_unix_s:
            fault = "its lifetime does not include now; check the clock of the phone"
        if fault:
            raise Problem("key_package_refused", f"Key package {number}: {fault}.")
        offered.append(Offered(package.reference, message, min(float(package.not_after_unix_s), MAX_EXPIRY_UNIX_S)))
    if len({package.reference for package in offered}) != len(offered):
        raise Problem("key_package_refused", "A key package is listed twice.")
    return offered[:-1], offered[-1]
