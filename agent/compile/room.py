"""Which gateway addresses and listener keys the tables have room for.

Decides it for the tables that are full by their number of entries; ids are given out in listener_ids.py and
backend_ids.py. Rules: what the kernel holds comes first, then the plan's order, so that a listener too many never takes
the place of one that serves. Must never look at anything but the number of entries.
"""

from __future__ import annotations

from dataclasses import replace

from agent.compile.image import Held, ListenerKey
from routes.plan import Plan


def fitting(plan: Plan, held: Held) -> tuple[Plan, dict[tuple[str, str], str]]:
    """The plan, less the addresses of listeners that have no room; and MapImage.left_out."""
    if len(plan.gateway_addresses) <= held.room.gateways and _count(plan) <= held.room.listeners:
        return plan, {}
    serving = {x.address for x in held.listeners}
    addresses = sorted(plan.gateway_addresses, key=lambda x: x not in serving)[: held.room.gateways]
    wanted = [ListenerKey(a, x.port, x.protocol) for x in plan.listeners for a in x.addresses if a in addresses]
    keys = set(sorted(wanted, key=lambda x: x not in held.listeners)[: held.room.listeners])
    fitted, left_out = [], {}
    for x in plan.listeners:
        kept = tuple(a for a in x.addresses if ListenerKey(a, x.port, x.protocol) in keys)
        if kept:
            fitted.append(replace(x, addresses=kept))
        if kept != x.addresses:
            left_out[x.gateway, x.name] = "listeners" if set(x.addresses) <= set(addresses) else "gateways"
    known = tuple(x for x in plan.gateway_addresses if x in addresses)
    return Plan(tuple(fitted), known), left_out


def _count(plan: Plan) -> int:
    return sum(len(x.addresses) for x in plan.listeners)
