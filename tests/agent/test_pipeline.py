"""What a change of endpoints gives equals what resolving everything gives."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pipeline import wanted, wanted_after
from routes.objects.base import Object, ObjectKey
from routes.plan import PoolRef, Protocol
from tests.agent.objects import GATEWAY, decoded, endpoint_slice, route, service

BASE = (GATEWAY, service("a"), service("b"))
ROUTE = route(a=1, b=2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (endpoint_slice("a", "10.0.0.1"),)),
        ((endpoint_slice("a", "10.0.0.1"),), ()),
        ((endpoint_slice("a", "10.0.0.1"),), (endpoint_slice("a", "10.0.0.1", "10.0.0.2"),)),
        ((endpoint_slice("a", "10.0.0.1"),), (endpoint_slice("b", "10.0.0.1"),)),
        # a slice that is given to another Service, by its label alone
        ((endpoint_slice("a", "10.0.0.1"),), (endpoint_slice("b", "10.0.0.1").replace("b-ipv4", "a-ipv4"),)),
        ((endpoint_slice("a", "10.0.0.1"),), (endpoint_slice("a", "192.0.2.1"),)),  # refused: the gateway's address
        ((endpoint_slice("a", "127.0.0.1"), endpoint_slice("b", "127.0.0.1")), (endpoint_slice("b", "127.0.0.1"),)),
        ((endpoint_slice("a", "10.0.0.1"),), (endpoint_slice("a", "10.0.0.9"),)),  # refused: the node's
        ((endpoint_slice("c", "10.0.0.1"),), ()),  # of no Service
        ((), (service("c"), endpoint_slice("c", "10.0.0.1"))),
    ],
)
def test_a_change_gives_what_everything_gives(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    node = (ip_address("10.0.0.9"),)
    old, new = (
        decoded(*BASE, *before),
        decoded(*[x for x in BASE if route(a=5) not in after or "TCPRoute" not in x], *after),
    )
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    assert wanted_after(wanted(old, node), old, new, changed, node) == wanted(new, node)


slices = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from(("-1", "-2"))),
    st.lists(st.sampled_from([f"10.0.0.{i}" for i in range(1, 6)]), min_size=1, max_size=3, unique=True),
)


@settings(max_examples=50, deadline=None)
@given(slices, slices)
def test_any_change_of_slices_gives_what_everything_gives(
    before: dict[tuple[str, str], list[str]], after: dict[tuple[str, str], list[str]]
) -> None:
    old, new = (
        decoded(*BASE, ROUTE, *(endpoint_slice(name, *found, suffix=suffix) for (name, suffix), found in x.items()))
        for x in (before, after)
    )
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    assert wanted_after(wanted(old, ()), old, new, changed, ()) == wanted(new, ())


TWO_GATEWAYS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: other}
spec:
  gatewayClassName: penstock
  addresses: [{value: 192.0.2.2}]
  listeners:
    - {name: web, port: 80, protocol: TCP, allowedRoutes: {namespaces: {from: All}}}
    - {name: dns, port: 53, protocol: UDP}
"""


POLICIES = tuple(
    f"""
apiVersion: penstock.dev/v1alpha1
kind: FlowPolicy
metadata: {{name: {name}, namespace: default}}
spec:
  targetRefs: [{", ".join(f"{{group: gateway.networking.k8s.io, {x}}}" for x in targets)}]
  sources: {{deny: [{network}]}}
"""
    for name, network, *targets in (
        ("routes", "10.1.0.0/16", "kind: TCPRoute, name: a", "kind: UDPRoute, name: b", "kind: TCPRoute, name: b"),
        ("listener", "10.2.0.0/16", "kind: Gateway, name: other, sectionName: web", "kind: UDPRoute, name: b"),
    )
)


@st.composite
def some_routes(draw: st.DrawFn) -> tuple[str, ...]:
    """Routes of two kinds, ages and namespaces, on listeners that they share."""
    found = []
    for name in draw(st.sets(st.sampled_from("abcd"), max_size=4)):
        kind = draw(st.sampled_from(["TCPRoute", "UDPRoute"]))
        parents = draw(st.lists(st.sampled_from(["edge", "other", "nowhere"]), max_size=2, unique=True))
        section = draw(st.sampled_from(["", ", sectionName: web", ", port: 53"]))
        refs = draw(st.lists(st.tuples(st.sampled_from("abz"), st.integers(0, 2)), min_size=1, max_size=2))
        year, namespace = draw(st.integers(2020, 2022)), draw(st.sampled_from(["default", "elsewhere"]))
        found.append(f"""
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{year}-01-01T00:00:00Z"}}
spec:
  parentRefs: [{", ".join(f"{{name: {x}, namespace: default{section}}}" for x in parents)}]
  rules: [{{backendRefs: [{", ".join(f"{{name: {x}, port: 80, weight: {weight}}}" for x, weight in refs)}]}}]
""")
    return tuple(found)


some_services = st.sets(st.sampled_from("ab")).map(lambda x: tuple(map(service, sorted(x))))
states = st.lists(st.tuples(some_routes(), some_services, slices), min_size=2, max_size=4)


@settings(max_examples=150, deadline=None)
@given(states)
def test_any_change_gives_what_everything_gives(
    found: list[tuple[tuple[str, ...], tuple[str, ...], dict[tuple[str, str], list[str]]]],
) -> None:
    old: Mapping[ObjectKey, Object] | None = None
    for routes, services, known in found:
        endpoints = (endpoint_slice(name, *x, suffix=suffix) for (name, suffix), x in known.items())
        new = decoded(GATEWAY, TWO_GATEWAYS, *POLICIES, *routes, *services, *endpoints)
        scratch = wanted(new, ())
        if old is None:
            before = scratch
        else:
            changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
            after = wanted_after(before, old, new, changed, ())
            assert after == scratch
            assert after.changed is not None
            for pool in before.endpoints.keys() | after.endpoints.keys():
                assert (before.endpoints.get(pool) != after.endpoints.get(pool)) == (pool in after.changed)
            before = after
        old = new


def test_a_change_of_a_route_changes_the_plan() -> None:
    old, new = decoded(*BASE, ROUTE), decoded(*BASE, route(a=5))
    changed = {key for key in new if old[key] != new[key]}
    assert wanted_after(wanted(old, ()), old, new, changed, ()) == wanted(new, ()) != wanted(old, ())


def test_the_plan_stays_the_same_object_when_only_slices_changed() -> None:
    old, new = decoded(*BASE, ROUTE), decoded(*BASE, ROUTE, endpoint_slice("a", "10.0.0.1"))
    first = wanted(old, ())
    second = wanted_after(first, old, new, new.keys() - old.keys(), ())
    assert second.plan is first.plan
    assert [str(x.address) for x in second.endpoints[PoolRef("default", "a", 80, Protocol.TCP)]] == ["10.0.0.1"]


def test_an_endpoint_at_the_nodes_own_address_is_refused_by_name() -> None:
    found = wanted(decoded(*BASE, ROUTE, endpoint_slice("a", "10.0.0.1", "10.0.0.9")), (ip_address("10.0.0.9"),))
    assert [str(x.address) for x in found.endpoints[PoolRef("default", "a", 80, Protocol.TCP)]] == ["10.0.0.1"]
    (refused,) = found.refused
    assert "default/a" in str(refused)
    assert "10.0.0.9" in str(refused)
    assert "it is an address of this node" in str(refused)
