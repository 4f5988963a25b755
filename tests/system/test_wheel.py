"""A wheel holds the built web client and needs no Node: built, unpacked beside nothing of the source tree, and served from there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.system.service import Service, free_port

pytestmark = pytest.mark.system

SOURCE = Path(__file__).parents[2]


def test_a_wheel_serves_the_phone_and_the_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (SOURCE / "src/tramontana/control/static/phone.html").exists():
        pytest.skip("the web client is not built: make web")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(SOURCE),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("tramontana-*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    assert (installed / "tramontana" / "py.typed").exists()

    # The source tree comes in by the editable install; the unpacked wheel stands before it, and there is no Node to be found.
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv(
        "PATH", os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if not shutil.which("node", path=folder))
    )
    where = [sys.executable, "-c", "import tramontana; print(tramontana.__file__)"]
    assert str(installed) in subprocess.run(where, check=True, capture_output=True, text=True).stdout

    service = Service(tmp_path / "data", free_port())
    try:
        service.wait_for_line("Phone invitation 2")
        with httpx.Client(base_url=f"http://127.0.0.1:{service.port}") as browser:
            for page in ("/", "/phone", "/console"):
                answer = browser.get(page)
                assert answer.status_code == 200
                scripts = re.findall(r'src="(/assets/[^"]+\.js)"', answer.text)
                assert scripts
                for script in scripts:
                    assert browser.get(script).headers["content-type"].startswith("text/javascript")
    finally:
        service.stop()
