"""`tramontana plan contract`: the monthly statement of a contract, out of what the sites of this server measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import click
import numpy as np
from matplotlib.figure import Figure

from tramontana.carrier_hours import CarrierHour
from tramontana.cli.datadir import data_dir, data_option, database_option, database_password_option
from tramontana.cli.organisation import postgresql
from tramontana.cli.output import Column, Report, check_writable, write_whole
from tramontana.cli.plan_study import Tables, table_options, text_of
from tramontana.cli.sky_chart import LINES, plain_text
from tramontana.cli.sky_page import page, svg_of
from tramontana.control.bootstrap import with_store
from tramontana.control.store import carrier_hours
from tramontana.control.store.carrier_hours import SiteHour
from tramontana.control.store.database import Store
from tramontana.planning.contract import Contract, Month, Statement, Verdict, parse_contract, statement

MOST_DRAWN_SITES: Final = 30


@click.command()
@click.argument("contract", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--month", required=True, metavar="YYYY-MM", help="Of UTC.")
@data_option
@database_option
@database_password_option
@click.option("--page", "page_path", type=click.Path(path_type=Path, dir_okay=False), help="Write it here as a page as well (HTML).")
@table_options
def contract(
    contract: Path,
    month: str,
    data: Path | None,
    database: str | None,
    database_password_file: Path | None,
    page_path: Path | None,
    tables: Tables,
) -> None:
    """What sites measured in a month, against what CONTRACT (TOML) promises; what it cost, and what credit is due."""
    if page_path is not None:
        check_writable(page_path)
    read = parse_contract(text_of(contract), str(contract))
    chosen = Month.parse(month)
    found, so_far, measured = with_store(data_dir(data), partial(followed, read, chosen), postgresql(database, database_password_file))
    report = stated(found, so_far)
    tables.show(report)
    if page_path is not None:
        with plain_text():
            written = page(report, Days.of(read, chosen, measured.hours))
        write_whole(page_path, written.encode())


@dataclass(frozen=True, slots=True)
class ToDate:
    """Money from the beginning of the contract to the end of a month."""

    price: float = 0.0
    credit: float = 0.0
    gigabytes: float = 0.0

    def and_then(self, month: Statement) -> ToDate:
        gigabytes = sum(site.gigabytes for site in month.sites)
        return ToDate(self.price + month.price, self.credit + month.credit, self.gigabytes + gigabytes)


async def followed(read: Contract, chosen: Month, store: Store) -> tuple[Statement, ToDate, Measured]:
    """The chosen month after those before it, one in memory at a time. Raises `ContractError` for a month outside the contract."""
    found, so_far, measured = statement(read, chosen, {}), ToDate(), Measured()
    month = Month(read.contract.first_day.year, read.contract.first_day.month)
    while month.first_hour <= chosen.first_hour:
        async with store.read() as connection:
            rows = await carrier_hours.of_carrier(connection, read.contract.carrier, month.first_hour, month.end_hour)
        measured = measured.followed_by(rows)
        found = statement(read, month, measured.hours)
        so_far, month = so_far.and_then(found), month.after
    return found, so_far, measured


@dataclass(frozen=True, slots=True)
class Measured:
    """The hours of a month by the name of their site. Sites of the months before are there as well, without hours."""

    hours: Mapping[str, Sequence[CarrierHour]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    """By device id; where two sites have one name, the later ones' with the beginning of their id."""

    def followed_by(self, rows: Sequence[SiteHour]) -> Measured:
        names = dict(self.names)
        for row in rows:
            if row.device_id not in names:
                names[row.device_id] = row.site if row.site not in names.values() else f"{row.site} ({row.device_id[:8]})"
        hours: dict[str, list[CarrierHour]] = {name: [] for name in names.values()}
        for row in rows:
            hours[names[row.device_id]].append(row.measured)
        return Measured(hours, names)


