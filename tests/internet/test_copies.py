"""Copies towards a site: asked for class by class in probes, ended by their absence, by silence, or with the site."""

from __future__ import annotations

from tramontana.internet.copies import LAPSE_S, CopyRequests
from tramontana.internet.flow_class import FlowClass

NONE: frozenset[FlowClass] = frozenset()
VOICE = frozenset({FlowClass.VOICE_ROUTINE, FlowClass.VOICE_FLASH})
DATA = frozenset({FlowClass.DATA_FLASH})


def test_a_site_asks_in_each_tunnel_for_what_may_come_there_and_ends_it_there() -> None:
    requests = CopyRequests()
    assert not requests.handle_probe("ship", 1, NONE, 0.0)
    assert requests.handle_probe("ship", 2, VOICE, 0.0)
    assert not requests.handle_probe("ship", 2, VOICE, 0.1)
    assert not requests.handle_probe("ship", 1, NONE, 0.2)  # the probes of the tunnel that carries ask for nothing
    assert requests.wanted == {("ship", 2): VOICE}
    assert requests.handle_probe("ship", 1, DATA, 0.3)
    for turn in range(3):  # what is asked for in two tunnels is not taken for a change of mind
        assert not requests.handle_probe("ship", 2, VOICE, 0.4 + turn)
        assert not requests.handle_probe("ship", 1, DATA, 0.4 + turn)
    assert requests.wanted == {("ship", 2): VOICE, ("ship", 1): DATA}
    assert requests.handle_probe("ship", 2, VOICE | DATA, 2.5)
    assert requests.handle_probe("ship", 2, NONE, 2.6)
    assert requests.wanted == {("ship", 1): DATA}


def test_a_request_that_nobody_renews_lapses() -> None:
    requests = CopyRequests()
    requests.handle_probe("ship", 2, VOICE, 0.0)
    requests.handle_probe("embassy", 1, VOICE, 1.5)
    requests.handle_probe("embassy", 3, DATA, 1.5)
    assert not requests.handle_timer(LAPSE_S)
    assert requests.handle_timer(LAPSE_S + 0.1)
    assert requests.wanted == {("embassy", 1): VOICE, ("embassy", 3): DATA}
    assert requests.forget("embassy")
    assert requests.wanted == {}
    assert not requests.forget("embassy")
    assert not requests.handle_timer(100.0)
