"""Serves the built pages with the server's own content policy, and a console API over a made-up fleet, for the tests in this folder.

Nothing here is shipped. The fleet is a plain Walker pattern: it is for drawing, not for figures.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time as clock
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from tramontana.control.guard import SECURITY_HEADERS
from tramontana.control.reports import GENERATOR, POLICY

SLOT_S = 15.0
SLOT_PHASE_S = 12.0
STEP_S = 5.0
STEPS = 4
EARTH_ROTATION_RAD_S = 7.2921150e-5
EARTH_GM_KM3_S2 = 398600.4418

PLACES = [
    ("rome", "Rome", 41.90, 12.50),
    ("milan", "Milan", 45.46, 9.19),
    ("naples", "Naples", 40.85, 14.27),
    ("palermo", "Palermo", 38.12, 13.36),
    ("cagliari", "Cagliari", 39.22, 9.12),
    ("lampedusa", "Lampedusa", 35.50, 12.61),
    ("valletta", "Embassy in Valletta", 35.90, 14.51),
    ("tunis", "Embassy in Tunis", 36.81, 10.18),
    ("tripoli", "Embassy in Tripoli", 32.89, 13.19),
    ("athens", "Embassy in Athens", 37.98, 23.73),
    ("ship-ionian", "Ship, Ionian Sea", 37.30, 18.30),
    ("ship-levantine", "Ship, south of Crete", 33.80, 25.00),
]
GATEWAYS = [("milano", "Milano", 45.3185, 9.1873), ("foggia", "Foggia", 41.5082, 15.5865), ("marsala", "Marsala", 37.7943, 12.4931)]


def walker_km(count: int, at_unix_s: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(count, 3) ITRS kilometres of `count` satellites at 550 km and 53°, spread over 72 planes."""
    planes = 72
    index = np.arange(count)
    plane, slot = index % planes, index // planes
    radius = 6378.137 + 550.0
    motion = math.sqrt(EARTH_GM_KM3_S2 / radius**3)
    u = 2 * np.pi * slot / max(1, -(-count // planes)) + 2 * np.pi * plane * 11 / planes**2 + motion * (at_unix_s % 86400.0 * 7)
    node = 2 * np.pi * plane / planes - EARTH_ROTATION_RAD_S * (at_unix_s % 86164.0)
    inclination = math.radians(53.0)
    x, y = np.cos(u), np.sin(u) * math.cos(inclination)
    return radius * np.stack(
        [x * np.cos(node) - y * np.sin(node), x * np.sin(node) + y * np.cos(node), np.sin(u) * math.sin(inclination)], 1
    )


def ground_km(latitude_deg: float, longitude_deg: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    latitude, longitude = math.radians(latitude_deg), math.radians(longitude_deg)
    return 6371.0 * np.array([math.cos(latitude) * math.cos(longitude), math.cos(latitude) * math.sin(longitude), math.sin(latitude)])


def slot_start(at_unix_s: float) -> float:
    return (at_unix_s - SLOT_PHASE_S) // SLOT_S * SLOT_S + SLOT_PHASE_S


def positions(count: int, at_unix_s: float) -> bytes:
    start = slot_start(at_unix_s)
    track = np.stack([walker_km(count, start + i * STEP_S) for i in range(STEPS)]).astype("<f4")
    return struct.pack("<IIdd", count, STEPS, start, STEP_S) + track.tobytes()


def links(count: int, at_unix_s: float) -> dict[str, Any]:
    start = slot_start(at_unix_s)

    def serving(instant: float, site: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[int, float]:
        distance = np.linalg.norm(walker_km(count, instant) - site, axis=1)
        return int(np.argmin(distance)), float(distance.min())

    answer = []
    for number, (place_id, _, latitude, longitude) in enumerate(PLACES):
        site = ground_km(latitude, longitude)
        satellite, distance = serving(start + SLOT_S / 2, site)
        following, _ = serving(start + 1.5 * SLOT_S, site)
        covered = number != len(PLACES) - 1
        answer.append(
            {
                "place_id": place_id,
                "satellite_index": satellite if covered else None,
                "satellite": f"S1-{satellite % 72 + 1:02d}-{satellite // 72 + 1:02d}" if covered else None,
                "elevation_deg": math.degrees(math.asin(min(1.0, 550.0 / distance))) if covered else None,
                "gateway_id": GATEWAYS[number % len(GATEWAYS)][0] if covered else None,
                "one_way_delay_ms": 2 * distance / 299.792458 + 18 if covered else None,
                "next_satellite_index": following if covered else None,
            }
        )
    return {"slot_start": start, "next_slot": start + SLOT_S, "links": answer}


def summary(count: int, now: float) -> dict[str, Any]:
    def site(entry: tuple[str, str, float, float]) -> dict[str, Any]:
        return {
            "site_id": entry[0],
            "name": entry[1],
            "country": "IT",
            "latitude_deg": entry[2],
            "longitude_deg": entry[3],
            "source": "made up",
        }

    return {
        "constellation": "Starlink Gen1 as filed",
        "provenance": "filed",
        "simulated": True,
        "elements_epoch": now,
        "age_s": None,
        "satellite_count": count,
        "slot_s": SLOT_S,
        "places": [
            {"place_id": p[0], "name": p[1], "country": "IT", "kind": "city", "latitude_deg": p[2], "longitude_deg": p[3]} for p in PLACES
        ],
        "gateways": [site(entry) for entry in GATEWAYS],
        "points_of_presence": [site(("milan", "Milan", 45.46, 9.19))],
    }


def hexadecimal(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}"


def tunnel(gateway: int, uplink: int, carrier: str, delay_ms: float | None) -> dict[str, Any]:
    up = delay_ms is not None
    ages = {"key_age_s": 74.2 if up else None, "handshake_age_s": 74.9 if up else None}
    health = {"health": "alive" if up else "dead", "delay_ms": delay_ms, "loss": 0.012 if up else 1.0}
    return {"gateway_id": hexadecimal(200 + gateway), "uplink": uplink, "carrier_id": carrier, "up": up, **health, **ages}


DEAD = {
    "en": "no carrier lives that the policy allows: Starlink is dead; 4G has no link",
    "it": "nessun vettore consentito dalle regole è attivo: Starlink non risponde più; 4G è senza collegamento",
}


def routers(now: float) -> dict[str, Any]:
    """Sites in every condition, and two gateways."""

    def shown(number: int, name: str, unit: str, state: dict[str, Any] | None) -> dict[str, Any]:
        networks = [f"10.64.{number}.0/24"]
        return {
            "device_id": hexadecimal(210 + number),
            "display_name": name,
            "unit": unit,
            "number": number,
            "networks": networks,
            "state": state,
        }

    def state(heard_s: float, carrier: dict[str, Any] | None, latitude: float, longitude: float) -> dict[str, Any]:
        position = {"latitude_deg": latitude, "longitude_deg": longitude}
        counts = {"tunnels": 6, "tunnels_up": 4 if carrier else 0, "position": position, "blocked": None if carrier else DEAD}
        return {"at": now - heard_s, "received_at": now - heard_s, "log_size": 12, "tunnel": carrier, **counts}

    gateways = [
        {
            "device_id": hexadecimal(200 + number),
            "display_name": name,
            "number": number,
            "address": f"203.0.113.{number + 1}",
            "state": {"at": now - 5, "received_at": now - 5, "log_size": 12 - number, "sites": 2 - number, "fault": None, "position": at},
        }
        for number, name, at in ((0, "Roma", {"latitude_deg": 41.9, "longitude_deg": 12.5}), (1, "Milano", None))
    ]
    return {
        "sites": [
            shown(2, "Nave Etna", "Flotta", state(4, tunnel(0, 1, "starlink", 31.4), 36.4, 15.9)),
            shown(3, "Embassy Tunis", "Embassies", state(9, None, 36.8, 10.2)),
            shown(4, "Field post Norcia", "Civil protection", state(900, tunnel(1, 2, "4g", 58.0), 42.8, 13.1)),
            shown(5, "Embassy Cairo", "Embassies", None),
        ],
        "gateways": gateways,
        "carriers": [{"carrier_id": "starlink", "name": "Starlink"}, {"carrier_id": "4g", "name": "4G"}],
        "log_size": 12,
    }


def site_details(now: float) -> dict[str, Any]:
    reason = {"en": "Starlink is dead", "it": "Starlink non risponde più"}
    switches = [
        {"at": now - 40, "before": "starlink", "after": None, "reason": DEAD},
        {"at": now - 300, "before": "4g", "after": "starlink", "reason": reason},
    ]
    return {"tunnels": [tunnel(0, 1, "starlink", 31.4), tunnel(1, 2, "4g", None)], "switches": switches}


def broadcast_plan(begins_at: float, block: str | None) -> dict[str, Any]:
    """Two dwells: three beams of two satellites, then one."""
    beams = [
        {
            "dwell": dwell,
            "satellite": satellite,
            "latitude_deg": latitude,
            "longitude_deg": 13.29,
            "epoch_at": begins_at + 10 * dwell,
            "valid_s": 10,
            "k_offset_ms": 5,
            "stops_at": begins_at + 20,
            "block": None if block is None else base64.b64encode(f"{block} {dwell}".encode()).decode(),
        }
        for dwell, satellite, latitude in (
            (0, "STARLINK-11075", 42.63),
            (0, "STARLINK-11075", 43.1),
            (0, "STARLINK-11118", 42.2),
            (1, "STARLINK-11118", 42.63),
        )
    ]
    return {
        "simulated": True,
        "satellites": "Starlink direct-to-cell",
        "elements_age_s": 3600.0,
        "begins_at": begins_at,
        "dwell_s": 10.0,
        "beam_radius_m": 39_475.0,
        "beams": beams,
        "in_view": [2, 1],
        "reached": [[0.9, 0.4, 0.0], [1.0, 0.9, 0.4]],
        "complete": False,
        "counts_people": False,
        "half_reached_s": 0.0,
        "nine_tenths_reached_s": 0.0,
        "ninety_nine_hundredths_reached_s": 10.0,
        "overspill_km2": 5210.0,
        "overspill_people": None,
    }


def sos_case(now: float) -> dict[str, Any]:
    """One case that an operator has."""
    there = {"latitude": 42.6281, "longitude": 13.2924, "accuracy_m": 100.0, "source": "coordinates", "name": ""}
    return {
        "case_id": "c" * 32,
        "version": 3,
        "number": 17,
        "phone": "+393331234567",
        "state": "in care",
        "language": "it",
        "opened_at": now - 600,
        "updated_at": now - 60,
        "operator": "Sala 1",
        "offered_to": "Sala 2",
        "position": there,
        "people": 7,
        "injured": 2,
        "repeats": 1,
        "last_text": "odore di gas, presto",
        "wait_s": 40.0,
    }


def sos_entries(now: float) -> list[dict[str, Any]]:
    """What was said in it."""
    return [
        {"at": now - 600, "kind": "text", "author": "person", "body": "aiuto siamo sotto le macerie", "messages": []},
        {"at": now - 599, "kind": "answer", "author": "automatic", "body": "Messaggio ricevuto, caso 17.", "messages": ["delivered"]},
        {"at": now - 300, "kind": "position", "author": "person", "body": "42.62810, 13.29240 ±100 m (coordinates)", "messages": []},
        {"at": now - 200, "kind": "state", "author": "Sala 1", "body": "taken by Sala 1", "messages": []},
        {"at": now - 100, "kind": "answer", "author": "Sala 1", "body": "Arriviamo da Sommati.", "messages": ["unknown"]},
        {"at": now - 60, "kind": "repeat", "author": "person", "body": "odore di gas, presto", "messages": []},
    ]


def outgoing_text(number: int, now: float, **changes: Any) -> dict[str, Any]:
    """A text over an operator's centre."""
    text = {
        "text_id": hexadecimal(170 + number),
        "origin": "administrator",
        "link": "operator-a",
        "source": "43200",
        "destination": f"+3933312345{number:02}",
        "body": "Il campo è a Sommati, portate coperte.",
        "rank": "routine",
        "beam": "",
        "created_at": now - 60 * number,
        "expires_at": now + 3600,
        "state": "delivered",
        "wait_s": None,
        "messages": [{"state": "delivered", "since": now - 30, "error": ""}],
    }
    return text | changes


def outgoing_texts(now: float) -> list[dict[str, Any]]:
    """One that waits in parts, one of which nobody knows, a sealed one, an answer, and one that failed."""
    part = {"since": now - 20, "error": ""}
    return [
        outgoing_text(1, now, state="queued", wait_s=40.2, messages=[part | {"state": "accepted"}, part | {"state": "queued"}]),
        outgoing_text(2, now, state="unknown", rank="flash", messages=[part | {"state": "unknown"}], beam="beam-12"),
        outgoing_text(3, now, origin=f"sealed {hexadecimal(70)}", body="", rank="immediate"),
        outgoing_text(4, now, origin=f"sos {hexadecimal(5)}", body="Messaggio ricevuto, caso 17.", rank="sos"),
        outgoing_text(5, now, state="undelivered", messages=[part | {"state": "undelivered", "error": "034"}]),
    ]


def text_links(now: float) -> dict[str, Any]:
    """A bound centre with two beams, one that does not answer, and a system that binds to ours."""
    busy = {"name": "beam-12", "messages_per_s": 20.0, "waiting": {"sos": 3, "routine": 812}, "wait_s": 40.2}
    idle: dict[str, Any] = {"name": "", "messages_per_s": None, "waiting": {}, "wait_s": 0.0}
    gave_way = {"at": now - 90, "text_id": hexadecimal(171), "link": "operator-a", "beam": "beam-12", "rank": "routine", "by_rank": "flash"}
    dead = "cannot be reached: [Errno 111] Connect call failed ('192.0.2.1', 2775)"
    return {
        "links": [
            {"name": "operator-a", "kind": "centre", "state": "bound", "window": 10, "messages": {"sending": 3}, "beams": [busy, idle]},
            {"name": "operator-b", "kind": "centre", "state": dead, "window": 10, "messages": {"unknown": 1}, "beams": [idle]},
            {"name": "agency", "kind": "peer", "state": "closed", "window": None, "messages": {}, "beams": []},
        ],
        "preempted": [gave_way],
        "sender": "43200",
        "kept_days": 90,
    }


def warning(now: float) -> dict[str, Any]:
    """One that two persons have signed, on the air in one of two cells."""
    area = {"description": "Amatrice", "polygons": [[[42.7, 13.2], [42.7, 13.4], [42.55, 13.3]]]}
    content = {
        "kind": "alert",
        "status": "actual",
        "level": "level-1",
        "category": "Geo",
        "event": "Earthquake",
        "urgency": "Immediate",
        "severity": "Severe",
        "certainty": "Observed",
        "texts": [{"language": "it", "text": "Allontanarsi dagli edifici."}, {"language": "en", "text": "Stay away from buildings."}],
        "area": area,
        "duration_s": 3600,
        "repetition_s": 60,
    }
    by = [("submit", "Crisis room", 400), ("approve", "Embassy Tunis, duty officer", 300)]
    return {
        "warning_id": hexadecimal(160),
        "state": "on-air",
        "content": b64encode(json.dumps(content).encode()).decode(),
        "submitted_at": now - 400,
        "approved_at": now - 300,
        "expires_at": now + 3300,
        "ended_at": None,
        "serial_number": 16,
        "decisions": [
            {"decision": what, "account_id": hexadecimal(50 + n), "display_name": name, "at": now - ago}
            for n, (what, name, ago) in enumerate(by)
        ],
    }


def updating_warning(now: float) -> dict[str, Any]:
    """An update of it that came in by CAP and waits for a second person."""
    before = warning(now)
    content = json.loads(b64decode(before["content"]))
    content |= {"kind": "update", "replaces": before["warning_id"], "event": "Aftershocks"}
    content |= {"texts": [{"language": "it", "text": "Altre scosse possibili."}]}
    content |= {"cap": {"sender": "civil.protection", "identifier": "CP-2", "sent_unix_s": now - 60}}
    waits = {"state": "submitted", "approved_at": None, "expires_at": None, "serial_number": None}
    whole = before | waits | {"warning_id": hexadecimal(161), "content": b64encode(json.dumps(content).encode()).decode()}
    return whole | {"submitted_at": now - 30, "decisions": before["decisions"][:1]}


def warned_cells(now: float) -> list[dict[str, Any]]:
    """A cell that has the warning and one that refused it."""
    cell = {"controller": "bsc-1", "message_identifier": 4371, "at": now - 290, "off_air_at": None}
    return [
        cell | {"cell": "222-01-1000-1", "state": "on-air", "attempts": 1, "reason": "", "on_air_at": now - 290},
        cell | {"cell": "222-01-1000-2", "state": "failed", "attempts": 3, "reason": "cell is not operational", "on_air_at": None},
    ]


def units(now: float) -> dict[str, Any]:
    """Three units in the field, one of them out of date and one in need, and two TAK servers."""

    def unit(name: str, latitude: float, heard_s: float, holds_s: float, **more: Any) -> dict[str, Any]:
        nothing = {"height_m": None, "radius_m": None, "course_deg": None, "speed_m_s": None, "emergency": False, "must_not_emit": False}
        place = {"link": "crisis-room", "uid": f"ANDROID-{name}", "kind": "a-f-G-U-C", "latitude_deg": latitude, "longitude_deg": 13.3}
        return place | nothing | {"callsign": name, "at": now - heard_s, "stale_at": now + holds_s} | more

    moving = {"radius_m": 8.0, "course_deg": 270.0, "speed_m_s": 4.2}
    link = {"name": "crisis-room", "connected": True, "fault": "", "sends": ["sos", "warnings"], "receive_only": False}
    silent = {"name": "ship", "connected": False, "fault": "no connection to 10.9.0.1 port 8089", "sends": [], "receive_only": True}
    found = [
        unit("Squadra 1", 42.63, 12, 280, **moving),
        unit("Squadra 2", 42.70, 30, 200, emergency=True),
        unit("Squadra 3", 42.50, 900, -600),
        unit("Falco 1", 42.55, 40, 240, must_not_emit=True),
    ]
    return {"links": [link, silent], "kept_s": 1800.0, "units": found}


REPORT = (
    f'<!doctype html><html lang="en"><head><meta charset="utf-8">{GENERATOR}<title>Italy 2025: which sky</title>'
    "<style>h1{color:#123}</style>"
    "</head><body><main><h1>Italy 2025: which sky</h1><p id='said'>No script has run.</p>"
    "<p><a href='#source'>to the source</a></p>"
    "<p id='source'>The source</p></main><script>document.getElementById('said').textContent = 'A script has run.'</script></body></html>"
)
"""With a script, which the policy must not let run."""


TOWNS = [
    ("Rieti", 42.40, 12.86, 47_000),
    ("Amatrice", 42.63, 13.29, 2_650),
    ("Accumoli", 42.69, 13.25, 660),
    ("Norcia", 42.79, 13.09, 4_900),
]
RUNS = ["without satellites", "Starlink direct-to-cell, 650 satellites"]
FRAMES = 7


def exercise(ended: int) -> dict[str, Any]:
    """A made-up night of six hours; `ended` of its two runs are over."""

    def run(number: int) -> dict[str, Any]:
        return {
            "label": RUNS[number], "warned": [[min(100, 60 * frame), 12 * frame + 20 * number, 10 * number, -1] for frame in range(FRAMES)],
            "warned_percent": [min(100.0, 70.0 + 4 * frame + 5 * number) for frame in range(FRAMES)],
            "half_warned_s": 42.0, "nine_tenths_warned_s": 612.0 if number else None, "asked_for_help": 412, "heard": 260 + 120 * number,
            "cut_off_texts": 1_000, "cut_off_texts_delivered": 800 * number, "busiest_cell_percent": 48.0 * number,
        }  # fmt: skip

    return {
        "title": "Central Italy, 24 August 2016", "begins_at": 1_472_002_560.0, "seconds": 21_600.0,
        "seed": 1, "phones": 49_000, "sites": 84,
        "places": [{"name": name, "latitude_deg": lat, "longitude_deg": lon, "people": people} for name, lat, lon, people in TOWNS],
        "at_s": [3_600.0 * frame for frame in range(FRAMES)],
        "cut_off": [[0, min(100, 20 * frame), 100, 0] for frame in range(FRAMES)],
        "dark": [[False, True, True, frame > 2] for frame in range(FRAMES)],
        "cut_off_phones": [660 + 500 * frame for frame in range(FRAMES)],
        "runs": [run(number) for number in range(ended)],
    }  # fmt: skip


def exercise_now(told_at: float, ended: int = 1, now_s: float = 7_500.0) -> dict[str, Any]:
    """Where that exercise is."""
    playing = ended < len(RUNS)
    return {
        "title": "Central Italy, 24 August 2016", "state": "playing" if playing else "done", "began_at": 0.0, "told_at": told_at,
        "ended": ended, "labels": RUNS,
        "now_s": now_s if playing else 0.0, "warned": [98, 74, 12, -1] if playing else [], "warned_percent": 91.5, "asked_for_help": 301,
        "heard": 244, "texts": 1_234, "texts_delivered": 1_100, "texts_by_satellite": 210, "texts_waiting": 96,
    }  # fmt: skip


class Api:
    """The made-up administration: what the console asks for, answered from plain lists."""

    def __init__(self, satellites: int) -> None:
        self.satellites = satellites
        self.intact = True
        self.changes: list[tuple[str, str, Any]] = []
        """What was asked of archives, talk groups, rights and texts."""
        now = clock()
        self.exercises: dict[str, Callable[[float], dict[str, Any]]] = {"amatrice-2016": exercise_now}
        self.invitations: list[dict[str, Any]] = [
            self._invitation(1, "Embassy Tunis, duty officer", "administrator", "used", now - 90000),
            self._invitation(2, "", "start", "open", now - 7200),
            self._invitation(3, "Field post Norcia", "administrator", "withdrawn", now - 200000),
        ]

        self.auditors: list[dict[str, Any]] = [
            {"auditor_id": hexadecimal(70 + i), "note": note, "created_at": now - 86400 * (i + 1), "expires_at": now + 86400 * (364 - i)}
            for i, note in enumerate(["Court of audit", ""])
        ]
        self.archives: list[dict[str, Any]] = [
            {
                "account_id": hexadecimal(60 + i),
                "display_name": name,
                "unit": unit,
                "certified_until": int(now) + 86400 * 300,
                "kinds": kinds,
            }
            for i, (name, unit, kinds) in enumerate(
                [("Archive of the ministry", "", ["direct", "group", "talk"]), ("Archive of the coast guard", "Coast guard", ["group"])]
            )
        ]
        self.alarms: list[dict[str, Any]] = []
        self.talk_groups: list[dict[str, Any]] = [
            self._talk_group(
                1, True, now, [("Crisis room", True, None), ("Patrol vessel P402", False, "priority"), ("Field post Norcia", False, "none")]
            ),
            self._talk_group(2, False, now, [("Field post Norcia", True, None), ("Archive of the ministry", False, None)]),
        ]

    @staticmethod
    def _talk_group(number: int, founded: bool, now: float, members: list[tuple[str, bool, str | None]]) -> dict[str, Any]:
        accounts = {"Crisis room": 50, "Patrol vessel P402": 52, "Field post Norcia": 53, "Archive of the ministry": 60}
        return {
            "conversation_id": hexadecimal(150 + number),
            "created_at": now - 3600 * number,
            "founded": founded,
            "members": [
                {
                    "account_id": hexadecimal(accounts[name]),
                    "display_name": name,
                    "owner": owner,
                    "floor": floor,
                    "archive": accounts[name] == 60,
                }
                for name, owner, floor in members
            ],
        }

    @staticmethod
    def _invitation(number: int, note: str, origin: str, state: str, created_at: float) -> dict[str, Any]:
        return {
            "invitation_id": hexadecimal(number),
            "note": note,
            "origin": origin,
            "state": state,
            "created_at": created_at,
            "expires_at": created_at + 7 * 86400,
            "account_id": None,
            "of_account": None,
            "unit": "Coast guard",
            "roles": ["member"],
            "precedence_ceiling": "routine",
        }

    @staticmethod
    def _request(number: int, name: str, now: float) -> dict[str, Any]:
        """Of two approvals that it needs it has the one of the crisis room."""
        approval = {"device_id": hexadecimal(70), "statement": "AAAA", "signature": "AAAA", "certificate": "AAAA"}
        return {
            "request_id": hexadecimal(130 + number),
            "kind": "enrolment",
            "state": "pending",
            "account_id": hexadecimal(50 + number),
            "device_id": hexadecimal(70 + number),
            "signature_public_key": "A" * 43 + "=",
            "display_name": name,
            "unit": "Embassy Tunis",
            "roles": ["custodian", "member"],
            "precedence_ceiling": "flash",
            "created_at": now - 600,
            "further_device": False,
            "approvals_needed": 2,
            "invitation_sha256": None,
            "proof": None,
            "approvals": [approval],
        }

    @staticmethod
    def _cases(now: float, query: dict[str, list[str]]) -> dict[str, Any]:
        """The case that somebody has, and one more on a second page."""
        first = "after" not in query
        case = (
            sos_case(now)
            if first
            else sos_case(now) | {"case_id": "d" * 32, "number": 16, "state": "waiting", "operator": "", "offered_to": ""}
        )
        counts = {"in care": 1, "waiting": 1, "closed": 4}
        return {"one_way": False, "emergency_numbers": ["112"], "cases": [case], "counts": counts, "next": "1,0" if first else None}

    @staticmethod
    def _texts(now: float, query: dict[str, list[str]]) -> dict[str, Any]:
        """Three texts a page, whatever is asked for."""
        found = [text for text in outgoing_texts(now) if query.get("search", [""])[0] in text["destination"] + text["body"]]
        if (show := query["show"][0]) != "all":
            found = [text for text in found if show in [each["state"] for each in text["messages"]]]
        begin = int(query["after"][0]) if "after" in query else 0
        return {"texts": found[begin : begin + 3], "next": str(begin + 3) if len(found) > begin + 3 else None}

    @staticmethod
    def _log(start: int, count: int, now: float) -> dict[str, Any]:
        kinds = ["organisation", "log_key", "certificate", "certificate", "certificate", "revocation"]
        entries = []
        for index, kind in list(enumerate(kinds))[start : start + count]:
            entry: dict[str, Any] = {"log_index": index, "added_at": now - 86400 + 600 * index, "kind": kind}
            if kind == "certificate":
                rights = {"unit": "Ministry", "roles": ["custodian", "member"], "precedence_ceiling": "flash"}
                entry |= rights | {
                    "display_name": "Crisis room",
                    "device_id": hexadecimal(70 + index),
                    "approvers": [hexadecimal(70)] if index > 3 else [],
                }
            if kind == "revocation":
                entry |= {"device_id": hexadecimal(72), "reason": "lost at sea"}
            entries.append(entry)
        head = {"log_id": "A" * 43 + "=", "tree_size": len(kinds), "root_hash": "q" * 43 + "=", "at": int(now)}
        return {"head": head | {"signature": "A" * 86 + "=="}, "entries": entries}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        now = clock()
        match method, path:
            case "POST", "/api/v1/admin/sessions":
                if body["token"].startswith("A"):
                    return 200, {"token": "bearer", "expires_at": now + 8 * 3600}
                return 401, {"code": "administrator_link_refused", "detail": "used up"}
            case "GET", "/api/v1/warnings":
                return 200, [warning(now), updating_warning(now)]
            case "GET", "/api/v1/warnings/setup":
                return 200, {"organisation_id": "0" * 32, "controllers": [], "population_known": False, "areas": ["Rieti"]}
            case "POST", "/api/v1/warnings/preview":
                count = {"alphabet": "gsm-7", "characters": 0, "capacity": 1395, "pages": 0, "fits": True, "needs_ucs_2": ""}
                return 200, {"texts": [count, count], "area": None}
            case "POST", "/api/v1/warnings/plan":
                self.changes.append((method, path, body))
                return 200, broadcast_plan(body.get("begins_at", now), body.get("block"))
            case "GET", _ if path.endswith(hexadecimal(161)):
                return 200, updating_warning(now) | {"cells": []}
            case "GET", _ if path.startswith("/api/v1/warnings/"):
                return 200, warning(now) | {"cells": warned_cells(now)}
            case "GET", "/api/v1/texts/links":
                return 200, text_links(now)
            case "GET", "/api/v1/texts":
                return 200, self._texts(now, query)
            case "POST", _ if path.startswith("/api/v1/texts"):
                self.changes.append((method, path, body))
                return (201, {"text_id": hexadecimal(199), "wait_s": 40.2}) if path == "/api/v1/texts" else (204, None)
            case "GET", "/api/v1/sos/cases":
                return 200, self._cases(now, query)
            case "POST", _ if path.startswith("/api/v1/sos/cases/"):
                self.changes.append((method, path, body))
                return 200, sos_case(now)
            case "GET", "/api/v1/sos/operators":
                return 200, [{"account_id": hexadecimal(51), "display_name": "Ada", "label": f"Ada ({hexadecimal(51)[:8]})"}]
            case "GET", "/api/v1/sos/cases/cccccccccccccccccccccccccccccccc":
                return 200, {"case": sos_case(now), "entries": sos_entries(now)}
            case "GET", "/api/v1/units":
                return 200, units(now)
            case "GET", "/api/v1/exercises":
                return 200, [{"name": name, "now": told(now)} for name, told in self.exercises.items()]
            case "GET", _ if path.startswith("/api/v1/exercises/"):
                return 200, exercise(self.exercises[path.rpartition("/")[2]](now)["ended"])
            case "GET", "/api/v1/planning/reports":
                return 200, [
                    {"name": "italy-2025", "title": "Italy 2025: which sky", "published_at": now - 3600, "size_bytes": 812_345},
                    {"name": "spain-2025", "title": "Spain 2025: which sky", "published_at": now - 86400, "size_bytes": 402_345},
                ]
            case "POST", _ if path.startswith("/api/v1/planning/reports/"):
                return 200, {"path": path.replace("/link", "/page?until=1&seal=0"), "expires_at": now + 300}
            case "GET", "/api/v1/console/sky":
                return 200, summary(self.satellites, now)
            case "GET", "/api/v1/console/links":
                return 200, links(self.satellites, now)
            case "GET", "/api/v1/console/positions":
                return 200, positions(self.satellites, float(query.get("at", [str(now)])[0]))
            case "GET", "/api/v1/admin/routers":
                return 200, routers(now)
            case "GET", _ if path.startswith("/api/v1/admin/routers/"):
                return 200, site_details(now)
            case "GET", "/api/v1/admin/invitations":
                return 200, self.invitations
            case "POST", "/api/v1/admin/invitations":
                made = self._invitation(len(self.invitations) + 10, body["note"], "administrator", "open", now)
                self.invitations.insert(0, made)
                link = "http://127.0.0.1:8443/phone#invite=" + "Q" * 43
                return 201, {
                    "invitation_id": made["invitation_id"],
                    "token": "Q" * 43,
                    "link": link,
                    "expires_at": made["expires_at"],
                }
            case "DELETE", _ if path.startswith("/api/v1/admin/invitations/"):
                for invitation in self.invitations:
                    if path.endswith(invitation["invitation_id"]):
                        invitation["state"] = "withdrawn"
                return 204, None
            case "GET", "/api/v1/admin/accounts":
                return 200, [
                    {
                        "account_id": hexadecimal(50 + i),
                        "display_name": name,
                        "created_at": now - 86400 * (i + 1),
                        "unit": "Coast guard" if i % 2 else "Ministry",
                        "roles": ["custodian", "member"] if i == 0 else ["member"],
                        "precedence_ceiling": "flash" if i == 0 else "routine",
                        "guest": [
                            None,
                            {"organisation": "Coast guard B", "federation": hexadecimal(160), "until": now + 86400 * 60, "revoked": False},
                            {"organisation": "Navy", "federation": hexadecimal(161), "until": now + 86400 * 9, "revoked": True},
                            None,
                        ][i],
                        "devices": [
                            {
                                "device_id": hexadecimal(70 + i),
                                "signature_public_key": "A" * 43 + "=",
                                "enrolled_at": now - 86400 * (i + 1),
                                "online": i % 3 != 2,
                                "pending": i % 3 * 2,
                                "state": ["certified", "pending", "revoked", "certified"][i],
                                "serial": hexadecimal(110 + i),
                                "log_index": 4 + i,
                                "not_after": now + 86400 * 200,
                                "device_code": "K7QF 2MXA 3WTR C4DN",
                            }
                        ],
                    }
                    for i, name in enumerate(["Crisis room", "Embassy Tunis, duty officer", "Patrol vessel P402", "Field post Norcia"])
                ]
            case "GET", "/api/v1/admin/archives":
                return 200, self.archives
            case "GET", "/api/v1/admin/talk-groups":
                return 200, self.talk_groups
            case "POST" | "PUT" | "DELETE", _ if path.startswith(
                ("/api/v1/admin/archives/", "/api/v1/admin/talk-groups", "/api/v1/admin/requests")
            ):
                self.changes.append((method, path, body))
                return (201, {"request_id": hexadecimal(140)}) if path.endswith("/requests") else (204, None)
            case "GET", "/api/v1/admin/alarms":
                return 200, self.alarms
            case "GET", "/api/v1/admin/requests":
                return 200, [self._request(1, "Embassy Tunis, duty officer", now)]
            case "GET", "/api/v1/admin/log":
                return 200, self._log(int(query["start"][0]), int(query["count"][0]), now)
            case "GET", "/api/v1/admin/retention":
                return 200, {"undelivered_days": None, "call_records_days": 90, "attachments_days": 30, "texts_days": 90, "sos_days": 365}
            case "PUT", "/api/v1/admin/retention":
                return 204, None
            case "GET", "/api/v1/admin/auditors":
                return 200, self.auditors
            case "DELETE", _ if path.startswith("/api/v1/admin/auditors/"):
                self.auditors = [each for each in self.auditors if not path.endswith(each["auditor_id"])]
                return 204, None
            case "POST", "/api/v1/admin/auditors":
                return 201, {"link": "http://127.0.0.1:8443/#auditor=" + "S" * 43, "expires_at": now + 86400}
            case "GET", "/api/v1/admin/calls":
                return 200, [
                    {
                        "call_id": hexadecimal(90),
                        "conversation_id": hexadecimal(91),
                        "precedence": "immediate",
                        "began_at": now - 754,
                        "participants": [
                            {
                                "device_id": hexadecimal(92 + i),
                                "account_id": hexadecimal(94 + i),
                                "display_name": name,
                                "joined_at": now - 754,
                                "online": True,
                                "place_id": place,
                                "carrier_id": carrier,
                            }
                            for i, (name, place, carrier) in enumerate(
                                [("Crisis room", "rome", "fibre"), ("Patrol vessel P402", "ship-ionian", "starlink")]
                            )
                        ],
                    }
                ]
            case "GET", "/api/v1/admin/audit":
                after = int(query.get("after", ["0"])[0])
                rows = [
                    (1, "server", "service.created", "service", {}),
                    (2, "administrator", "session.opened", "administrator", {"origin": "link"}),
                    (3, "administrator", "invitation.created", f"invitation {hexadecimal(1)[:8]}", {"note": "Embassy Tunis, duty officer"}),
                    (4, f"device {hexadecimal(71)[:8]}", "device.enrolled", f"account {hexadecimal(51)[:8]}", {}),
                    (5, f"device {hexadecimal(71)[:8]}", "call.began", f"call {hexadecimal(90)[:8]}", {"precedence": "immediate"}),
                ]
                entries = [
                    {"seq": n, "at": now - 9000 + 700 * n, "actor": a, "action": b, "subject": c, "details": d, "hash": "0" * 64}
                    for n, a, b, c, d in rows
                    if n > after
                ]
                return 200, {"entries": entries, "intact": self.intact, "more": False}
        return 404, {"code": "not_found", "detail": "There is nothing here for you."}


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, api: Api, *arguments: Any, **options: Any) -> None:
        self.api = api
        super().__init__(*arguments, **options)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def end_headers(self) -> None:
        own = {"Content-Security-Policy": POLICY, "X-Frame-Options": "SAMEORIGIN"} if self._is_report() else {}
        for name, value in (SECURITY_HEADERS | own).items():
            self.send_header(name, value)
        super().end_headers()

    def _is_report(self) -> bool:
        return self.command == "GET" and urlsplit(self.path).path.endswith("/page")

    def _report(self) -> None:
        content = REPORT.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _api(self) -> None:
        address = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        status, answer = self.api.answer(self.command, address.path, parse_qs(address.query), body)
        content = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(answer, bytes) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        if self._is_report():
            self._report()
            return
        if self.path.startswith("/api/"):
            self._api()
            return
        page = {"/console": "/console.html", "/phone": "/phone.html", "/": "/index.html"}.get(urlsplit(self.path).path)
        if page:
            self.path = page
        super().do_GET()

    def do_POST(self) -> None:
        self._api()

    def do_PUT(self) -> None:
        self._api()

    def do_DELETE(self) -> None:
        self._api()


@contextmanager
def serving(root: Path, satellites: int = 1584) -> Iterator[tuple[str, Api]]:
    """The pages under `root` on a free port of the loopback address: yields the origin and the API behind it."""
    api = Api(satellites)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, api, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
