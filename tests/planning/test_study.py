"""Studies: the file, its errors, and an open model whose totals ours must reproduce."""

from __future__ import annotations

from pathlib import Path

import lxml.html
import numpy as np
import pytest
from click.testing import CliRunner

from tests.planning.test_figure import likely
from tramontana.cli.main import tramontana
from tramontana.cli.plan_page import number
from tramontana.cli.plan_study import read_study
from tramontana.planning.figure import Draws, Input, ancestry, evaluate
from tramontana.planning.study import StudyError, parse_study
from tramontana.planning.units import counted

ITALY = Path(__file__).parents[2] / "studies" / "italy-2025.toml"

TINY = """
[study]
title = "Tiny"
currency = "EUR"
price_year = 2025
first_year = 2026
years = 2
discount_rate = "rate"
users = "users"

[sources.offer]
title = "An offer"
url = "https://example.org/offer"
date = "2025-01-06"

[inputs.rate]
value = 0.1
unit = "1"
source = "offer"

[inputs.users]
value = 4
unit = "user"
source = "offer"

[inputs.price]
low = 10
likely = 20
high = 30
unit = "USD/site/month"
price_year = 2023
source = "offer"

[inputs.sites]
value = 3
unit = "site"
source = "offer"

[inputs.dollar]
value = 0.5
unit = "EUR/USD"
source = "offer"

[inputs.rise]
value = 0.1
unit = "1"
source = "offer"

[currencies.USD]
rate = "dollar"
inflation = "rise"

[[alternatives]]
id = "lease"
title = "Lease"
[[alternatives.lines]]
name = "subscriptions"
product = ["price", "sites"]
"""


REPORTED = """
[[reported]]
fact = "three sites"
input = "sites"
output = "seas"

[[alternatives]]"""


def test_a_tiny_study_by_hand() -> None:
    study = parse_study(TINY)
    costs = study.alternatives[0].costs
    a_year = 20 * 3 * 12 * 0.5 * 1.1**2
    assert likely(costs.by_year) == pytest.approx([a_year, a_year])
    assert likely(costs.present_value) == pytest.approx([a_year * (1 + 1 / 1.1)])
    per_user = study.alternatives[0].per_user
    assert per_user is not None
    assert likely(per_user) == pytest.approx([a_year * (1 + 1 / 1.1) / 4 / 2])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("years = 2", "years = 0", "study.years"),
        ("years = 2", "yeers = 2", "study.yeers is not known here"),
        ('product = ["price", "sites"]', 'product = ["price"]', "comes out as EUR/month/site; it must be EUR"),
        ('product = ["price", "sites"]', 'product = ["price", "ships"]', "there is no input ships"),
        ('product = ["price", "sites"]', 'product = ["price", "sites"]\nlast = 9', "years 1 to 9 are not within"),
        ('unit = "site"', 'unit = "sight"', '"sight" is not a unit'),
        ("[inputs.sites]\nvalue = 3", "[inputs.sites]\nvalue = 3\nlow = 2", "give low, likely and high, or else value alone"),
        ("low = 10", "low = 25", "they must be in this order"),
        ("price_year = 2023\n", "", "inputs.price is money: say of which year"),
        ('inflation = "rise"', "", "give currencies.USD.inflation"),
        ('rate = "dollar"', "", "give currencies.USD.rate"),
        ('unit = "EUR/USD"', 'unit = "USD/EUR"', "USD/EUR is not EUR/USD"),
        ('source = "offer"\n\n[inputs.users]', 'source = "rumour"\n\n[inputs.users]', "there is no source rumour"),
        ('users = "users"', "", "inputs that nothing uses: users"),
        ('id = "lease"', 'id = "seas"', "alternatives.seas has the name of a section of the report"),
        ("[[alternatives]]", REPORTED, "reported.1.output: the report has no seas; use one of costs, lease"),
        ('title = "Lease"', 'title = "Lease"\nincludes = ["lease"]', "includes itself"),
        ('title = "Lease"', 'title = "Lease"\nincludes = ["fibre"]', "there is no alternative fibre"),
        ('url = "https://example.org/offer"', 'url = "hearsay"', "sources.offer.url"),
        ("[study]", "[study", "not TOML"),
        ('title = "Lease"', 'title = "Lease"\nsky = { design = "starshield" }', "alternatives.lease.sky: unknown design"),
        ('title = "Lease"', 'title = "Lease"\nsky = { design = "iris2", landing = ["NZ"] }', "no gateway stands in NZ"),
        ('title = "Lease"', 'title = "Lease"\nsky = { landing = ["IT"] }', "give a design, or else shells"),
        ('title = "Lease"', 'title = "Lease"\nsky = { design = "iris2", first = 3 }', "years 3 to 2 are not within the study's 1 to 2"),
    ],
)
def test_what_cannot_be_used_says_where_and_what_to_do(old: str, new: str, complaint: str) -> None:
    assert old in TINY
    with pytest.raises(StudyError, match=None) as refused:
        parse_study(TINY.replace(old, new, 1))
    assert complaint in str(refused.value)


