"""A pool's endpoints follow from its Service and its slices alone, in any order. Cases: goldens/endpoints-*."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from routes.endpoints import endpoints
from routes.objects.base import Metadata
from routes.objects.core import (
    EndpointConditions,
    EndpointSlice,
    Service,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SliceMetadata,
    SlicePort,
)
from routes.objects.fields import SERVICE_NAME_LABEL

SERVICES = tuple(
    Service(metadata=Metadata(name=name, namespace="default"), spec=ServiceSpec(ports=(ServicePort(80, "http"),)))
    for name in ("a", "b")
)
maybe = st.sampled_from([None, True, False])
conditions = st.builds(EndpointConditions, ready=maybe, serving=maybe, terminating=maybe)


@st.composite
def slices(draw: st.DrawFn) -> list[EndpointSlice]:
    found = []
    for i in range(draw(st.integers(0, 5))):
        v4 = draw(st.booleans())
        prefix = "10.1.0." if v4 else "fd00:1::"
        members = draw(st.lists(st.tuples(st.integers(1, 5), conditions), max_size=4))
        found.append(
            EndpointSlice(
                metadata=SliceMetadata(
                    name=f"s{i}",
                    namespace="default",
                    labels={SERVICE_NAME_LABEL: draw(st.sampled_from(["a", "b", "other"]))},
                ),
                address_type="IPv4" if v4 else "IPv6",
                endpoints=tuple(SliceEndpoint((f"{prefix}{n}",), state) for n, state in members),
                ports=(SlicePort("http", draw(st.sampled_from([8080, 8081]))),),
            )
        )
    return found


@settings(max_examples=150, deadline=None)
@given(slices(), st.randoms(use_true_random=False))
def test_order_plays_no_part(known: list[EndpointSlice], random: object) -> None:
    shuffled = list(known)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert endpoints(shuffled, SERVICES[::-1]) == endpoints(known, SERVICES)


@settings(max_examples=150, deadline=None)
@given(slices())
def test_one_service_alone_is_its_part_of_all(known: list[EndpointSlice]) -> None:
    whole = endpoints(known, SERVICES)
    for service in SERVICES:
        own = [x for x in known if x.service == service.metadata.name]
        alone = endpoints(own, [service])
        assert alone == {pool: whole[pool] for pool in alone}
        assert {pool.service for pool in alone} == {service.metadata.name}


@settings(max_examples=150, deadline=None)
@given(slices())
def test_endpoints_are_sorted_and_come_once(known: list[EndpointSlice]) -> None:
    for found in endpoints(known, SERVICES).values():
        places = [(x.address.version, int(x.address), x.port) for x in found]
        assert places == sorted(set(places))
