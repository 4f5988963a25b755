"""The data directory: made private, and refused where others could put files into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tramontana.cli.datadir import data_dir
from tramontana.errors import LocalError


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    assert data_dir(tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o720, 0o702])
def test_one_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    with pytest.raises(LocalError, match="chmod 700"):
        data_dir(shared)
    assert list(shared.iterdir()) == []
    shared.chmod(0o755)
    assert data_dir(shared) == shared


def test_one_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(shared, 12345, -1)
    else:
        monkeypatch.setattr("os.geteuid", lambda: shared.stat().st_uid + 1)
    with pytest.raises(LocalError, match="chown"):
        data_dir(shared)