OPEN_MODEL = {
    # Inputs of the open model of Starlink, OneWeb and Kuiper (docs/sources.md), US dollars: capital, then a year's running costs.
    "starlink": ((250e6, 48.86e6, 125e6, 0.72e6, 3.55e6), (3.25e6, 50e6, 7.5e6, 60e6, 13e6)),
    "oneweb": ((720e6, 48.86e6, 125e6, 7.2e6, 3.55e6), (3.25e6, 50e6, 7.5e6, 60e6, 13e6)),
    "kuiper": ((180e6, 33e6, 125e6, 7.2e6, 2.5e6), (15e6, 50e6, 7.5e6, 60e6, 55e6)),
}


@pytest.mark.parametrize("constellation", OPEN_MODEL)
def test_the_open_model_is_reproduced(constellation: str) -> None:
    """Its total cost of ownership: capital and a first year of running costs at once, four further years discounted at 5 %."""
    capital, running = OPEN_MODEL[constellation]
    entries = [(f"capital-{n}", value, "USD") for n, value in enumerate(capital)] + [
        (f"running-{n}", value, "USD/year") for n, value in enumerate(running)
    ]
    text = f"""
        [study]
        title = "{constellation}"
        currency = "USD"
        price_year = 2022
        first_year = 2022
        years = 5
        discount_rate = "rate"
        [sources.model]
        title = "Open model"
        url = "https://github.com/Bonface-Osoro/saleos"
        date = "2022-12"
        [inputs.rate]
        value = 0.05
        unit = "1"
        source = "model"
        [[alternatives]]
        id = "{constellation}"
        title = "{constellation}"
        """
    for name, _, of in entries:
        text += f'[[alternatives.lines]]\nname = "{name}"\nproduct = ["{name}"]\n' + ("last = 1\n" if of == "USD" else "")
    for name, value, of in entries:
        text += f'[inputs.{name}]\nvalue = {value}\nunit = "{of}"\nprice_year = 2022\nsource = "model"\n'
    theirs = sum(capital) + sum(running) + sum(sum(running) / 1.05**year for year in range(1, 5))
    assert likely(parse_study(text).alternatives[0].costs.present_value) == pytest.approx([theirs], rel=1e-12)


PUBLISHED = (
    # Capital, running costs a year, total cost of ownership (US dollars): rows of results/final_cost_results.csv of the open model.
    (396_286_000.0, 109_300_000.0, 1_057_867_791.0232877),
    (401_286_000.0, 109_300_000.0, 1_062_867_791.0232877),
    (396_286_000.0, 109_800_000.0, 1_060_140_766.2753688),
    (396_286_000.0, 129_300_000.0, 1_148_786_801.1065347),
    (407_386_000.0, 122_300_000.0, 1_128_065_147.5773983),
)


def test_totals_that_the_open_model_published_move_as_ours() -> None:
    """Its totals hold a constant that is in neither column; so the differences between its rows are compared."""
    study = """
        [study]
        title = "rows"
        currency = "USD"
        price_year = 2022
        first_year = 2022
        years = 5
        discount_rate = "rate"
        [sources.model]
        title = "Open model, its results"
        url = "https://github.com/Bonface-Osoro/saleos"
        date = "2022-12"
        [inputs.rate]
        value = 0.05
        unit = "1"
        source = "model"
        """
    for row, (capital, running, _) in enumerate(PUBLISHED):
        study += f'[inputs.capital-{row}]\nvalue = {capital}\nunit = "USD"\nprice_year = 2022\nsource = "model"\n'
        study += f'[inputs.running-{row}]\nvalue = {running}\nunit = "USD/year"\nprice_year = 2022\nsource = "model"\n'
        study += f'[[alternatives]]\nid = "row-{row}"\ntitle = "row"\n'
        study += f'[[alternatives.lines]]\nname = "capital"\nproduct = ["capital-{row}"]\nlast = 1\n'
        study += f'[[alternatives.lines]]\nname = "running"\nproduct = ["running-{row}"]\n'
    ours = [likely(one.costs.present_value)[0] for one in parse_study(study).alternatives]
    for row, (_, _, theirs) in enumerate(PUBLISHED[1:], start=1):
        assert ours[row] - ours[0] == pytest.approx(theirs - PUBLISHED[0][2], rel=1e-8)


