"""One real element set in every format, and skies to look at."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tramontana.space.shells import starlink_gen1_as_filed
from tramontana.space.sky import Sky

# ISS (ZARYA), the worked example of the CelesTrak documentation of the TLE format.
NAME = "ISS (ZARYA)"
LINE_1 = "1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927"
LINE_2 = "2 25544  51.6416 247.4627 0006703 130.5360 325.0288 15.72125391563537"
OMM: dict[str, str | int | float] = {
    "OBJECT_NAME": NAME,
    "OBJECT_ID": "1998-067A",
    "EPOCH": "2008-09-20T12:25:40.104192",
    "MEAN_MOTION": 15.72125391,
    "ECCENTRICITY": 0.0006703,
    "INCLINATION": 51.6416,
    "RA_OF_ASC_NODE": 247.4627,
    "ARG_OF_PERICENTER": 130.5360,
    "MEAN_ANOMALY": 325.0288,
    "EPHEMERIS_TYPE": 0,
    "CLASSIFICATION_TYPE": "U",
    "NORAD_CAT_ID": 25544,
    "ELEMENT_SET_NO": 292,
    "REV_AT_EPOCH": 56353,
    "BSTAR": -1.1606e-05,
    "MEAN_MOTION_DOT": -2.182e-05,
    "MEAN_MOTION_DDOT": 0,
}


def _csv() -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(OMM), lineterminator="\r\n")
    writer.writeheader()
    writer.writerow(OMM)
    return out.getvalue()


def _xml(namespace: str = "") -> str:
    def leaves(*keys: str) -> str:
        return "".join(f"<{key}>{OMM[key]}</{key}>" for key in keys)

    metadata = leaves("OBJECT_NAME", "OBJECT_ID") + (
        "<CENTER_NAME>EARTH</CENTER_NAME><REF_FRAME>TEME</REF_FRAME><TIME_SYSTEM>UTC</TIME_SYSTEM>"
        "<MEAN_ELEMENT_THEORY>SGP4</MEAN_ELEMENT_THEORY>"
    )
    mean = leaves("EPOCH", "MEAN_MOTION", "ECCENTRICITY", "INCLINATION", "RA_OF_ASC_NODE", "ARG_OF_PERICENTER", "MEAN_ANOMALY")
    tle = leaves("NORAD_CAT_ID", "BSTAR", "MEAN_MOTION_DOT", "MEAN_MOTION_DDOT")
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ndm{namespace}><omm id="CCSDS_OMM_VERS" version="2.0"><header/><body><segment>'
        f"<metadata>{metadata}</metadata><data><meanElements>{mean}</meanElements><tleParameters>{tle}</tleParameters></data>"
        "</segment></body></omm></ndm>\n"
    )


@pytest.fixture
def omm() -> dict[str, str | int | float]:
    """A fresh copy of the example as OMM keywords."""
    return dict(OMM)


@pytest.fixture(scope="session")
def example_files() -> dict[str, bytes]:
    """The example element set, one file a format."""
    return {
        "3-line TLE": f"{NAME:<24}\r\n{LINE_1}\r\n{LINE_2}\r\n".encode(),
        "3-line TLE with 0": f"0 {NAME}\n{LINE_1}\n{LINE_2}\n".encode(),
        "2-line TLE": f"{LINE_1}\n{LINE_2}".encode(),
        "JSON": json.dumps([OMM]).encode(),
        "JSON of strings": json.dumps([{key: str(value) for key, value in OMM.items()}], indent=1).encode(),
        "JSON, one object": json.dumps(OMM).encode(),
        "CSV": _csv().encode(),
        "CSV with BOM": b"\xef\xbb\xbf" + _csv().encode(),
        "XML": _xml().encode(),
        "XML with namespace": _xml(' xmlns="urn:ccsds:schema:ndmxml"').encode(),
        "XML in UTF-16": _xml().replace("UTF-8", "UTF-16").encode("utf-16"),
    }


@pytest.fixture(scope="session")
def filed_sky() -> Sky:
    """The built-in constellation over the built-in ground."""
    return Sky(starlink_gen1_as_filed(), seed=7)


@pytest.fixture
def shared_data() -> Path:
    """Real element sets beside the repository, for development only; the test is skipped where they are absent."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "space"
    if not folder.is_dir():
        pytest.skip("real element sets are not beside the repository (../shared/data)")
    return folder
