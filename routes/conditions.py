"""Findings become conditions.

Decides types, reasons and messages of every condition, by the table in the Gateway API's godoc (gateway_types.go,
shared_types.go v1.7.0). Rules: Programmed is Unknown/Pending where nothing but the kernel is waited for
(`status.programmed` turns it True), False where it cannot come true. Must never judge: the Problems come from
elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from routes.attach import Attachment
from routes.conflicts import OwnListener
from routes.effect import Effect
from routes.gateways import OwnGateway
from routes.problem import Problem
from routes.status import Condition


def gateway_class(generation: int, problem: Problem | None) -> tuple[Condition, ...]:
    return (_condition("Accepted", generation, problem),)


def gateway(owner: OwnGateway, listeners: Sequence[OwnListener]) -> tuple[Condition, ...]:
    """`listeners` are those of this Gateway."""
    generation = owner.gateway.metadata.generation
    good = [x for x in listeners if x.rejected is None]
    bad = ", ".join(x.listener.name for x in listeners if x.rejected is not None)
    unresolved = ", ".join(x.listener.name for x in listeners if x.kinds_problem is not None)
    rejected = owner.rejected
    if rejected is None and not good:
        rejected = Problem("ListenersNotValid", f"no listener is accepted: {bad}")
    if rejected is None and bad:
        accepted = Condition("Accepted", "True", "ListenersNotValid", f"listeners not accepted: {bad}", generation)
    else:
        accepted = _condition("Accepted", generation, rejected)
    not_resolved = Problem("ListenersNotResolved", f"listeners not resolved: {unresolved}") if unresolved else None
    unprogrammed = Problem("Invalid", "the Gateway is not accepted") if rejected is not None else owner.unassigned
    return (
        accepted,
        _programmed(generation, unprogrammed),
        _condition("ResolvedRefs", generation, not_resolved),
    )


def listener(own: OwnListener) -> tuple[Condition, ...]:
    generation = own.owner.gateway.metadata.generation
    unprogrammed: Problem | None = None
    if own.rejected is not None:
        unprogrammed = Problem("Invalid", own.rejected.message)
    elif own.owner.rejected is not None:
        unprogrammed = Problem("Invalid", "the Gateway is not accepted")
    elif own.owner.unassigned is not None:
        unprogrammed = Problem("Pending", "the Gateway has no usable address")
    return _together(
        _condition("Accepted", generation, own.rejected),
        _programmed(generation, unprogrammed),
        _condition("ResolvedRefs", generation, own.kinds_problem),
        _conflicted(generation, own.conflicted),
    )


def policy_target(generation: int, problem: Problem | None, effect: Effect) -> tuple[Condition, ...]:
    """Effective is said of a target that is accepted only: elsewhere nothing is in effect."""
    accepted = _condition("Accepted", generation, problem)
    return (accepted,) if problem is not None else (accepted, _effective(generation, effect))


def route_parent(attachment: Attachment, refs_problem: Problem | None, superseded: str) -> tuple[Condition, ...]:
    """`superseded` tells which routes serve in this one's place, or why nothing does; "" if it is this one."""
    generation = attachment.route.metadata.generation
    if attachment.problem is None and superseded:
        accepted = Condition("Accepted", "True", "Accepted", superseded, generation)
    else:
        accepted = _condition("Accepted", generation, attachment.problem)
    return _together(accepted, _condition("ResolvedRefs", generation, refs_problem))


def _effective(generation: int, effect: Effect) -> Condition:
    parts = ", ".join(effect.parts)
    if not effect.vain:
        return Condition("Effective", "True", "Effective", parts, generation)
    vain = f"without effect: {'; '.join(effect.vain)}"
    if not parts:
        return Condition("Effective", "False", "NotEffective", vain, generation)
    return Condition("Effective", "False", "PartlyEffective", f"in effect: {parts}; {vain}", generation)


_GOOD = {"Accepted": "accepted", "ResolvedRefs": "all references resolved"}


@lru_cache(maxsize=1024)  # ten thousand listeners say mostly the same
def _condition(type_: str, generation: int, problem: Problem | None) -> Condition:
    """A condition whose reason for True is its own name."""
    if problem is None:
        return Condition(type_, "True", type_, _GOOD[type_], generation)
    return Condition(type_, "False", problem.reason, problem.message, generation)


@lru_cache(maxsize=1024)  # ten thousand listeners say mostly the same
def _programmed(generation: int, problem: Problem | None) -> Condition:
    if problem is None:
        return Condition("Programmed", "Unknown", "Pending", "not yet read back from the kernel", generation)
    return Condition("Programmed", "False", problem.reason, problem.message, generation)


@lru_cache(maxsize=1024)  # ten thousand listeners say mostly the same
def _conflicted(generation: int, problem: Problem | None) -> Condition:
    if problem is None:
        return Condition("Conflicted", "False", "NoConflicts", "no conflict", generation)
    return Condition("Conflicted", "True", problem.reason, problem.message, generation)


@lru_cache(maxsize=1024)  # ten thousand listeners say mostly the same
def _together(*conditions: Condition) -> tuple[Condition, ...]:
    return conditions
