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
from routes.conflicts import ROUTE_KINDS, OwnListener
from routes.duration import milliseconds
from routes.effect import Effect, effect
from routes.gateways import CONTROLLER
from routes.objects.base import GroupKind, ObjectKey
from routes.objects.gateway import Gateway
from routes.objects.policy import FlowPolicy, PolicyConnections, PolicySources, PolicyTargetReference, SourcePrefix
from routes.objects.route import L4Route
from routes.plan import Network, Policy, SourceRange
from routes.problem import Problem
from routes.status import PolicyAncestorStatus, PolicyStatus


@dataclass(frozen=True, slots=True)
class Target:
    """What a targetRef leads to; `section` is "" but for a listener."""

    key: ObjectKey
    section: str = ""

    def __str__(self) -> str:
        return f"{self.key.kind} {self.key}" + (f" listener {self.section}" if self.section else "")


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
    parts = {
        part: first
        for part in ("sources", "idle", "affinity", "connections")
        if (first := next((x for x in met if getattr(x.spec, part) is not None), None)) is not None
    }
    if not parts:
        return None
    sources = parts["sources"].spec.sources if "sources" in parts else None
    idle = parts["idle"].spec.idle if "idle" in parts else None
    affinity = parts["affinity"].spec.affinity if "affinity" in parts else None
    connections = parts["connections"].spec.connections if "connections" in parts else None
    by_client = affinity if affinity is not None and affinity.type == "ClientAddress" else None
    return Policy(
        names=tuple(str(x.key) for x in met if x in parts.values()),
        sources=_ranges(sources) if sources is not None else (),
        allow_only=sources is not None and bool(sources.allow),
        reject=sources is not None and sources.denied == "Reject",
        idle_tcp=_seconds(idle.tcp) if idle is not None else 0,
        idle_udp=_seconds(idle.udp) if idle is not None else 0,
        affinity=(by_client.source_prefix.ipv4, by_client.source_prefix.ipv6) if by_client is not None else None,
        per_listener=connections.per_listener or 0 if connections is not None else 0,
        per_source=_per_source(connections) if connections is not None else None,
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
                        policy.metadata.generation,
                        _problem(policy, _target(policy, ref), known, listeners, routes),
                        _effect(policy, _target(policy, ref), listeners),
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
    if not _is_gateway(target):
        if target.key not in routes:
            return Problem("TargetNotFound", f"there is no {name}")
    elif str(target.key) not in listeners:
        return Problem("TargetNotFound", f"there is no {name} of Penstock")
    elif target.section and target.section not in {x.listener.name for x in listeners[str(target.key)]}:
        return Problem("TargetNotFound", f"{name} has no listener {target.section}")
    if known[target].key != policy.key:
        return Problem("Conflicted", f"{target} has FlowPolicy {known[target].key}, which comes first")
    return None


def _effect(policy: FlowPolicy, target: Target, listeners: Mapping[str, Collection[OwnListener]]) -> Effect:
    if _is_gateway(target):
        own = [x.listener for x in listeners.get(str(target.key), ())]
        protocols = {x.protocol for x in own if target.section in ("", x.name)}
    else:
        kind = GroupKind(target.key.group, target.key.kind)
        protocols = {protocol for protocol, kinds in ROUTE_KINDS.items() if kind in kinds}
    is_least_specific = _is_gateway(target) and not target.section
    return effect(policy.spec, str(target), protocols, takes_back=not is_least_specific)


def _is_gateway(target: Target) -> bool:
    return target.key.kind == Gateway.KIND


def _per_source(connections: PolicyConnections) -> tuple[int, int, int] | None:
    if connections.per_source is None:
        return None
    prefix = connections.source_prefix or SourcePrefix()
    return connections.per_source, prefix.ipv4, prefix.ipv6


def _seconds(text: str) -> int:
    return milliseconds(text) // 1000 if text else 0


def _ranges(sources: PolicySources) -> tuple[SourceRange, ...]:
    """Each network once: what is allowed and denied is denied."""
    judged: dict[Network, bool] = {ip_network(x): True for x in sources.allow}
    judged |= {ip_network(x): False for x in sources.deny}
    ordered = sorted(judged, key=lambda x: (x.version, int(x.network_address), x.prefixlen))
    return tuple(SourceRange(x, judged[x]) for x in ordered)
