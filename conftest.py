"""The order in which files of tests begin."""

from __future__ import annotations

import pytest

LONGEST = (
    # of whole systems
    "tests/system/test_faults.py",
    "tests/system/test_site_tunnels.py",
    "tests/system/test_call.py",
    "tests/system/test_site_faults.py",
    "tests/system/test_conference.py",
    "tests/system/test_up.py",
    "tests/system/test_talk_group.py",
    "tests/internet/test_uplinks_system.py",
    "tests/system/test_hard_days.py",
    "tests/system/test_laboratory.py",
    "tests/system/test_headless_phone.py",
    "tests/system/test_revocation.py",
    "tests/system/test_join.py",
    "tests/system/test_warnings_console.py",
    "tests/system/test_database_restart.py",
    "tests/internet/test_traffic_control.py",
    "tests/system/test_redundancy.py",
    # of the others
    "web/tests/ui/test_accessibility.py",
    "web/tests/ui/test_keyboard.py",
    "tests/control/test_migrations.py",
    "tests/space/test_forecast.py",
    "tests/control/test_delivery.py",
    "tests/emulation/test_link.py",
    "tests/control/test_serve.py",
    "tests/cli/test_sky_studies.py",
    "tests/space/test_serving_statistics.py",
    "tests/control/test_serve_postgresql.py",
    "tests/control/test_scale_faults.py",
    "tests/device/test_device.py",
    "tests/control/test_calls.py",
    "tests/control/test_warnings.py",
    "tests/control/test_socket.py",
    "tests/control/test_custody.py",
    "tests/control/test_precedence_of_calls.py",
    "tests/control/test_guard.py",
    "tests/control/test_membership.py",
)
"""What takes longest (`make test` prints it) begins first: else one process still has it to do when the others have nothing left."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    begins = {path: number for number, path in enumerate(LONGEST)}
    items.sort(key=lambda item: begins.get(item.nodeid.partition("::")[0], len(LONGEST)))
