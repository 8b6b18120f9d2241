"""Statuses and what was published before in, times out."""

from __future__ import annotations

from dataclasses import replace

from agent.pipeline import wanted, wanted_after
from agent.report import ObjectStatus
from agent.status import Told, with_times
from routes.objects.base import ObjectKey
from routes.status import Condition, GatewayClassStatus, Statuses, programmed
from tests.agent.objects import GATEWAY, decoded, endpoint_slice, route, service

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def times(statuses: tuple[ObjectStatus, ...]) -> dict[str, str]:
    return {
        f"{status} {place.place} {x.type}": x.last_transition_time
        for status in statuses
        for place in status.places
        for x in place.conditions
    }


def test_what_nobody_published_before_is_so_since_now() -> None:
    statuses = wanted(decoded(GATEWAY, route(a=1), service("a")), ()).statuses
    told = with_times(statuses, (), NOW)
    assert [str(x) for x in told] == ["GatewayClass penstock", "Gateway default/edge", "TCPRoute default/web"]
    assert set(times(told).values()) == {NOW}
    gateway = told[1]
    assert gateway.addresses == ("192.0.2.1", "2001:db8::1")
    assert [(x.place, x.attached_routes) for x in gateway.places] == [("", None), ("listener web", 1)]


def test_only_a_condition_whose_status_changed_has_a_new_time() -> None:
    objects = decoded(GATEWAY, route(a=1), service("a"), endpoint_slice("a", "10.0.0.1"))
    statuses = wanted(objects, ()).statuses
    before = with_times(statuses, (), THEN)
    after = with_times(programmed(statuses, {("default/edge", "web")}), before, NOW)
    changed = {name for name, since in times(after).items() if since == NOW}
    assert changed == {"Gateway default/edge  Programmed", "Gateway default/edge listener web Programmed"}


def test_another_reason_or_message_changes_no_time() -> None:
    def one(reason: str) -> Statuses:
        key = ObjectKey("gateway.networking.k8s.io", "GatewayClass", "", "penstock")
        return Statuses(
            (GatewayClassStatus(key, (Condition("Accepted", "False", reason, f"it is {reason}", 1),)),), (), ()
        )

    after = with_times(one("Second"), with_times(one("First"), (), THEN), NOW)
    (condition,) = after[0].places[0].conditions
    assert (condition.reason, condition.message, condition.last_transition_time) == ("Second", "it is Second", THEN)


def test_what_is_told_little_by_little_is_what_is_told_at_once() -> None:
    base = (GATEWAY, service("a"), endpoint_slice("a", "10.0.0.1"))
    web: set[tuple[str, str]] = {("default/edge", "web")}
    steps = [
        (decoded(*base), set[tuple[str, str]](), {}),
        (decoded(*base, route(a=1)), set[tuple[str, str]](), {("default/edge", "web"): "no room"}),
        (decoded(*base, route(a=1)), web, {}),
        (decoded(*base, route(a=1, b=1)), web, {}),
        (decoded(*base), web, {}),
        (decoded(*base, route(a=1)), web, {}),
    ]
    told, before, last = Told(()), (), None
    for number, (objects, held, reasons) in enumerate(steps):
        now = f"2026-01-0{number + 1}T00:00:00Z"
        if last is None:
            found = wanted(objects, ())
        else:
            old, was = last
            changed = {key for key in old.keys() | objects.keys() if old.get(key) != objects.get(key)}
            found = wanted_after(was, old, objects, changed, ())
        before = with_times(programmed(found.statuses, held, reasons), before, now)
        assert told.now(found.statuses, held, reasons, now) == before
        last = (objects, found)


def test_an_object_that_came_back_starts_anew() -> None:
    statuses = wanted(decoded(GATEWAY, route(a=1), service("a")), ()).statuses
    before = with_times(replace(statuses, routes=()), (), THEN)
    after = with_times(statuses, before, NOW)
    assert {since for name, since in times(after).items() if "TCPRoute" in name} == {NOW}
