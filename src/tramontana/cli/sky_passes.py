"""`tramontana sky passes`: when satellites rise, stand highest and set."""

from __future__ import annotations

import click
import numpy as np
from matplotlib.axes import Axes
from matplotlib.projections.polar import PolarAxes

from tramontana.cli.output import Column, Report
from tramontana.cli.sky_page import Chart
from tramontana.cli.sky_study import Asked, Setting, spread, study
from tramontana.errors import LocalError
from tramontana.space.ageing import element_age
from tramontana.space.serving import MINIMUM_ELEVATION_DEG
from tramontana.space.studies.passes import TRACK_STEP_S, FindPasses, SitePasses, join

MOST_SITES = 500
_MOST_DRAWN = 400


@click.command()
@study
@click.option(
    "--min-elevation", type=click.FloatRange(0, 90), default=MINIMUM_ELEVATION_DEG, show_default=True, help="Degrees over the horizon."
)
def passes(asked: Asked, min_elevation: float) -> None:
    """Every pass of every satellite (default: the next hour over Rome): rise, highest point and set in UTC, with directions."""
    setting = asked.setting(duration_s=3600, step_s=15, resolution=3, satellites="all")
    element_age(setting.fleet, setting.instants.start_unix_s).require_usable()
    if len(setting.sites) > MOST_SITES:
        raise LocalError(f"passes over {len(setting.sites):,} places would be a list nobody reads: ask for at most {MOST_SITES}")
    find = FindPasses(setting.fleet, setting.sites, setting.instants, min_elevation)
    found = join(asked.work.run("passes", find, range(len(setting.sites))))
    drawn = Chart(lambda axes: _draw(axes, setting, found, min_elevation), polar=True) if len(found) else None
    asked.show(_report(setting, found, min_elevation), drawn)


def _report(setting: Setting, found: SitePasses, min_elevation: float) -> Report:
    known_to = f"{TRACK_STEP_S:g} s" if setting.sites.tracks else "0.01 s of the elements"
    model = (
        f"elevation on the WGS 84 ellipsoid without refraction, at {min_elevation:g}° or higher; times to {known_to}; "
        "a dash is before the start or after the end of the time looked at"
    )
    site, satellite = found.site.tolist(), found.satellite.tolist()
    columns = (
        Column("place", [setting.sites.ids[s] for s in site], "text"),
        Column("satellite", [setting.fleet.names[s] for s in satellite], "text"),
        Column("catalogue_number", setting.fleet.catalogue_number[found.satellite]),
        Column("rise_utc", found.rise_unix_s, "instant"),
        Column("rise_azimuth_deg", found.rise_azimuth_deg, digits=1),
        Column("culmination_utc", found.culmination_unix_s, "instant"),
        Column("culmination_azimuth_deg", found.culmination_azimuth_deg, digits=1),
        Column("culmination_elevation_deg", found.culmination_elevation_deg, digits=1),
        Column("culmination_range_km", found.culmination_range_m / 1e3, digits=0),
        Column("set_utc", found.set_unix_s, "instant"),
        Column("set_azimuth_deg", found.set_azimuth_deg, digits=1),
        Column("duration_s", found.set_unix_s - found.rise_unix_s, digits=0),
    )
    places = setting.site_geometries()
    summary = (
        ("Passes", f"{len(found):,} of {np.unique(found.satellite).shape[0]:,} satellites"),
        ("Duration", spread(found.set_unix_s - found.rise_unix_s, 0, "s")),
        ("Highest", spread(found.culmination_elevation_deg, 1, "°")),
    )
    return Report(f"Passes: {setting.name}", setting.about(model), columns, summary, tuple(places[s] for s in site))


def _draw(axes: Axes, setting: Setting, found: SitePasses, min_elevation: float) -> None:
    """The sky as one sees it lying on the back with the head to the north: rise, highest point and set of each pass over the first site."""
    assert isinstance(axes, PolarAxes)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_rlim(0, 90 - min_elevation)
    axes.set_rgrids([90 - e for e in range(90, int(min_elevation), -15)], [f"{e}°" for e in range(90, int(min_elevation), -15)], fontsize=7)
    axes.set_thetagrids(range(0, 360, 45), ["N", "NE", "E", "SE", "S", "SW", "W", "NW"])
    over = np.flatnonzero(found.site == found.site[0])[:_MOST_DRAWN]
    for row in over.tolist():
        azimuth = np.radians([found.rise_azimuth_deg[row], found.culmination_azimuth_deg[row], found.set_azimuth_deg[row]])
        distance = [90 - min_elevation, 90 - found.culmination_elevation_deg[row], 90 - min_elevation]
        axes.plot(azimuth, distance, color="#0b4f9c", alpha=0.25, linewidth=0.8)
    top = 90 - found.culmination_elevation_deg[over]
    axes.scatter(np.radians(found.culmination_azimuth_deg[over]), top, s=10, color="#c2570c", zorder=3, label="highest point of a pass")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.12, -0.08), fontsize=8, title=setting.sites.names[int(found.site[0])])
