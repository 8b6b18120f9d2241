"""What holds for any objects, in any order."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from routes.objects.base import Metadata, Object
from routes.objects.core import Service, ServicePort, ServiceSpec
from routes.objects.gateway import Gateway, GatewayAddress, GatewayClass, GatewayClassSpec, GatewaySpec, Listener
from routes.objects.route import BackendReference, L4RouteSpec, L4Rule, ParentReference, TCPRoute, UDPRoute
from routes.resolved import resolved

PENSTOCK = GatewayClass(metadata=Metadata(name="penstock"), spec=GatewayClassSpec("penstock.dev/gateway"))
SERVICE = Service(
    metadata=Metadata(name="web", namespace="default"),
    spec=ServiceSpec(ports=(ServicePort(80, "t"), ServicePort(80, "u", "UDP"))),
)
ages = st.sampled_from([None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)])
ports = st.sampled_from([53, 80])
parents = st.builds(
    ParentReference,
    name=st.sampled_from(["gw0", "gw1", "gw2", "missing"]),
    section_name=st.sampled_from(["", "l0", "l1"]),
    port=st.none() | ports,
)
backends = st.builds(
    BackendReference, name=st.sampled_from(["web", "missing"]), port=st.just(80), weight=st.integers(0, 5)
)


@st.composite
def worlds(draw: st.DrawFn) -> list[Object]:
    objects: list[Object] = [PENSTOCK, SERVICE]
    for i in range(draw(st.integers(0, 3))):
        places = draw(st.lists(st.tuples(st.sampled_from(["TCP", "UDP", "HTTP"]), ports), min_size=1, unique=True))
        addresses = draw(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]), unique=True))
        spec = GatewaySpec(
            gateway_class_name="penstock",
            listeners=tuple(Listener(name=f"l{n}", protocol=x, port=port) for n, (x, port) in enumerate(places)),
            addresses=tuple(GatewayAddress(x) for x in addresses),
        )
        objects.append(Gateway(metadata=_metadata(draw, f"gw{i}"), spec=spec))
    for i in range(draw(st.integers(0, 5))):
        rule = L4Rule(backend_refs=tuple(draw(st.lists(backends, min_size=1, max_size=3))))
        refs = draw(st.lists(parents, max_size=3, unique_by=lambda x: (x.name, x.section_name)))
        kind = draw(st.sampled_from([TCPRoute, UDPRoute]))
        objects.append(kind(metadata=_metadata(draw, f"r{i}"), spec=L4RouteSpec((rule,), tuple(refs))))
    return objects


def _metadata(draw: st.DrawFn, name: str) -> Metadata:
    return Metadata(name=name, namespace="default", generation=1, creation_timestamp=draw(ages))


@settings(max_examples=150, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_order_plays_no_part(objects: list[Object], random: object) -> None:
    shuffled = list(objects)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert resolved(shuffled).plan == resolved(objects).plan
    assert resolved(shuffled).statuses == resolved(objects).statuses


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_no_two_listeners_share_a_place(objects: list[Object]) -> None:
    plan = resolved(objects).plan
    places = Counter((a, x.port, x.protocol) for x in plan.listeners for a in x.addresses)
    assert max(places.values(), default=1) == 1
    assert set(plan.gateway_addresses) == {a for a, _, _ in places}


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_a_listener_is_planned_exactly_when_its_status_waits_for_the_kernel(objects: list[Object]) -> None:
    found = resolved(objects)
    plan, statuses = found.plan, found.statuses
    waiting = {
        (str(gateway.key), listener.name)
        for gateway in statuses.gateways
        for listener in gateway.listeners
        if any((x.type, x.status) == ("Programmed", "Unknown") for x in listener.conditions)
    }
    assert waiting == {(x.gateway, x.name) for x in plan.listeners}


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_a_listener_serves_a_route_of_its_protocol_exactly_when_some_are_attached(objects: list[Object]) -> None:
    found = resolved(objects)
    plan, statuses = found.plan, found.statuses
    routes = {f"{x.KIND} {x.key}": x for x in objects if isinstance(x, TCPRoute | UDPRoute)}
    attached = {
        (str(gateway.key), listener.name): listener.attached_routes
        for gateway in statuses.gateways
        for listener in gateway.listeners
    }
    for listener in plan.listeners:
        assert (listener.route is None) == (attached[listener.gateway, listener.name] == 0)
        if listener.route is not None:
            serving = routes[f"{listener.route_kind} {listener.route}"]
            assert len(listener.backends) == len(serving.spec.rules[0].backend_refs)
            assert f"{listener.protocol.name}Route" == serving.KIND


def test_no_objects_no_plan() -> None:
    found = resolved([])
    plan, statuses = found.plan, found.statuses
    assert (plan.listeners, plan.gateway_addresses) == ((), ())
    assert (statuses.classes, statuses.gateways, statuses.routes) == ((), (), ())


def test_addresses_are_sorted_by_family_then_number() -> None:
    spec = GatewaySpec(
        gateway_class_name="penstock",
        listeners=(Listener(name="a", protocol="TCP", port=80),),
        addresses=tuple(GatewayAddress(x) for x in ("fd00::1", "10.0.0.10", "10.0.0.9")),
    )
    plan = resolved([PENSTOCK, Gateway(metadata=Metadata(name="gw", namespace="default"), spec=spec)]).plan
    assert plan.gateway_addresses == tuple(map(ip_address, ("10.0.0.9", "10.0.0.10", "fd00::1")))
