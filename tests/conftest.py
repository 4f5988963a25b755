"""The two lanes of the system tests: routers wait for their timers most of the time, phones compute. Together they fill two processors."""

from __future__ import annotations

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("system"):
        item.add_marker(pytest.mark.xdist_group("routers" if item.get_closest_marker("routers") else "phones"))
