"""Link budgets of a Starlink-like system: what filings and papers say, and what is assumed because nobody published it.

Filings are those with the US Federal Communications Commission (FCC); `docs/sources/links.md` tells how each figure was found.
"""

from __future__ import annotations

from tramontana.space.links.attenuation import RainLink
from tramontana.space.links.budget import LinkBudget
from tramontana.space.parameters import Parameter

_COMPARISON = "del Portillo, Cameron, Crawley, IAC-18-B2.1.7 / Acta Astronautica 159 (2019), link budgets from the FCC filing of 2016"
_TERMINAL = "SpaceX user terminal licence filing with the FCC (SES-LIC, 2020), as quoted by a public model"
_GATEWAY_GRANT = "FCC SES-AMD-20210409-00640 (grant of 2021-12-10, Kalama WA)"
_OFDM = Parameter(
    0.97, 0.90, 0.98, "symbol/s/Hz", "Humphreys et al. 2023, IEEE TAES 59(5): OFDM, 1024 of 1056 samples useful; pilots not counted"
)
_ROLL_OFF = Parameter(0.95, 0.80, 0.95, "symbol/s/Hz", "assumption: DVB-S2X roll-off of 5 % (the standard allows 5 to 35 %)")
_MODEM = Parameter(1.0, 0.5, 2.0, "dB", "assumption: usual distance of satellite modems from the ideal thresholds")
_POINTING = Parameter(0.5, 0.2, 1.5, "dB", "assumption: pointing and polarisation")
_USER_SCAN = Parameter(1.35, 1.0, 1.5, "", f"{_TERMINAL}: 33.2 dBi at boresight, 30.6 dBi at the greatest slant (50°)")
_USER_INTERFERENCE = Parameter(
    19.0, 12.0, 25.0, "dB", f"{_COMPARISON}: adjacent satellites 25 dB, polarisation 22 dB, intermodulation 25 dB, added here"
)
_FEEDER_INTERFERENCE = Parameter(
    20.9,
    15.0,
    27.0,
    "dB",
    f"{_COMPARISON}: adjacent channel 27 dB, satellites 27 dB, polarisation 25 dB, intermodulation 30 dB, added here",
)
_SATELLITE_TEMPERATURE = Parameter(535.9, 400.0, 900.0, "K", f"{_COMPARISON}: gateway uplink receiver")

KU_USER_DOWN = LinkBudget(
    name="Ku user downlink",
    direction="down",
    link=RainLink(11.7e9, antenna_diameter_m=0.48),
    bandwidth_hz=Parameter(
        240e6, 240e6, 250e6, "Hz", "Humphreys et al. 2023: 240 MHz used of each 250 MHz channel, eight from 10.7 to 12.7 GHz"
    ),
    symbols_per_hz=_OFDM,
    eirp_dbw=Parameter(36.7, 30.0, 40.0, "dBW", f"{_COMPARISON}: user downlink, 250 MHz"),
    receive_gain_dbi=Parameter(33.2, 31.0, 37.7, "dBi", f"{_TERMINAL}; 37.7 for 0.7 m in the comparison of 2018"),
    noise_temperature_k=Parameter(362.9, 200.0, 450.0, "K", f"{_COMPARISON}: user terminal"),
    losses_db=_POINTING,
    carrier_to_interference_db=_USER_INTERFERENCE,
    implementation_margin_db=_MODEM,
    scan_exponent=_USER_SCAN,
    ground_flux_dbw_per_m2_4khz=Parameter(
        -146.8, -150.0, -140.0, "dBW/m²/4 kHz", f"{_COMPARISON}: 36.7 dBW in 250 MHz at 1684 km; limits of Radio Regulations table 21-4"
    ),
)

KU_USER_UP = LinkBudget(
    name="Ku user uplink",
    direction="up",
    link=RainLink(14.25e9, antenna_diameter_m=0.48),
    bandwidth_hz=Parameter(60e6, 55e6, 62.5e6, "Hz", "eight channels of 62.5 MHz from 14.0 to 14.5 GHz; assumption: 60 MHz of each used"),
    symbols_per_hz=Parameter(0.9, 0.7, 0.97, "symbol/s/Hz", "assumption: cyclic prefix, guards between bursts"),
    eirp_dbw=Parameter(
        39.2, 33.2, 43.6, "dBW", "application to modify FCC SES-LIC-20230228-00228: 33.2 to 39.2 (UT3-V2), 42.1 to 43.6 (UT3-V1)"
    ),
    receive_gain_dbi=Parameter(34.0, 28.0, 40.0, "dBi", "assumption: as much as the user terminal's array"),
    noise_temperature_k=_SATELLITE_TEMPERATURE,
    losses_db=_POINTING,
    carrier_to_interference_db=Parameter(15.0, 8.0, 22.0, "dB", "assumption: other cells and satellites of the same system"),
    implementation_margin_db=_MODEM,
    scan_exponent=_USER_SCAN,
)

