"""Statements of a contract, computed by hand: what is missed, what nobody can decide, and what is due."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.carrier_hours import HOUR_S, CarrierHour, Full, bin_of
from tramontana.internet.service_record import LONGEST_STEP_S, Look, ServiceRecord
from tramontana.planning.contract import Contract, ContractError, Month, Statement, Verdict, parse_contract, statement

NOVEMBER = Month(2026, 11)
FIRST = NOVEMBER.first_hour
HOURS = 30 * 24
TEXT = """
[contract]
title = "Lines of the embassies"
carrier = "starlink"
currency = "EUR"
first_day = 2026-11-01
last_day = 2031-10-31
[price]
by_site_and_month = 1000
included_gb = 100
by_further_gb = 2
[[level]]
measure = "availability"
at_least = 99.9
[[level.credit]]
beyond = 99.9
share = 0.05
[[level.credit]]
beyond = 99
share = 0.25
[[level]]
measure = "round_trip_ms"
percentile = 95
at_most = 60
[[level.credit]]
beyond = 60
share = 0.10
[[level]]
measure = "down_mbps"
at_least = 100
[[level]]
measure = "longest_outage_s"
at_most = 600
[[level]]
measure = "loss"
at_most = 0.01
"""


def hour(number: int, **changes: Any) -> CarrierHour:
    fields: dict[str, Any] = {
        "carrier": "starlink",
        "hour": FIRST + number,
        "observed_s": 3600.0,
        "down_s": 0.0,
        "alone_s": 0.0,
        "outages": 0,
        "longest_outage_s": 0.0,
        "loss": 0.002,
        "delays": ((bin_of(0.040), 3600),),
        "full_down": None,
        "full_up": None,
        "octets": 0,
    }
    return CarrierHour(**(fields | changes))


def month_of(changed: dict[int, dict[str, Any]]) -> list[CarrierHour]:
    return [hour(number, **changed.get(number, {})) for number in range(HOURS)]


def down(seconds: float, *, at_start: bool = False, at_end: bool = False) -> dict[str, Any]:
    parts = {"down_at_start_s": seconds * at_start, "down_at_end_s": seconds * at_end}
    return {"down_s": seconds, "alone_s": seconds, "outages": int(not at_start), "longest_outage_s": seconds, **parts}


def made(hours: list[CarrierHour], text: str = TEXT) -> Statement:
    return statement(parse_contract(text, "contract.toml"), NOVEMBER, {"Embassy": hours})


def verdicts(found: Statement) -> dict[str, tuple[Verdict, float]]:
    return {each.level.measure: (each.verdict, each.credit) for each in found.sites[0].judged}


def test_a_good_month_costs_its_price() -> None:
    full = {"full_down": Full(seconds=100.0, bps=120e6), "octets": 50_000_000_000}
    found = made(month_of({5: full}))
    assert {verdict for verdict, _ in verdicts(found).values()} == {Verdict.KEPT}
    assert (found.price, found.credit, found.sites[0].gigabytes) == (1000, 0, 50)


def test_credits_are_the_hardest_of_each_promise_and_data_beyond_the_allowance_is_paid() -> None:
    slow = {"delays": ((bin_of(0.090), 3600),)}
    changed: dict[int, dict[str, Any]] = {number: slow for number in range(40)}  # 5.6 % of the hours
    changed |= {
        100: down(3600.0, at_end=True),
        101: down(3600.0, at_start=True, at_end=True),
        300: {**down(500.0), "octets": 150_000_000_000},
    }
    found = made(month_of(changed))
    # 7,700 of 2,592,000 seconds: 99.703 %
    assert verdicts(found)["availability"] == (Verdict.MISSED, 0.05)
    assert found.sites[0].judged[0].value == pytest.approx(100 * (1 - 7700 / 2_592_000))
    assert verdicts(found)["round_trip_ms"] == (Verdict.MISSED, 0.10)
    assert verdicts(found)["longest_outage_s"] == (Verdict.MISSED, 0.0)
    assert found.sites[0].judged[3].value == 7200  # two whole hours are one outage
    assert verdicts(found)["down_mbps"] == (Verdict.UNDECIDED, 0.0)  # never full: nobody knows
    assert found.credit == pytest.approx(150)
    assert found.price == pytest.approx(1000 + 50 * 2)


def test_what_was_hardly_watched_decides_nothing_but_is_paid() -> None:
    found = made(month_of({number: down(3600.0) for number in range(100)})[:600])
    assert found.sites[0].observed == pytest.approx(600 / 720)
    assert {verdict for verdict, _ in verdicts(found).values()} == {Verdict.UNDECIDED}
    assert (found.price, found.credit) == (1000, 0)
    named = TEXT.replace('currency = "EUR"', 'currency = "EUR"\nsites = ["Ministry"]')
    absent = made(month_of({}), named)
    assert [(site.site, site.observed, site.price) for site in absent.sites] == [("Ministry", 0, 1000)]


def longest_of(hours: list[CarrierHour], text: str = TEXT) -> float | None:
    return made(hours, text).sites[0].judged[3].value


def test_an_outage_that_goes_over_hours_is_one_and_what_does_not_count_parts_it() -> None:
    whole = down(3600.0, at_start=True, at_end=True)
    over = {23: down(900.0, at_end=True), 24: whole, 25: whole, 26: down(300.0, at_start=True)}
    assert longest_of(month_of(over)) == 900 + 2 * 3600 + 300
    window = TEXT + "[[maintenance]]\nfrom = 2026-11-02T00:10:00+00:00\nuntil = 2026-11-02T00:20:00+00:00\n"
    assert longest_of(month_of(over), window) == 3600 + 300
    assert longest_of([each for each in month_of(over) if each.hour != FIRST + 25]) == 900 + 3600  # one was never told
    assert longest_of(month_of({23: down(900.0), 24: down(300.0)})) == 900  # neither reaches the hour's edge


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 900)), min_size=1, max_size=12))
def test_the_longest_outage_of_what_a_site_recorded_is_that_of_the_unbroken_time(spans: list[tuple[bool, int]]) -> None:
    step = int(LONGEST_STEP_S)
    record, now, longest, lasts = ServiceRecord(), FIRST * HOUR_S, 0, 0
    for is_up, looks in spans:
        for _ in range(looks):
            lasts = 0 if is_up else lasts + (step if now > FIRST * HOUR_S else 0)
            longest = max(longest, lasts)
            record.look({"starlink": [Look(True, is_up, 0.04 if is_up else None, 0.0, None, None)]}, now)
            now += step
    record.look({}, now + HOUR_S)
    assert (longest_of(record.closed) or 0.0) == pytest.approx(longest)


def test_announced_maintenance_counts_neither_way() -> None:
    window = TEXT + "[[maintenance]]\nfrom = 2026-11-02T01:30:00+01:00\nuntil = 2026-11-02T02:30:00+01:00\n"
    bad = {24: down(3600.0), 25: down(3600.0)}  # from midnight UTC to 2
    assert verdicts(made(month_of(bad)))["availability"] == (Verdict.MISSED, 0.05)
    found = made(month_of(bad), window)
    assert verdicts(found)["availability"] == (Verdict.KEPT, 0.0)
    assert found.excused_hours == 2
    assert found.sites[0].observed == 1


def test_a_first_month_counts_from_its_first_day_and_others_are_outside() -> None:
    late = TEXT.replace("first_day = 2026-11-01", "first_day = 2026-11-21")
    found = made(month_of({number: down(3600.0) for number in range(20 * 24)}), late)
    assert found.sites[0].observed == 1
    assert verdicts(found)["availability"] == (Verdict.KEPT, 0.0)
    with pytest.raises(ContractError, match="outside the contract"):
        statement(parse_contract(TEXT, "c"), Month(2026, 10), {})
    with pytest.raises(ContractError, match="write it as 2026-11"):
        Month.parse("November")
    assert Month(2026, 12).after == Month(2027, 1)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("[contract]", "[contract", "is not TOML"),
        ("at_least = 99.9", "at_most = 99.9", "availability is promised with at_least"),
        ("percentile = 95\n", "", "percentile belongs to round_trip_ms"),
        ("at_least = 99.9", "at_least = 999", "in percent"),
        ("beyond = 60", "beyond = 50", "although 60 is kept"),
        ("last_day = 2031-10-31", "last_day = 2020-10-31", "before first_day"),
        ("included_gb = 100\n", "", "needs included_gb"),
        ("share = 0.05", "share = 5", "less than or equal to 1"),
        ("by_site_and_month", "by_site", "is not known here"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(before: str, after: str, complaint: str) -> None:
    with pytest.raises(ContractError, match=complaint):
        parse_contract(TEXT.replace(before, after), "contract.toml")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 3600), min_size=1, max_size=20), st.integers(0, 19), st.floats(0, 3600))
def test_more_outage_is_never_cheaper_for_the_carrier(outages: list[float], where: int, more: float) -> None:
    contract: Contract = parse_contract(TEXT, "contract.toml")

    def credit(seconds: list[float]) -> float:
        return statement(contract, NOVEMBER, {"A": month_of({i: down(s) for i, s in enumerate(seconds)})}).credit

    worse = list(outages)
    place = where % len(outages)
    worse[place] = max(worse[place], more)
    assert credit(worse) >= credit(outages)
