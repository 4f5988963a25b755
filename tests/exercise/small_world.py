"""A world of three towns that is played in a moment."""

from __future__ import annotations

from tramontana.exercise.world import World, parse_world

TEXT = """
[exercise]
title = "Three towns"
kind = "earthquake"
start = 2024-05-01T02:00:00Z
hours = {hours}
seed = 1

[sources.invented]
title = "invented for a test"

[places]
source = "invented"
list = [
  {{ name = "Borgo", latitude = 42.60, longitude = 13.20, population = 900, area_km2 = 20 }},
  {{ name = "Valle", latitude = 42.66, longitude = 13.30, population = 500, area_km2 = 30 }},
  {{ name = "Città", latitude = 42.90, longitude = 13.60, population = 1600, area_km2 = 20 }},
]

[[blows]]
name = "shock"
at_min = 0
source = "invented"
latitude = 42.60
longitude = 13.20
rings = [
  {{ within_km = 20, mains_out = 1.0, outage_h = 5, sites_lost = {lost}, links_cut = 0.3, outdoors = 0.8, sos = {sos} }},
  {{ within_km = 100, outdoors = 0.1 }},
]

[[warnings]]
name = "Around"
submitted_min = 3
approved_min = 5
event = "Earthquake"
category = "Geo"
hours = 1
circle = {{ latitude = 42.7, longitude = 13.3, radius_km = 60 }}
[warnings.texts]
it = "Terremoto. Resta all'aperto."
en = "Earthquake. Stay outdoors."

[figures]
people_per_site = 400
officials_share = 0.01
"""


def small_text(*, hours: float = 1.0, lost: float = 0.9, sos: float = 0.1) -> str:
    return TEXT.format(hours=hours, lost=lost, sos=sos)


def no_table(name: str) -> str:
    raise AssertionError(f"nobody asks for {name}")


def small_world(*, hours: float = 1.0, lost: float = 0.9, sos: float = 0.1) -> World:
    return parse_world(small_text(hours=hours, lost=lost, sos=sos), no_table)
