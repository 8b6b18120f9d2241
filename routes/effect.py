"""Which parts of a policy can do something at a target, and why the others cannot.

Decides the condition Effective of each targetRef. Rules: by what the target is and the protocols that it can carry; a
part that asks for nothing does something where it can take back what a less specific policy says, so not at a Gateway.
Must never look at other policies: a more specific one may have a part in this one's stead at some listeners, and that
is no fault.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from routes.objects.policy import FlowPolicySpec


@dataclass(frozen=True, slots=True)
class Effect:
    """`parts`: those that do something, by their names in the spec; `vain`: one sentence for each that does not."""

    parts: tuple[str, ...]
    vain: tuple[str, ...]


def effect(spec: FlowPolicySpec, target: str, protocols: Collection[str], *, takes_back: bool) -> Effect:
    """What a policy comes to. `target` is its name, for people; `takes_back`: there can be a less specific policy."""
    judged = list(_judged(spec, target, protocols, takes_back=takes_back))
    if not judged:
        return Effect((), ("spec has no part but targetRefs",))
    return Effect(tuple(x for x, why in judged if not why), tuple(f"{x}: {why}" for x, why in judged if why))


def _judged(
    spec: FlowPolicySpec, target: str, protocols: Collection[str], *, takes_back: bool
) -> Iterator[tuple[str, str]]:
    """Part, and why it does nothing."""

    def of(protocol: str) -> str:
        return "" if protocol in protocols else f"{target} carries no {protocol}"

    def unless_taken_back(why: str) -> str:
        return "" if takes_back else f"{why}, and no policy is less specific"

    if (sources := spec.sources) is not None:
        yield "sources", "" if sources.allow or sources.deny else unless_taken_back("names no network")
    if (idle := spec.idle) is not None:
        said = [(f"idle.{x.lower()}", of(x)) for x, text in (("TCP", idle.tcp), ("UDP", idle.udp)) if text]
        yield from said or [("idle", unless_taken_back("has neither tcp nor udp"))]
    if (affinity := spec.affinity) is not None:
        yield "affinity", "" if affinity.type != "None" else unless_taken_back("is None")
    if (connections := spec.connections) is not None:
        says = connections.per_listener or connections.per_source
        yield "connections", of("TCP") or ("" if says else unless_taken_back("has neither perListener nor perSource"))
