"""Which FlowPolicies count, and what they come to for a listener.

Decides Accepted of each targetRef (GEP-713, direct policies), and a listener's policy. Rules:
  - a target is a Gateway of ours, one of its listeners (sectionName), or a route, in the policy's own namespace; one
    that is not there is TargetNotFound, and counts as soon as it is;
  - of two policies with the same target the older has it, whatever the two say; the other is Conflicted there;
  - of the policies that a listener meets, each part of the spec (`sources`, ...) is taken whole from the most specific
    one that has it: that of the route that serves, else of the listener, else of the Gateway.
Must never look at backends; nor merge within a part: who reads a policy sees what it denies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from routes import conditions
from routes.conflicts import OwnListener
from routes.gateways import CONTROLLER
from routes.objects import FlowPolicy, Gateway, L4Route, ObjectKey, PolicySources, PolicyTargetReference
from routes.plan import Network, Policy, SourceRange
from routes.problem import Problem
from routes.status import PolicyAncestorStatus, PolicyStatus


@dataclass(frozen=True, slots=True)
class Target:
    """What a targetRef leads to; `section` is "" but for a listener."""

    key: ObjectKey
    section: str = ""


def by_target(policies: Iterable[FlowPolicy]) -> Mapping[Target, FlowPolicy]:
    """Each target's policy, given all policies oldest first."""
    found: dict[Target, FlowPolicy] = {}
    for policy in policies:
        for ref in policy.spec.target_refs:
            found.setdefault(_target(policy, ref), policy)
    return found


def of_listener(policies: Mapping[Target, FlowPolicy], own: OwnListener, serving: L4Route | None) -> Policy | None:
    """What a listener asks of new flows while that route serves; None: nothing."""
    if not policies:
        return None
    gateway = own.owner.gateway.key
    route = (Target(serving.key),) if serving is not None else ()
    places = (*route, Target(gateway, own.listener.name), Target(gateway))
    met = [policies[x] for x in places if x in policies]
    sources = next((x for x in met if x.spec.sources is not None), None)
    if sources is None or sources.spec.sources is None:
        return None
    said = sources.spec.sources
    return Policy(
        names=(str(sources.key),),
        sources=_ranges(said),
        allow_only=bool(said.allow),
        reject=said.denied == "Reject",
    )


def statuses(
    policies: Iterable[FlowPolicy],
    known: Mapping[Target, FlowPolicy],
    listeners: Mapping[str, Collection[OwnListener]],
    routes: Collection[ObjectKey],
) -> tuple[PolicyStatus, ...]:
    """Sorted by key. `listeners`: of each Gateway of ours by its name; `routes`: the keys of all routes there are."""
    return tuple(
        PolicyStatus(
            policy.key,
            tuple(
                PolicyAncestorStatus(
                    ref,
                    CONTROLLER,
                    conditions.policy_target(
                        policy.metadata.generation, _problem(policy, _target(policy, ref), known, listeners, routes)
                    ),
                )
                for ref in policy.spec.target_refs
            ),
        )
        for policy in sorted(policies, key=lambda x: x.key)
    )


def _target(policy: FlowPolicy, ref: PolicyTargetReference) -> Target:
    return Target(ObjectKey(ref.group, ref.kind, policy.metadata.namespace, ref.name), ref.section_name)


def _problem(
    policy: FlowPolicy,
    target: Target,
    known: Mapping[Target, FlowPolicy],
    listeners: Mapping[str, Collection[OwnListener]],
    routes: Collection[ObjectKey],
) -> Problem | None:
    name = f"{target.key.kind} {target.key}"
    if target.key.kind != Gateway.KIND:
        if target.key not in routes:
            return Problem("TargetNotFound", f"there is no {name}")
    elif str(target.key) not in listeners:
        return Problem("TargetNotFound", f"there is no {name} of Penstock")
    elif target.section and target.section not in {x.listener.name for x in listeners[str(target.key)]}:
        return Problem("TargetNotFound", f"{name} has no listener {target.section}")
    if known[target].key != policy.key:
        section = f" listener {target.section}" if target.section else ""
        return Problem("Conflicted", f"{name}{section} has FlowPolicy {known[target].key}, which comes first")
    return None


def _ranges(sources: PolicySources) -> tuple[SourceRange, ...]:
    """Each network once: what is allowed and denied is denied."""
    judged: dict[Network, bool] = {ip_network(x): True for x in sources.allow}
    judged |= {ip_network(x): False for x in sources.deny}
    ordered = sorted(judged, key=lambda x: (x.version, int(x.network_address), x.prefixlen))
    return tuple(SourceRange(x, judged[x]) for x in ordered)