KA_FEEDER_DOWN = LinkBudget(
    name="Ka feeder downlink",
    direction="down",
    link=RainLink(18.5e9, antenna_diameter_m=1.47),
    bandwidth_hz=Parameter(480e6, 400e6, 500e6, "Hz", f"{_GATEWAY_GRANT}: emission 480MD7W, 17.8–18.6 and 18.8–19.3 GHz"),
    symbols_per_hz=_ROLL_OFF,
    eirp_dbw=Parameter(36.0, 28.0, 42.0, "dBW", "assumption: 20 dB of clear-sky C/N at 25° elevation"),
    receive_gain_dbi=Parameter(46.9, 45.0, 49.5, "dBi", f"{_GATEWAY_GRANT}: antenna gain at 19 GHz"),
    noise_temperature_k=Parameter(300.0, 180.0, 450.0, "K", "assumption: uncooled receiver under a clear sky"),
    losses_db=_POINTING,
    carrier_to_interference_db=_FEEDER_INTERFERENCE,
    implementation_margin_db=_MODEM,
)

KA_FEEDER_UP = LinkBudget(
    name="Ka feeder uplink",
    direction="up",
    link=RainLink(28.5e9, antenna_diameter_m=1.47),
    bandwidth_hz=Parameter(480e6, 400e6, 500e6, "Hz", f"{_GATEWAY_GRANT}: emission 480MD7W, 27.5–29.1 and 29.5–30.0 GHz"),
    symbols_per_hz=_ROLL_OFF,
    eirp_dbw=Parameter(60.5, 50.0, 68.4, "dBW", f"{_GATEWAY_GRANT}: 60.5 dBW a carrier, 9.7 dBW/4 kHz; 68.4 in the comparison of 2018"),
    receive_gain_dbi=Parameter(40.9, 36.0, 43.0, "dBi", f"{_COMPARISON}: gateway uplink, G/T 13.6 dB/K"),
    noise_temperature_k=_SATELLITE_TEMPERATURE,
    losses_db=_POINTING,
    carrier_to_interference_db=_FEEDER_INTERFERENCE,
    implementation_margin_db=_MODEM,
)

Q_FEEDER_DOWN = LinkBudget(
    name="Q feeder downlink",
    direction="down",
    link=RainLink(40e9, antenna_diameter_m=1.8),
    bandwidth_hz=Parameter(1e9, 5e8, 2e9, "Hz", "assumption: carriers of 1 GHz in 37.5–42.5 GHz"),
    symbols_per_hz=_ROLL_OFF,
    eirp_dbw=Parameter(44.0, 36.0, 50.0, "dBW", "assumption: no operator has published one"),
    receive_gain_dbi=Parameter(55.4, 53.0, 57.0, "dBi", "assumption: dish of 1.8 m, efficiency 0.6"),
    noise_temperature_k=Parameter(400.0, 250.0, 600.0, "K", "assumption: uncooled receiver under a clear sky"),
    losses_db=_POINTING,
    carrier_to_interference_db=_FEEDER_INTERFERENCE,
    implementation_margin_db=_MODEM,
)

V_FEEDER_UP = LinkBudget(
    name="V feeder uplink",
    direction="up",
    link=RainLink(50e9, antenna_diameter_m=1.8),
    bandwidth_hz=Parameter(1e9, 5e8, 2e9, "Hz", "assumption: carriers of 1 GHz in 47.2–51.4 GHz"),
    symbols_per_hz=_ROLL_OFF,
    eirp_dbw=Parameter(68.0, 60.0, 75.0, "dBW", "assumption: 20 W into a dish of 1.8 m, 2 dB of back-off"),
    receive_gain_dbi=Parameter(43.0, 38.0, 46.0, "dBi", "assumption: no operator has published one"),
    noise_temperature_k=Parameter(700.0, 500.0, 1000.0, "K", "assumption: warm Earth in the beam, noise figure of 4 dB"),
    losses_db=_POINTING,
    carrier_to_interference_db=_FEEDER_INTERFERENCE,
    implementation_margin_db=_MODEM,
)

ALL_BUDGETS = (KU_USER_DOWN, KU_USER_UP, KA_FEEDER_DOWN, KA_FEEDER_UP, Q_FEEDER_DOWN, V_FEEDER_UP)
