"""Copies towards a site: asked for by a flag in probes, ended by its absence, by silence, or with the site."""

from __future__ import annotations

from tramontana.internet.copies import LAPSE_S, CopyRequests


def test_a_site_asks_in_one_tunnel_and_ends_it_there() -> None:
    requests = CopyRequests()
    assert not requests.handle_probe("ship", 1, False, 0.0)
    assert requests.handle_probe("ship", 2, True, 0.0)
    assert not requests.handle_probe("ship", 2, True, 0.1)
    assert not requests.handle_probe("ship", 1, False, 0.2)  # the probes of the tunnel that carries ask for nothing
    assert requests.over == {"ship": 2}
    assert requests.handle_probe("ship", 3, True, 0.3)
    assert not requests.handle_probe("ship", 2, False, 0.4)
    assert requests.over == {"ship": 3}
    assert requests.handle_probe("ship", 3, False, 0.5)
    assert requests.over == {}


def test_a_request_that_nobody_renews_lapses() -> None:
    requests = CopyRequests()
    requests.handle_probe("ship", 2, True, 0.0)
    requests.handle_probe("embassy", 1, True, 1.5)
    assert not requests.handle_timer(LAPSE_S)
    assert requests.handle_timer(LAPSE_S + 0.1)
    assert requests.over == {"embassy": 1}
    assert requests.forget("embassy")
    assert not requests.forget("embassy")
    assert not requests.handle_timer(100.0)
