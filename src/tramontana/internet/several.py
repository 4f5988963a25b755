"""Which tunnels a TCP connection may use beside the one that its class goes by (docs/uplinks.md, "Several uplinks at once")."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tramontana.internet.flow_class import FlowClass
from tramontana.internet.overlay import TunnelId
from tramontana.internet.policy import Policy
from tramontana.internet.probe import Health
from tramontana.internet.uplink_choice import TunnelObservation


def flows_over_several(policy: Policy) -> tuple[FlowClass, ...]:
    """Classes of which one connection may use several uplinks at once."""
    return tuple(flow for flow in FlowClass if policy.rule(flow).several_uplinks)


def ways(
    policy: Policy,
    observations: Mapping[TunnelId, TunnelObservation],
    assigned: Mapping[FlowClass, TunnelId | None],
    used: Collection[TunnelId],
) -> frozenset[TunnelId]:
    """The tunnels that connections of these classes are to use, out of what the choice of uplinks has observed and decided.

    A connection stays with one gateway, so all are to the one by which the classes go; while they go by two, or by none, there are none.
    Addresses are the system's, not one connection's: a tunnel counts only if the policy allows it for every one of these classes.
    used: what they use now. A tunnel that begins to carry the classes themselves stays among them; it is not added while it does, because
    every connection is there already.
    """
    flows = flows_over_several(policy)
    carrying = {assigned.get(flow) for flow in flows}
    gateways = {None if each is None else each.gateway for each in carrying}
    if len(gateways) != 1 or None in gateways:
        return frozenset()
    found = set()
    for id, seen in observations.items():
        may = all(policy.evaluate(flow, seen.carrier, seen.used_octets).allowed for flow in flows)
        lives = seen.health is Health.ALIVE or (seen.health is Health.SUSPECT and id in used)
        if id.gateway in gateways and may and lives and seen.keyed and seen.link_up and (id in used or id not in carrying):
            found.add(id)
    return frozenset(found)
