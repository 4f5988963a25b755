"""`tramontana plan contract` over the hours that a server keeps."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from tests.planning.test_contract import FIRST, TEXT, down, hour, month_of
from tramontana.cli.main import tramontana
from tramontana.cli.plan_contract import Days, by_site, stated, to_date
from tramontana.control.store.carrier_hours import SiteHour
from tramontana.planning.contract import Month, parse_contract, statement


def test_without_measurements_the_statement_says_so(tmp_path: Path) -> None:
    (tmp_path / "contract.toml").write_text(TEXT.replace('currency = "EUR"', 'currency = "EUR"\nsites = ["Ministry"]'))
    page, table, data = tmp_path / "page.html", tmp_path / "table.csv", tmp_path / "data"
    command = ["plan", "contract", str(tmp_path / "contract.toml"), "--month", "2026-11", "--data", str(data)]
    command += ["--page", str(page), "--csv", str(table)]
    ran = CliRunner().invoke(tramontana, command)
    assert ran.exit_code == 0, ran.output
    assert "5 undecided" in ran.output
    assert "1,000.00 EUR" in ran.output
    assert "Ministry" in page.read_text()
    assert "http" not in page.read_text().replace("http://www.w3.org/", "")
    assert table.read_text().count("Ministry") == 5
    (tmp_path / "contract.toml").write_bytes(b"\xff")
    assert "is not UTF-8 text" in str(CliRunner().invoke(tramontana, command).exception)


def test_two_sites_of_one_name_stay_two_and_money_adds_up() -> None:
    rows = [SiteHour("a" * 32, "Embassy", each) for each in month_of({3: down(3600.0), 4: down(900.0)})]
    rows += [SiteHour("b" * 32, "Embassy", each) for each in month_of({})]
    measured = by_site(rows)
    assert list(measured) == ["Embassy", "Embassy (bbbbbbbb)"]
    read, november = parse_contract(TEXT, "contract.toml"), Month(2026, 11)
    so_far = to_date(read, november, november.after, measured)
    assert (so_far.price, so_far.credit) == (4000, 50)
    report = stated(statement(read, november, measured), so_far)
    assert report.count == 10
    assert "Credit due     50.00 EUR" in report.as_text(20)
    days = Days.of(read, november, measured)
    assert days.sites[0] == "Embassy"
    assert days.down_min[0, 0] == 75
    assert "<svg" in days.svg()


def test_a_day_that_nobody_watched_is_not_a_good_day() -> None:
    read = parse_contract(TEXT, "contract.toml")
    days = Days.of(read, Month(2026, 11), {"Embassy": [hour(0)]})
    assert days.down_min[0, 0] == 0
    assert str(days.down_min[0, 1]) == "nan"
    assert hour(0).hour == FIRST