def test_the_second_country_is_a_study_whose_losses_differ() -> None:
    study = read_study(ITALY.parent / "spain-2025.toml")
    assert study.head.country == "ES"
    found = {one.id: one for one in study.alternatives}
    a_year = 93.17e6 * 1.02**7
    assert likely(found["hisdesat"].costs.undiscounted) == pytest.approx([5 * a_year])
    assert likely(found["terminals"].costs.undiscounted) == pytest.approx([500 * 2867 + 5 * 12 * 500 * 287])
    assert len(found["terminals-and-iris2"].skies) == 2
    (area,) = study.warned
    assert 390_000 < area.people.sum() < 430_000  # those of the basin, as its source counts them
    assert found["terminals"].phones


def test_the_case_of_italy() -> None:
    study = read_study(ITALY)
    found = {one.id: one.costs for one in study.alternatives}
    figures = [costs.present_value for costs in found.values()]
    for figure in ancestry(figures):
        if isinstance(figure, Input):
            assert figure.estimate.sources
            assert all(source.url.startswith(("https://", "http://", "docs/")) for source in figure.estimate.sources)
    assert sum(len(area.people) for area in study.warned) > 50
    # The same draws in every alternative: the mix is its parts, draw by draw, less the control room that it pays once.
    room = next(term for term in found["iris2"].terms if term.words == "iris2: control room")
    paid = {name: found[name].undiscounted for name in ("lease", "iris2", "lease-and-iris2")}
    sums = evaluate([*paid.values(), room], Draws.random(figures, 2000, seed=1))
    parts = sums[paid["lease"]] + sums[paid["iris2"]] - sums[room].sum(axis=1, keepdims=True)
    assert np.allclose(sums[paid["lease-and-iris2"]], parts)
    assert np.all(sums[room] > 0)
    terminals = 0.5 * (800 * 2867 + 60 * 0.875e6 * 1.02**11 * 0.92)
    control_room = 5 * 4 * 5 * 60e3 * 1.02**14
    assert likely(found["lease"].undiscounted) == pytest.approx([1.5e9 + terminals + control_room])
    # Each reported fact is an input with its source.
    words = " ".join(one.fact for one in study.reported)
    for fact in ("five years", "1.5 thousand million", "10 thousand million", "7,000", "100 countries", "Mediterranean", "direct-to-cell"):
        assert fact in words
    assert all(one.input.estimate.sources for one in study.reported)


def test_the_page_stands_alone_and_every_figure_leads_to_its_source(tmp_path: Path) -> None:
    page, study = tmp_path / "italy.html", tmp_path / "italy.toml"
    # Three of its losses: each is a simulation of its own.
    before, *losses = ITALY.read_text(encoding="utf-8").split("[[losses]]")
    kept = [loss for loss in losses[:-1] if any(f'id = "{name}"' in loss for name in ("spacex", "arianespace", "cable"))]
    before = before.replace("../src", str(ITALY.parents[1] / "src"))
    study.write_text("[[losses]]".join([before, *kept, losses[-1]]), encoding="utf-8")
    answer = CliRunner().invoke(tramontana, ["plan", "report", str(study), str(page)])
    assert answer.exit_code == 0, answer.output
    tree = lxml.html.fromstring(page.read_text(encoding="utf-8"))
    names = {element.get("id") for element in tree.iter() if element.get("id")}
    links = [element.get("href") for element in tree.iter("a")]
    assert all(link.removeprefix("#") in names for link in links if link.startswith("#"))
    # Nothing is loaded: no scripts, style sheets or pictures from elsewhere; only links that a reader may follow.
    assert not tree.xpath("//script | //link | //img | //iframe | //*[@src]")
    assert "url(http" not in page.read_text(encoding="utf-8")
    inputs = read_study(ITALY).inputs
    for name, given in inputs.items():
        row = tree.get_element_by_id(f"input-{name}")
        links = [link.removeprefix("#") for link in row.xpath(".//a/@href")]
        assert len(links) == len(given.estimate.sources)
        for link, source in zip(links, given.estimate.sources, strict=True):
            assert source.url in tree.get_element_by_id(link).xpath(".//a/@href")
    figures = list(tree.iter("figure"))
    # The ranges of all, cost against three measures, what drives each of the six, and a map of the seas for each of the four with a sky.
    assert len(figures) == 7 + 3 + 4
    assert all(len(figure.get("aria-label") or figure.text_content()) > 40 for figure in figures)
    assert "simulated" in tree.text_content()
    for heading in ("Sovereignty and dependence", "What is lost", "Capacity at the busy hour", "Time to warn, direct to phones"):
        table = tree.xpath(f"//h2[text()='{heading}']/following::table[1]")[0]
        assert len(table.xpath(".//td//a")) >= 10  # every figure leads to how it comes about
    saturated = tree.xpath("//h2[@id='busy-hour']/following::table[2]")[0]
    assert len(saturated.xpath(".//td//a")) == 10 * 4 * 2  # ten that ask (of a track one), four with a sky, likely and cautious
    assert "SpaceX ends the contract" in tree.text_content()
    for one in read_study(ITALY).reported:
        row = next(row for row in tree.xpath("//h2[text()='As reported']/following::table[1]//tr") if one.fact[1:] in row.text_content())
        assert row.xpath(".//a/@href")[0] == f"#input-{one.input.words}"
        assert one.output is not None
        assert row.xpath("./td[last()]/a/@href") == [f"#{one.output}"]
    facts = " ".join(one.fact for one in read_study(ITALY).reported)
    for word in (
        "five years",
        "1.5 thousand million",
        "10 thousand million",
        "7,000 satellites",
        "100 countries",
        "Mediterranean",
        "direct-to-cell",
    ):
        assert word in facts
    row = tree.get_element_by_id("lease-figure-round-trip-median-what-landing-in-it-only-adds")
    assert "−" in row.text_content()
    assert len(row.xpath(".//a")) == 2
    assert "Embassy, Kyiv" in tree.text_content()


