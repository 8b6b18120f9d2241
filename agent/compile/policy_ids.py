"""Numbers of policies, the same as long as what they say is.

Decides policy ids against what the kernel holds. Rules: an id says one thing as long as a listener leads to it: a
policy that changes gets another id, and its listeners are switched when all of it is written; listeners that ask for
the same share one. A new id is the smallest that nobody holds. A listener whose policy has no room is left out, and
never served without it. Ranges that are held count until they are gone, for they go last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.compile.image import (
    POLICY_AFFINITY,
    POLICY_ALLOW_ONLY,
    POLICY_FIRST,
    POLICY_IN_USE,
    POLICY_REJECT,
    POLICY_SOURCES,
    Held,
    PolicyEntry,
)
from routes.plan import Listener, Policy


def entry_of(policy: Policy) -> PolicyEntry:
    """A policy as the kernel holds it."""
    flags = POLICY_IN_USE
    for given, flag in (
        (policy.sources or policy.allow_only, POLICY_SOURCES),
        (policy.allow_only, POLICY_ALLOW_ONLY),
        (policy.reject, POLICY_REJECT),
        (policy.affinity, POLICY_AFFINITY),
    ):
        flags |= flag if given else 0
    affinity4, affinity6 = policy.affinity or (0, 0)
    return PolicyEntry(
        flags,
        policy.sources,
        policy.idle_tcp,
        policy.idle_udp,
        affinity4,
        affinity6,
        policy.per_listener,
        *(policy.per_source or (0, 0, 0)),
    )


def assigned(
    listeners: Sequence[Listener], held: Held
) -> tuple[Mapping[PolicyEntry, int], Mapping[tuple[str, str], str]]:
    """The id of each policy that the listeners ask for, and MapImage.left_out."""
    ids = {entry: number for number, entry in sorted(held.policies.items(), reverse=True)}
    free = (x for x in range(POLICY_FIRST, held.room.policies) if x not in held.policies)
    ranges = sum(len(x.sources) for x in held.policies.values())
    wanted: dict[PolicyEntry, int] = {}
    left_out: dict[tuple[str, str], str] = {}
    for listener in listeners:
        if listener.policy is None:
            continue
        entry = entry_of(listener.policy)
        if entry in wanted:
            continue
        if entry not in ids:
            if ranges + len(entry.sources) > held.room.source_ranges:
                left_out[listener.gateway, listener.name] = "source_ranges"
                continue
            number = next(free, None)
            if number is None:
                left_out[listener.gateway, listener.name] = "policies"
                continue
            ranges += len(entry.sources)
            ids[entry] = number
        wanted[entry] = ids[entry]
    return wanted, left_out
