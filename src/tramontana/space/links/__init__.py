"""Links through the weather: climate of a place, attenuation, availability, budgets, adaptive coding, rain over time.

    climate = RainClimate.at(41.9, 12.5, height_m=20)
    attenuation_db(climate, KU_USER_DOWN.link, elevation_deg=40, exceeded_percent=0.1)
    rain = RainSeries(seed=1, climate=climate, link=KU_USER_DOWN.link)
    capacity_bps(KU_USER_DOWN, 40, slant_range_m(550e3, 40), rain.attenuation_db(times_unix_s, 40))

Model, assumptions and where it is wrong: `docs/links.md`.
"""

from tramontana.space.links.attenuation import (
    Attenuation,
    LinkError,
    RainLink,
    attenuation_db,
    attenuation_parts,
    availability,
    rain_attenuation_db,
)
from tramontana.space.links.budget import LinkBudget, capacity_bps, carrier_to_noise_db, free_space_loss_db, margin_db, slant_range_m
from tramontana.space.links.climate import ClimateError, RainClimate
from tramontana.space.links.coding import MODCODS, ModCod, bits_per_symbol, required_es_n0_db
from tramontana.space.links.outage import diverse_availability, link_availability, path_availability
from tramontana.space.links.presets import (
    ALL_BUDGETS,
    KA_FEEDER_DOWN,
    KA_FEEDER_UP,
    KU_USER_DOWN,
    KU_USER_UP,
    Q_FEEDER_DOWN,
    V_FEEDER_UP,
)
from tramontana.space.links.series import RainSeries, rain_correlation

__all__ = [
    "ALL_BUDGETS",
    "KA_FEEDER_DOWN",
    "KA_FEEDER_UP",
    "KU_USER_DOWN",
    "KU_USER_UP",
    "MODCODS",
    "Q_FEEDER_DOWN",
    "V_FEEDER_UP",
    "Attenuation",
    "ClimateError",
    "LinkBudget",
    "LinkError",
    "ModCod",
    "RainClimate",
    "RainLink",
    "RainSeries",
    "attenuation_db",
    "attenuation_parts",
    "availability",
    "bits_per_symbol",
    "capacity_bps",
    "carrier_to_noise_db",
    "diverse_availability",
    "free_space_loss_db",
    "link_availability",
    "margin_db",
    "path_availability",
    "rain_attenuation_db",
    "rain_correlation",
    "required_es_n0_db",
    "slant_range_m",
]
