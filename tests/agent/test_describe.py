"""Objects in; the listeners that a report names out, by the real compiler."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent import describe
from agent.compile import compile as compile_image
from agent.compile import recompile
from agent.compile.image import Held
from agent.pipeline import wanted, wanted_after
from agent.report import ListenerReport
from tests.agent.objects import GATEWAY, decoded, endpoint_slice, route, service


def described(*manifests: str, before: tuple[str, ...] = ()) -> tuple[ListenerReport, ...]:
    """The report's listeners for manifests, after the kernel held those of `before`."""
    held = Held()
    if before:
        first = wanted(decoded(*before), ())
        image = compile_image(first.plan, first.endpoints, held)
        held = Held(listeners=image.listeners, backends=image.backends, names=image.names)
    now = wanted(decoded(*manifests), ())
    return describe.listeners(now, compile_image(now.plan, now.endpoints, held))


@pytest.mark.parametrize(
    "later",
    [
        (route(a=3, b=1), endpoint_slice("a", "10.0.0.1", "10.0.0.3"), endpoint_slice("b", "10.0.0.2")),
        (route(a=3, b=1), endpoint_slice("b", "10.0.0.2")),
        (route(b=2), endpoint_slice("a", "10.0.0.1"), endpoint_slice("b", "10.0.0.2")),
    ],
)
def test_what_a_change_touched_is_all_that_is_different(later: tuple[str, ...]) -> None:
    base = (GATEWAY, service("a"), service("b"))
    slices = (endpoint_slice("a", "10.0.0.1"), endpoint_slice("b", "10.0.0.2"))
    old, new = decoded(*base, route(a=3, b=1), *slices), decoded(*base, *later)
    first = wanted(old, ())
    image = compile_image(first.plan, first.endpoints, Held())
    before = describe.listeners(first, image)
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    then = wanted_after(first, old, new, changed, ())
    held = Held(listeners=image.listeners, backends=image.backends, names=image.names)
    again = recompile(image, then.plan, then.endpoints, held, then.changed or ())
    assert again.touched is not None
    assert describe.listeners_after(before, then, again) == describe.listeners(then, again) != before


BOTH = (endpoint_slice("a", "10.0.0.1"), endpoint_slice("a", "fd00::1"))


def test_a_listener_with_its_backends() -> None:
    (listener,) = described(
        GATEWAY, route(a=3, b=1), service("a"), service("b"), *BOTH, endpoint_slice("b", "10.0.0.2")
    )
    assert (listener.gateway, listener.name, listener.port, listener.protocol) == ("default/edge", "web", 80, "TCP")
    assert (listener.addresses, listener.route) == (("192.0.2.1", "2001:db8::1"), "default/web")
    assert [(x.name, x.weight, x.share) for x in listener.backends] == [
        ("default/a:80", 3, 0.75),
        ("default/b:80", 1, 0.25),
    ]
    assert [[(x.place, x.state) for x in y.endpoints] for y in listener.backends] == [
        [("10.0.0.1:8080", "active"), ("[fd00::1]:8080", "active")],
        [("10.0.0.2:8080", "active")],
    ]
    assert listener.leftover == ()
    ids = [x.id for y in listener.backends for x in y.endpoints]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("weights", "slices", "why"),
    [
        ({"a": 1}, BOTH, ""),
        ({"a": 1}, (), "no ready endpoint"),
        ({"a": 1}, BOTH[:1], "no ready IPv6 endpoint"),
        ({"a": 1}, BOTH[1:], "no ready IPv4 endpoint"),
        ({"a": 0}, (), ""),  # nobody asked for it
        ({"nowhere": 1}, (), "there is no such Service"),
    ],
)
def test_why_a_backend_gets_nothing(weights: dict[str, int], slices: tuple[str, ...], why: str) -> None:
    (listener,) = described(GATEWAY, route(**weights), service("a"), *slices)
    assert listener.backends[0].why == why


def test_a_listener_without_a_route() -> None:
    (listener,) = described(GATEWAY)
    assert (listener.route, listener.backends) == (None, ())


def test_endpoints_of_a_backend_that_is_gone_are_left_over() -> None:
    before = (GATEWAY, route(a=1), service("a"), *BOTH)
    (listener,) = described(GATEWAY, route(b=1), service("a"), service("b"), *BOTH, before=before)
    assert [(x.place, x.state) for x in listener.leftover] == [
        ("10.0.0.1:8080", "draining"),
        ("[fd00::1]:8080", "draining"),
    ]
    assert [x.endpoints for x in listener.backends] == [()]


def test_a_listener_that_the_kernel_does_not_hold_is_not_described() -> None:
    now = wanted(decoded(GATEWAY, route(a=1), service("a")), ())
    image = compile_image(now.plan, now.endpoints, Held())
    assert describe.listeners(now, replace(image, listeners={})) == ()