def stated(found: Statement, so_far: ToDate) -> Report:
    """One row for each site and promise."""
    head = found.contract.contract
    rows = [(site, judged) for site in found.sites for judged in site.judged]
    nan = float("nan")
    columns = (
        Column("site", [site.site for site, _ in rows], "text"),
        Column("promise", [judged.level.words for _, judged in rows], "text"),
        Column("measured", np.array([nan if judged.value is None else judged.value for _, judged in rows]), digits=3),
        Column("verdict", [judged.verdict.value for _, judged in rows], "text"),
        Column("credit_percent", np.array([judged.credit * 100 for _, judged in rows]), digits=1),
        Column("observed_percent", np.array([site.observed * 100 for site, _ in rows]), digits=1),
        Column("down_min", np.array([site.down_s / 60 for site, _ in rows]), digits=1),
        Column("down_alone_min", np.array([site.alone_s / 60 for site, _ in rows]), digits=1),
        Column("outages", np.array([site.outages for site, _ in rows], np.int64)),
        Column("data_GB", np.array([site.gigabytes for site, _ in rows]), digits=2),
    )
    missed = sum(judged.verdict is Verdict.MISSED for _, judged in rows)
    undecided = sum(judged.verdict is Verdict.UNDECIDED for _, judged in rows)
    currency = head.currency
    return Report(
        f"{head.title}: {found.month}",
        (
            ("Carrier", f"{head.carrier}, contract from {head.first_day} to {head.last_day}"),
            ("Measured", f"by {len(found.sites)} sites once a second, inside their tunnels; rates while a direction was full"),
            ("Left out", f"{found.excused_hours} hours that announced maintenance touches; time in which a site was off or had no key"),
            (
                "Blame",
                "down_alone is the part of down in which another carrier of the site did answer: the rest may be the site's or a gateway's",
            ),
            ("Decided", f"where at least {head.least_observed:.0%} of the month was observed"),
        ),
        columns,
        (
            ("Promises", f"{len(rows) - missed - undecided} kept, {missed} missed, {undecided} undecided"),
            ("Price", f"{found.price:,.2f} {currency}"),
            ("Credit due", f"{found.credit:,.2f} {currency}"),
            (
                "To date",
                f"{so_far.price:,.2f} {currency} from {head.first_day}, credit {so_far.credit:,.2f} {currency}, "
                f"{so_far.gigabytes:,.1f} GB. Measurements are kept for {carrier_hours.KEPT_DAYS} days: months before "
                "count with the fixed price of the sites that the contract names",
            ),
        ),
    )


@dataclass(frozen=True, eq=False)
class Days:
    """How long each site was without the carrier, day by day: the picture of the statement."""

    sites: tuple[str, ...]
    down_min: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    """(sites, days); NaN is not observed."""
    carrier: str

    @classmethod
    def of(cls, read: Contract, month: Month, measured: Mapping[str, Sequence[CarrierHour]]) -> Days:
        names = read.contract.sites if read.contract.sites is not None else tuple(sorted(measured))
        days = (month.end_hour - month.first_hour) // 24
        down = np.full((len(names), days), np.nan)
        for row, name in enumerate(names):
            for each in measured.get(name, ()):
                day = (each.hour - month.first_hour) // 24
                if each.carrier == read.contract.carrier and 0 <= day < days and each.observed_s:
                    down[row, day] = np.nan_to_num(down[row, day]) + each.down_s / 60
        worst = np.argsort(-np.nansum(down, axis=1), kind="stable")[:MOST_DRAWN_SITES]
        return cls(tuple(names[row] for row in worst), down[worst], read.contract.carrier)

    def svg(self) -> str:
        drawing = Figure(figsize=(10, 1.4 + 0.9 * len(self.sites)), layout="constrained", facecolor="white")
        days = np.arange(1, self.down_min.shape[1] + 1)
        top = max(1.0, float(np.nanmax(self.down_min, initial=0.0)))
        for row, (site, down) in enumerate(zip(self.sites, self.down_min, strict=True)):
            axes = drawing.add_subplot(len(self.sites), 1, row + 1)
            axes.bar(days, np.nan_to_num(down), color=LINES[1], width=0.8)
            unseen = np.isnan(down)
            axes.bar(days[unseen], np.full(int(unseen.sum()), top), color="#d8dde2", width=1.0)
            axes.set_ylim(0, top)
            axes.set_xlim(0.5, len(days) + 0.5)
            axes.set_ylabel("min")
            axes.set_title(f"{site}: minutes a day without {self.carrier}; grey: not observed", loc="left", fontsize=10)
        return svg_of(drawing)
