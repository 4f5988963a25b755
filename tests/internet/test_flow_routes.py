"""Rules of routing in a namespace: which table a packet with a mark finds, and what has none."""

from __future__ import annotations

import json

import pytest

from tests.internet.namespaces import lab, require_namespaces
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux import flow_routes
from tramontana.internet.linux.flow_marks import CONTROL_MARK, mark
from tramontana.internet.linux.namespace import Namespace

pytestmark = [pytest.mark.system]
TO = {"-4": "198.51.100.9", "-6": "2001:db8::9"}


def test_marks_find_their_tables_and_everything_else_passes_over_them_as_before() -> None:
    require_namespaces()
    with lab() as made:
        made.add("site", "sky")
        made.join("site", "way", "10.7.1.2/24", "sky", "in", "10.7.1.1/24")
        made.run("site", "ip", "-6", "address", "add", "fd07::2/64", "dev", "way", "nodad")

        def finds(version: str, number: int) -> str:
            shown = made.run("site", "ip", version, "-j", "route", "get", TO[version], "mark", f"{number:#x}")
            return str(json.loads(shown)[0]["gateway"])

        def rules(version: str) -> list[int]:
            return [rule["priority"] for rule in json.loads(made.run("site", "ip", version, "-j", "rule", "show"))]

        for version, router in (("-4", "10.7.1.{}"), ("-6", "fd07::{}")):
            made.run("site", "ip", version, "route", "add", "default", "via", router.format(1))
            # As an agent of an older release left it, without the way over the rules.
            for flow in FlowClass:
                number = str(flow_routes.table(flow))
                made.run("site", "ip", version, "rule", "add", "pref", number, "fwmark", f"{mark(flow):#x}", "lookup", number)
                made.run("site", "ip", version, "route", "add", "default", "via", router.format(100 + flow), "table", number)
        with Namespace(made.real("site")).entered():
            flow_routes.prepare()
            flow_routes.prepare()
        for version, router in (("-4", "10.7.1.{}"), ("-6", "fd07::{}")):
            assert [finds(version, mark(flow)) for flow in FlowClass] == [router.format(100 + flow) for flow in FlowClass]
            for other in (0, 1, 0x550000, CONTROL_MARK):
                assert finds(version, other) == router.format(1), hex(other)
            ours = [priority for priority in rules(version) if flow_routes.OTHERS_PREFERENCE <= priority <= flow_routes.BEHIND_PREFERENCE]
            assert ours == [flow_routes.OTHERS_PREFERENCE, *map(flow_routes.table, FlowClass), flow_routes.BEHIND_PREFERENCE]
