"""What is said about each object, with the time since when it is so.

Decides: lastTransitionTime, which `routes` cannot know. Rules: a condition keeps its time as long as its status (True,
False, Unknown) is the same, whatever its reason and message do (apimachinery's meta.SetStatusCondition); the statuses
published last are the memory, so a restart changes no time. Must never: judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import chain
from typing import TypeAlias

from agent.report import Condition, Conditions, ObjectStatus
from routes import status as judged
from routes.objects.base import ObjectKey
from routes.objects.policy import PolicyTargetReference
from routes.objects.route import ParentReference

_Key: TypeAlias = tuple[str, str, str]
_Judged: TypeAlias = judged.GatewayClassStatus | judged.GatewayStatus | judged.RouteStatus | judged.PolicyStatus
_Times: TypeAlias = Mapping[tuple[str, str, str, str, str], tuple[str, str]]


def with_times(statuses: judged.Statuses, before: Sequence[ObjectStatus], now: str) -> tuple[ObjectStatus, ...]:
    """All statuses in the report's shape; `before` is what was published last, `now` is RFC 3339."""
    times = {
        (x.kind, x.namespace, x.name, place.place, condition.type): (condition.status, condition.last_transition_time)
        for x in before
        for place in x.places
        for condition in place.conditions
    }
    objects = [_status(x.key, [("", x.conditions)], times, now) for x in statuses.classes]
    for gateway in statuses.gateways:
        objects.append(_gateway(gateway, times, now))
    for route in statuses.routes:
        parents = [(f"parent {_parent(x.parent)}", x.conditions) for x in route.parents]
        objects.append(_status(route.key, parents, times, now))
    for policy in statuses.policies:
        targets = [(f"target {_target(x.ancestor)}", x.conditions) for x in policy.ancestors]
        objects.append(_status(policy.key, targets, times, now))
    return tuple(objects)


class Told:
    """`with_times`, and what is Programmed, where only what changed since the call before is looked at.

    `before` is what was published before the first call.
    """

    def __init__(self, before: Iterable[ObjectStatus]) -> None:
        self._told: dict[_Key, ObjectStatus] = {(x.kind, x.namespace, x.name): x for x in before}
        self._judged: dict[_Key, _Judged] = {}
        self._held: Set[tuple[str, str]] = frozenset()
        self._reasons: Mapping[tuple[str, str], str] = {}

    def now(
        self,
        statuses: judged.Statuses,
        held: Set[tuple[str, str]],
        reasons: Mapping[tuple[str, str], str],
        now: str,
    ) -> tuple[ObjectStatus, ...]:
        """`held` and `reasons`: see `programmed`."""
        same = (held is self._held or held == self._held) and reasons == self._reasons
        found: dict[_Key, _Judged] = {}
        everything: Iterator[_Judged] = chain(statuses.classes, statuses.gateways, statuses.routes, statuses.policies)
        for status in everything:
            key = status.key
            found[key.kind, key.namespace, key.name] = status
        new = {
            key
            for key, x in found.items()
            if self._judged.get(key) is not x or (not same and isinstance(x, judged.GatewayStatus))
        }
        changed = judged.Statuses(
            classes=tuple(x for x in map(found.__getitem__, new) if isinstance(x, judged.GatewayClassStatus)),
            gateways=tuple(x for x in map(found.__getitem__, new) if isinstance(x, judged.GatewayStatus)),
            routes=tuple(x for x in map(found.__getitem__, new) if isinstance(x, judged.RouteStatus)),
            policies=tuple(x for x in map(found.__getitem__, new) if isinstance(x, judged.PolicyStatus)),
        )
        before = [self._told[key] for key in new if key in self._told]
        told = {
            (x.kind, x.namespace, x.name): x for x in with_times(judged.programmed(changed, held, reasons), before, now)
        }
        self._told = {key: told.get(key) or self._told[key] for key in found}
        self._judged, self._held, self._reasons = found, held, reasons
        return tuple(self._told.values())


@lru_cache(maxsize=1024)  # ten thousand routes say mostly the same
def _timed(condition: judged.Condition, since: str) -> Condition:
    return Condition(
        type=condition.type,
        status=condition.status,
        reason=condition.reason,
        message=condition.message,
        observed_generation=condition.observed_generation,
        last_transition_time=since,
    )


@lru_cache(maxsize=1024)  # likewise
def _together(*conditions: Condition) -> tuple[Condition, ...]:
    return conditions


def _gateway(gateway: judged.GatewayStatus, times: _Times, now: str) -> ObjectStatus:
    attached = {f"listener {x.name}": x.attached_routes for x in gateway.listeners}
    places = [("", gateway.conditions), *((f"listener {x.name}", x.conditions) for x in gateway.listeners)]
    addresses = tuple(map(str, gateway.addresses))
    return _status(gateway.key, places, times, now, attached=attached, addresses=addresses)


def _status(
    key: ObjectKey,
    places: Iterable[tuple[str, Sequence[judged.Condition]]],
    times: _Times,
    now: str,
    *,
    attached: Mapping[str, int] | None = None,
    addresses: tuple[str, ...] = (),
) -> ObjectStatus:
    def timed(place: str, condition: judged.Condition) -> Condition:
        old_status, since = times.get((key.kind, key.namespace, key.name, place, condition.type), ("", now))
        return _timed(condition, since if old_status == condition.status else now)

    return ObjectStatus(
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        places=tuple(
            Conditions(place, _together(*(timed(place, x) for x in conditions)), (attached or {}).get(place))
            for place, conditions in places
        ),
        addresses=addresses,
    )


def _target(target: PolicyTargetReference) -> str:
    section = f" {target.section_name}" if target.section_name else ""
    return f"{target.kind} {target.name}{section}"


def _parent(parent: ParentReference) -> str:
    name = f"{parent.namespace}/{parent.name}" if parent.namespace else parent.name
    section = f" {parent.section_name}" if parent.section_name else ""
    return name + section + (f":{parent.port}" if parent.port is not None else "")
