"""Any state of the cluster, and what the kernel holds after any, for hypothesis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from hypothesis import settings
from hypothesis import strategies as st

from agent.compile import Held, MapImage, compile
from agent.compile.image import BACKEND_FIRST
from routes.plan import Endpoint, EndpointState, Listener, Plan, PoolRef, Protocol, WeightedRef

Endpoints = Mapping[PoolRef, tuple[Endpoint, ...]]

CASES = settings(max_examples=100, deadline=None)
POOLS = [PoolRef("default", f"s{i}", 80, Protocol.TCP) for i in range(4)]
ADDRESSES = [ip_address(x) for x in ("10.0.0.1", "10.0.0.2", "fd00::1")]
FAR = [ip_address(x) for x in ("10.1.0.1", "10.1.0.2", "10.1.0.3", "fd00:1::1", "fd00:1::2")]

endpoint = st.builds(
    Endpoint,
    address=st.sampled_from(FAR),
    port=st.just(8080),
    state=st.sampled_from(EndpointState),
    target=st.sampled_from(["", "pod-a", "pod-b"]),
)
members = st.lists(endpoint, max_size=4, unique_by=lambda x: x.address).map(tuple)
all_endpoints = st.fixed_dictionaries(dict.fromkeys(POOLS, members))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    places = draw(
        st.lists(st.tuples(st.sampled_from(ADDRESSES), st.sampled_from([80, 81])), min_size=1, max_size=4, unique=True)
    )
    grouped: dict[tuple[int, int], list[tuple[int, object]]] = {}
    for address, port in places:
        grouped.setdefault((port, draw(st.integers(0, 1))), []).append((address.version, address))
    listeners = []
    for (port, half), found in grouped.items():
        refs = draw(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([*POOLS, None])), max_size=3))
        backends = tuple(
            WeightedRef(i, weight, pool, str(pool or "bad"), "" if pool else "bad")
            for i, (weight, pool) in enumerate(refs)
        )
        addresses = tuple(a for _, a in sorted(found, key=lambda x: (x[0], str(x[1]))))
        listeners.append(
            Listener("default/gw", f"p{port}-{half}", addresses, port, Protocol.TCP, "default/r", "TCPRoute", backends)  # type: ignore[arg-type]
        )
    listeners.sort(key=lambda x: x.name)
    known = sorted({a for x in listeners for a in x.addresses}, key=lambda x: (x.version, int(x)))
    return Plan(tuple(listeners), tuple(known))


def held_after(image: MapImage) -> Held:
    """What the kernel holds once an image was applied."""
    return Held(image.listeners, image.backends, names=image.names)


@st.composite
def histories(draw: st.DrawFn) -> Held:
    """What the kernel holds after some states."""
    held = Held()
    for _ in range(draw(st.integers(0, 3))):
        ids = st.frozensets(st.integers(BACKEND_FIRST, BACKEND_FIRST + 9), max_size=3)
        image = compile(draw(plans()), draw(all_endpoints), replace(held, expired=draw(ids), unused=draw(ids)))
        held = held_after(image)
    return held
