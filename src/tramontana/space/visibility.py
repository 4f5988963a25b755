"""What is seen from where: places on the WGS 84 ellipsoid, elevation, azimuth, range, and the great circle between two places."""

from __future__ import annotations

import numpy as np

from tramontana.space.fleet import Floats

WGS84_SEMI_MAJOR_AXIS_M = 6378137.0  # NIMA TR8350.2
WGS84_FLATTENING = 1 / 298.257223563
EARTH_POLAR_RADIUS_M = WGS84_SEMI_MAJOR_AXIS_M * (1 - WGS84_FLATTENING)
EARTH_MEAN_RADIUS_M = 6371008.8  # IUGG mean radius R1
SPEED_OF_LIGHT_M_PER_S = 299792458.0


def itrs_position_m(latitude_deg: float, longitude_deg: float, height_m: float = 0.0) -> Floats:
    """Position, (3,) metres ITRS, of a geodetic WGS 84 coordinate."""
    position: Floats = itrs_positions_m(np.array([latitude_deg]), np.array([longitude_deg]), np.array([height_m]))[0]
    return position


def itrs_positions_m(latitude_deg: Floats, longitude_deg: Floats, height_m: Floats) -> Floats:
    """Positions, (P, 3) metres ITRS, of (P,) geodetic WGS 84 coordinates."""
    lat, lon = np.radians(latitude_deg), np.radians(longitude_deg)
    e2 = WGS84_FLATTENING * (2 - WGS84_FLATTENING)
    n = WGS84_SEMI_MAJOR_AXIS_M / np.sqrt(1 - e2 * np.sin(lat) ** 2)
    horizontal = (n + height_m) * np.cos(lat)
    return np.stack([horizontal * np.cos(lon), horizontal * np.sin(lon), (n * (1 - e2) + height_m) * np.sin(lat)], axis=-1)


def local_frame(latitude_deg: float, longitude_deg: float) -> Floats:
    """Rows east, north and up (geodetic) as ITRS unit vectors, (3, 3)."""
    frame: Floats = local_frames(np.array([latitude_deg]), np.array([longitude_deg]))[0]
    return frame


def local_frames(latitude_deg: Floats, longitude_deg: Floats) -> Floats:
    """Rows east, north and up (geodetic) as ITRS unit vectors, (P, 3, 3)."""
    lat, lon = np.radians(latitude_deg), np.radians(longitude_deg)
    sin_lat, cos_lat, sin_lon, cos_lon = np.sin(lat), np.cos(lat), np.sin(lon), np.cos(lon)
    east = np.stack([-sin_lon, cos_lon, np.zeros_like(lon)], axis=-1)
    north = np.stack([-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat], axis=-1)
    up = np.stack([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat], axis=-1)
    return np.stack([east, north, up], axis=-2)


def look_angles(latitude_deg: float, longitude_deg: float, height_m: float, target_itrs_m: Floats) -> tuple[Floats, Floats, Floats]:
    """Elevation (degrees above the geodetic horizon, no refraction), azimuth (degrees from north by east) and range (m).

    target_itrs_m: (…, 3); each answer is (…). NaN positions give NaN.
    """
    offset = target_itrs_m - itrs_position_m(latitude_deg, longitude_deg, height_m)
    east, north, up = np.moveaxis(offset @ local_frame(latitude_deg, longitude_deg).T, -1, 0)
    slant_range_m = np.sqrt(east**2 + north**2 + up**2)
    elevation_deg = np.degrees(np.arcsin(np.clip(up / slant_range_m, -1.0, 1.0)))
    return elevation_deg, np.mod(np.degrees(np.arctan2(east, north)), 360.0), slant_range_m


def great_circle_m(latitude_a_deg: float, longitude_a_deg: float, latitude_b_deg: float, longitude_b_deg: float) -> float:
    """Distance on a sphere of the mean radius (haversine); within 0.6 % of the ellipsoid."""
    lat_a, lat_b = np.radians(latitude_a_deg), np.radians(latitude_b_deg)
    half_lat, half_lon = (lat_b - lat_a) / 2, np.radians(longitude_b_deg - longitude_a_deg) / 2
    h = np.sin(half_lat) ** 2 + np.cos(lat_a) * np.cos(lat_b) * np.sin(half_lon) ** 2
    return float(2 * EARTH_MEAN_RADIUS_M * np.arcsin(np.sqrt(min(1.0, float(h)))))


def coverage_half_angle_rad(radius_m: Floats, minimum_elevation_deg: float) -> Floats:
    """Greatest angle at the centre of a spherical Earth (polar radius) at which a satellite of this geocentric radius stands so high."""
    elevation = np.radians(minimum_elevation_deg)
    return np.asarray(np.arccos(np.minimum(1.0, EARTH_POLAR_RADIUS_M / radius_m * np.cos(elevation))) - elevation, dtype=np.float64)
