"""What a change of endpoints gives equals what resolving everything gives."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pipeline import wanted, wanted_after
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
