"""Fixtures of the server's tests."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.control.house import House, Houses
from tramontana.control.sky import SkyService
from tramontana.space.shells import starlink_gen1_as_filed
from tramontana.space.sky import Sky


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def sky() -> SkyService:
    return SkyService(Sky(starlink_gen1_as_filed(), seed=1))


@pytest.fixture
def houses(tmp_path: Path, sky: SkyService) -> Houses:
    """Starts servers on one data directory: `async with houses(limits=...) as house`."""

    def start(**options: Any) -> AbstractAsyncContextManager[House]:
        return House.running(options.pop("directory", tmp_path / "data"), sky, **options)

    return start
