"""`tramontana plan contract` over the hours that a server keeps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import insert

from tests.planning.test_contract import FIRST, HOURS, TEXT, down, hour, month_of
from tramontana.cli.main import tramontana
from tramontana.cli.plan_contract import Days, Measured, ToDate, followed, stated
from tramontana.control.bootstrap import with_store
from tramontana.control.store import carrier_hours
from tramontana.control.store.carrier_hours import SiteHour
from tramontana.control.store.database import Store
from tramontana.control.store.schema import accounts, devices
from tramontana.planning.contract import ContractError, Month, parse_contract, statement


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
    found = Measured().followed_by(rows)
    measured = found.hours
    assert list(measured) == ["Embassy", "Embassy (bbbbbbbb)"]
    assert found.followed_by([]) == Measured({name: [] for name in measured}, found.names)  # a month in which both were off is paid
    read, november = parse_contract(TEXT, "contract.toml"), Month(2026, 11)
    so_far = ToDate().and_then(statement(read, november, measured))
    so_far = so_far.and_then(statement(read, november.after, found.followed_by([]).hours))
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


def test_months_follow_one_another_and_a_site_is_paid_from_the_month_in_which_it_came(tmp_path: Path) -> None:
    read, november = parse_contract(TEXT, "contract.toml"), Month(2026, 11)
    december = [each.model_copy(update={"hour": each.hour + HOURS, "octets": 10**9}) for each in month_of({7: down(3600.0)})]

    async def keep(store: Store) -> None:
        async with store.write() as connection:
            for name, id, hours in (("Ship", "a" * 32, [*month_of({}), *december]), ("Rome", "b" * 32, december)):
                device = {"device_id": id, "account_id": id, "signature_public_key": id.encode(), "enrolled_at": 0.0, "path_seed": 0}
                await connection.execute(insert(accounts).values(account_id=id, display_name=name, created_at=0.0))
                await connection.execute(insert(devices).values(device))
                await carrier_hours.keep(connection, [(id, each) for each in hours])

    with_store(tmp_path, keep)
    found, so_far, measured = with_store(tmp_path, partial(followed, read, november.after))
    assert [site.site for site in found.sites] == ["Rome", "Ship"]
    assert so_far.price == 3000 + 2 * 2 * (HOURS - 100)
    assert (found.price, so_far.credit) == (2000 + 2 * 2 * (HOURS - 100), 100)
    assert [each.hour for each in measured.hours["Ship"]] == [each.hour for each in december]
    with pytest.raises(ContractError, match="2026-10 is outside"):
        with_store(tmp_path, partial(followed, read, Month(2026, 10)))