@pytest.mark.parametrize(
    ("unit", "count", "words"),
    [
        ("year", 5, "years"),
        ("year", 1, "year"),
        ("person", 2, "people"),
        ("launch", 0, "launches"),
        ("EUR", 7, "EUR"),
        ("Mbit/s", 2, "Mbit/s"),
    ],
)
def test_units_beside_a_number(unit: str, count: float, words: str) -> None:
    assert counted(unit, count) == words


@pytest.mark.parametrize(
    ("value", "words"), [(1.5e9, "1,500 million"), (28.2, "28.2"), (0.126, "0.126"), (12_345.6, "12,346"), (7.9e6, "7.9 million"), (0, "0")]
)
def test_numbers_for_people(value: float, words: str) -> None:
    assert number(value) == words


def test_the_command_shows_alternatives_and_explains_a_figure(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    shown = CliRunner().invoke(tramontana, ["plan", "run", str(file), "--csv", str(tmp_path / "tiny.csv")])
    assert shown.exit_code == 0, shown.output
    assert "Driven by price" in shown.output
    rows = (tmp_path / "tiny.csv").read_text().splitlines()
    assert rows[0].startswith("alternative,cost_p10_MEUR,cost_p50_MEUR")
    assert rows[1].startswith("lease,")
    explained = CliRunner().invoke(tramontana, ["plan", "explain", str(file), "lease"])
    assert explained.exit_code == 0, explained.output
    assert "price in EUR of 2025 = (price × ((1 + rise)^2)) × dollar" in explained.output
    assert "https://example.org/offer" in explained.output
    unknown = CliRunner().invoke(tramontana, ["plan", "explain", str(file), "lease", "profit"])
    assert "has no figure profit; it has: " in str(unknown.exception)


TRACK = """
[inputs.busy]
value = 30
unit = "Mbit/s"
source = "offer"

[places.rome]
title = "Rome"
latitude = 41.9
longitude = 12.5
share = 4

[places.frigate]
title = "Frigate"
track = [[38.0, 16.0], [37.0, 17.5]]
share = 2
busy = "busy"
"""


def test_what_moves_is_measured_along_its_track() -> None:
    demand = parse_study(TINY + TRACK, {}).demand
    assert demand is not None
    assert [(place.id, place.latitude_deg, place.longitude_deg) for place in demand.places] == [
        ("rome", 41.9, 12.5), ("frigate-1", 38.0, 16.0), ("frigate-2", 37.0, 17.5),
    ]  # fmt: skip
    assert [place.name for place in demand.places] == ["Rome", "Frigate, 1 of 2", "Frigate, 2 of 2"]
    assert demand.shares == pytest.approx([4 / 6, 1 / 6, 1 / 6])  # the whole track has the share of its unit
    assert demand.busy_bps is not None
    assert demand.busy_bps[1] == pytest.approx([0.0, 30e6, 0.0])  # it asks once, where its track begins


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("track = [[38.0, 16.0]]", "two positions or more"),
        ("track = [[38.0, 16.0], [97.0, 17.5]]", "less than or equal to 90"),
        ("latitude = 38.0\ntrack = [[38.0, 16.0], [37.0, 17.5]]", "latitude and longitude, or else a track"),
        ("share = 2", "latitude and longitude, or else a track"),
    ],
)
def test_a_track_that_is_none_is_refused(wrong: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        parse_study(TINY + TRACK.replace("track = [[38.0, 16.0], [37.0, 17.5]]", wrong).replace("share = 2\nshare", "share"), {})


def test_positions_of_a_track_share_no_name_with_a_place() -> None:
    with pytest.raises(StudyError, match="same name"):
        parse_study(TINY + TRACK.replace("[places.rome]", "[places.frigate-2]"), {})
