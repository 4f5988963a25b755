"""What carriers carried this month, out of counters that begin anew."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.internet.usage import Usage, UsageDamaged

NOVEMBER, DECEMBER = 1_795_996_800.0, 1_796_083_200.0  # 30 November and 1 December 2026, 00:00 UTC
CARRIERS = {"eth1": "starlink", "eth2": "starlink", "wwan0": "mobile"}


def test_counts_by_carrier_and_begins_anew_with_the_month() -> None:
    usage = Usage()
    usage.count({"eth1": 100, "eth2": 10, "wwan0": 7, "lo": 5_000}, CARRIERS, "boot", NOVEMBER)
    usage.count({"eth1": 150, "eth2": 10, "wwan0": 7}, CARRIERS, "boot", NOVEMBER + 60)
    assert (usage.month, usage.octets) == ("2026-11", {"starlink": 160.0, "mobile": 7.0})
    usage.count({"eth1": 151, "eth2": 10}, CARRIERS, "boot", DECEMBER)
    assert (usage.month, usage.octets) == ("2026-12", {"starlink": 1.0})


@given(st.lists(st.tuples(st.integers(0, 10**9), st.sampled_from(["goes on", "agent", "interface", "machine", "absent"])), max_size=30))
def test_nothing_is_lost_or_counted_twice_whatever_begins_anew(steps: list[tuple[int, str]]) -> None:
    usage, counter, boot, carried = Usage(), 0, 0, 0
    for octets, what in steps:
        if what == "agent":
            usage = Usage.parse(usage.serialise())
        elif what in ("interface", "machine"):
            # What an interface carried between the last count and its end is unknown; here it carried nothing.
            boot += what == "machine"
            octets %= max(counter, 1) if what == "interface" else octets + 1  # an interface made anew shows less, or is taken to go on
            counter = 0
        counter += octets
        carried += octets
        if what == "absent":
            usage.count({}, CARRIERS, str(boot), NOVEMBER)
        usage.count({"wwan0": counter}, CARRIERS, str(boot), NOVEMBER)
        assert usage.octets.get("mobile", 0.0) == carried


@pytest.mark.parametrize("stored", [b"", b"[]", b"{}", json.dumps({"month": "2026-11", "octets": [], "boot": "", "counted": {}}).encode()])
def test_what_is_damaged_is_refused_with_a_remedy(stored: bytes) -> None:
    with pytest.raises(UsageDamaged, match="remove the file"):
        Usage.parse(stored)
