"""What parts of a mix share is paid once: by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.planning.test_figure import likely
from tests.planning.test_study import TINY
from tramontana.cli.main import tramontana
from tramontana.planning.study import StudyError, parse_study

# Four years. The lease needs the room in years 1 and 2, the other one in years 2 to 4: a mix of both pays four years of it, not five.
MIX = (
    TINY.replace("years = 2", "years = 4").replace('users = "users"\n', "")
    + """
[[alternatives.lines]]
name = "control room"
product = ["users", "pay"]
last = 2
shared = "room"

[[alternatives]]
id = "own"
title = "Own"
[[alternatives.lines]]
name = "watch"
product = ["users", "pay"]
first = 2
shared = "room"

[[alternatives]]
id = "mix"
title = "Mix"
includes = ["lease", "own"]

[shared.room]
title = "one room for both"
source = "offer"
note = "nobody sits twice"

[inputs.pay]
value = 7
unit = "EUR/user/year"
price_year = 2025
source = "offer"
"""
)


def test_a_mix_pays_once_and_in_every_year_in_which_a_part_needs_it() -> None:
    lease, own, mix = parse_study(MIX).alternatives
    subscriptions, room = 20 * 3 * 12 * 0.5 * 1.1**2, 4 * 7
    assert likely(lease.costs.by_year) == pytest.approx([subscriptions + room, subscriptions + room, subscriptions, subscriptions])
    assert likely(own.costs.by_year) == pytest.approx([0, room, room, room])
    assert likely(mix.costs.by_year) == pytest.approx([subscriptions + room] * 4)
    assert "lease and own: control room, paid once" in [term.words for term in mix.costs.terms]
    apart = parse_study(MIX.replace('shared = "room"\n', "").replace(MIX[MIX.index("[shared.room]") : MIX.index("[inputs.pay]")], ""))
    assert likely(apart.alternatives[2].costs.by_year) == pytest.approx([subscriptions + each * room for each in (1, 2, 1, 1)])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[shared.room]", "[shared.hall]", "nothing is called room that is shared; add [shared.room]"),
        ('first = 2\nshared = "room"', "first = 2", "shared.room: lease: control room names it; what is shared needs a line in two"),
        ("first = 2", "first = 4", "nobody pays for shared.room from year 3 to 3"),
        ('product = ["users", "pay"]\nfirst', 'product = ["users", "rate", "pay"]\nfirst', "has one price"),
        ('title = "one room for both"\nsource = "offer"', 'title = "one room for both"\nsource = "rumour"', "there is no source rumour"),
    ],
)
def test_what_cannot_be_shared_is_refused(old: str, new: str, complaint: str) -> None:
    assert old in MIX
    with pytest.raises(StudyError) as refused:
        parse_study(MIX.replace(old, new, 1))
    assert complaint in str(refused.value)


def test_the_report_says_what_is_paid_once_and_who_says_so(tmp_path: Path) -> None:
    study, page = tmp_path / "study.toml", tmp_path / "page.html"
    study.write_text(MIX)
    made = CliRunner().invoke(tramontana, ["plan", "report", str(study), str(page)])
    assert made.exit_code == 0, (made.output, made.exception)
    text = page.read_text(encoding="utf-8")
    assert "One room for both" in text
    assert "lease: control room, own: watch" in text
    assert "nobody sits twice" in text
