"""Points that stand for a country when its median delay is predicted: the capital and a town towards north, south, east and west.

Plain geography, to 0.1°. All points weigh the same: where the operator's customers live is not published. The rule is the same for every
country, and no point was moved to make a country fit.
"""

from __future__ import annotations

from tramontana.errors import LocalError
from tramontana.space.ground import Place

# ISO 3166-1 alpha-3: capital, north, south, east, west; latitude and longitude in degrees
_POINTS = {
    "AUT": (
        ("Vienna", 48.2, 16.4), ("Gmünd", 48.8, 15.0), ("Klagenfurt", 46.6, 14.3),
        ("Eisenstadt", 47.8, 16.5), ("Bregenz", 47.5, 9.7),
    ),
    "DEU": (
        ("Berlin", 52.5, 13.4), ("Flensburg", 54.8, 9.4), ("Kempten", 47.7, 10.3),
        ("Görlitz", 51.2, 15.0), ("Aachen", 50.8, 6.1),
    ),
    "DNK": (
        ("Copenhagen", 55.7, 12.6), ("Hjørring", 57.5, 10.0), ("Nykøbing", 54.8, 11.9),
        ("Rønne", 55.1, 14.7), ("Esbjerg", 55.5, 8.5),
    ),
    "EST": (
        ("Tallinn", 59.4, 24.8), ("Rakvere", 59.3, 26.4), ("Valga", 57.8, 26.0),
        ("Narva", 59.4, 28.2), ("Kuressaare", 58.3, 22.5),
    ),
    "FRA": (
        ("Paris", 48.9, 2.4), ("Dunkirk", 51.0, 2.4), ("Perpignan", 42.7, 2.9),
        ("Strasbourg", 48.6, 7.8), ("Brest", 48.4, -4.5),
    ),
    "GBR": (
        ("London", 51.5, -0.1), ("Inverness", 57.5, -4.2), ("Plymouth", 50.4, -4.1),
        ("Norwich", 52.6, 1.3), ("Derry", 55.0, -7.3),
    ),
    "HUN": (
        ("Budapest", 47.5, 19.0), ("Miskolc", 48.1, 20.8), ("Pécs", 46.1, 18.2),
        ("Nyíregyháza", 48.0, 21.7), ("Sopron", 47.7, 16.6),
    ),
    "IRL": (
        ("Dublin", 53.3, -6.3), ("Letterkenny", 55.0, -7.7), ("Cork", 51.9, -8.5),
        ("Wicklow", 53.0, -6.0), ("Galway", 53.3, -9.1),
    ),
    "ISL": (
        ("Reykjavík", 64.1, -21.9), ("Akureyri", 65.7, -18.1), ("Vík", 63.4, -19.0),
        ("Egilsstaðir", 65.3, -14.4), ("Ísafjörður", 66.1, -23.1),
    ),
    "JOR": (
        ("Amman", 31.9, 35.9), ("Irbid", 32.6, 35.9), ("Aqaba", 29.5, 35.0),
        ("Ruwaished", 32.5, 38.2), ("Karak", 31.2, 35.7),
    ),
    "LTU": (
        ("Vilnius", 54.7, 25.3), ("Mažeikiai", 56.3, 22.3), ("Alytus", 54.4, 24.0),
        ("Visaginas", 55.6, 26.4), ("Klaipėda", 55.7, 21.1),
    ),
    "LUX": (
        ("Luxembourg", 49.6, 6.1), ("Clervaux", 50.1, 6.0), ("Esch", 49.5, 6.0),
        ("Echternach", 49.8, 6.4), ("Redange", 49.8, 5.9),
    ),
    "MKD": (
        ("Skopje", 42.0, 21.4), ("Kumanovo", 42.1, 21.7), ("Bitola", 41.0, 21.3),
        ("Strumica", 41.4, 22.6), ("Ohrid", 41.1, 20.8),
    ),
    "NLD": (
        ("Amsterdam", 52.4, 4.9), ("Groningen", 53.2, 6.6), ("Maastricht", 50.9, 5.7),
        ("Enschede", 52.2, 6.9), ("Middelburg", 51.5, 3.6),
    ),
    "ROU": (
        ("Bucharest", 44.4, 26.1), ("Suceava", 47.7, 26.3), ("Giurgiu", 43.9, 26.0),
        ("Constanța", 44.2, 28.6), ("Timișoara", 45.8, 21.2),
    ),
    "SVK": (
        ("Bratislava", 48.1, 17.1), ("Žilina", 49.2, 18.7), ("Komárno", 47.8, 18.1),
        ("Michalovce", 48.8, 21.9), ("Skalica", 48.8, 17.2),
    ),
    "SVN": (
        ("Ljubljana", 46.1, 14.5), ("Maribor", 46.6, 15.6), ("Črnomelj", 45.6, 15.2),
        ("Murska Sobota", 46.7, 16.2), ("Nova Gorica", 46.0, 13.6),
    ),
    "SWE": (
        ("Stockholm", 59.3, 18.1), ("Kiruna", 67.9, 20.2), ("Malmö", 55.6, 13.0),
        ("Haparanda", 65.8, 24.1), ("Strömstad", 58.9, 11.2),
    ),
}  # fmt: skip

COUNTRIES = tuple(sorted(_POINTS))


def country_points(iso3: str) -> tuple[Place, ...]:
    """The points of a country as places; raises `LocalError` for one without points."""
    if iso3 not in _POINTS:
        raise LocalError(f"no points are known for the country {iso3!r}: use one of {', '.join(COUNTRIES)}")
    return tuple(Place(f"{iso3.lower()}-{k}", name, iso3, "city", la, lo) for k, (name, la, lo) in enumerate(_POINTS[iso3]))
