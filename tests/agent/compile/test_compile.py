"""What holds for any sequence of states: order plays no part, ids stay, and little by little equals from scratch."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from agent.compile import BackendState, Held, ListenerKey, MapImage, compile, recompile
from agent.compile.image import BACKEND_FIRST, BACKEND_REJECT, LISTENER_FIRST, POOL_FIRST, POOL_SLOTS
from routes.plan import Endpoint, EndpointState, Listener, Plan, PoolRef, Protocol, WeightedRef

from .states import ADDRESSES, CASES, FAR, POOLS, Endpoints, all_endpoints, held_after, histories, members, plans

K = TypeVar("K")
V = TypeVar("V")


def shuffled(random: Random, mapping: Mapping[K, V]) -> dict[K, V]:
    items = list(mapping.items())
    random.shuffle(items)
    return dict(items)


@CASES
@given(plans(), all_endpoints, histories(), st.randoms(use_true_random=False))
def test_order_plays_no_part(plan: Plan, endpoints: Endpoints, held: Held, random: Random) -> None:
    mixed = {pool: tuple(random.sample(found, len(found))) for pool, found in shuffled(random, endpoints).items()}
    mixed_held = replace(held, listeners=shuffled(random, held.listeners), backends=shuffled(random, held.backends))
    assert compile(plan, mixed, mixed_held) == compile(plan, endpoints, held)


@CASES
@given(plans(), all_endpoints, histories())
def test_compiling_again_changes_nothing(plan: Plan, endpoints: Endpoints, held: Held) -> None:
    image = compile(plan, endpoints, held)
    assert not image.left_out
    assert compile(plan, endpoints, held_after(image)) == image
    assert compile(plan, endpoints, held_after(image), previous=image) == image


@CASES
@given(plans(), all_endpoints, histories(), st.lists(st.tuples(st.sampled_from(POOLS), members), max_size=3))
def test_little_by_little_equals_from_scratch(
    plan: Plan, endpoints: Endpoints, held: Held, changes: list[tuple[PoolRef, tuple[Endpoint, ...]]]
) -> None:
    image = compile(plan, endpoints, held)
    for pool, found in changes:
        endpoints = {**endpoints, pool: found}
        held = held_after(image)
        scratch = compile(plan, endpoints, held)
        image = recompile(image, plan, endpoints, held, {pool})
        assert image == scratch


@CASES
@given(plans(), all_endpoints, histories(), st.data())
def test_that_holds_for_backend_refs_and_for_what_nobody_wants_any_more(
    plan: Plan, endpoints: Endpoints, held: Held, data: st.DataObject
) -> None:
    image = compile(plan, endpoints, held)
    for _ in range(data.draw(st.integers(1, 4))):
        pool, found = data.draw(st.tuples(st.sampled_from(POOLS), members))
        endpoints = {**endpoints, pool: found}
        again = data.draw(plans())
        listeners = list(plan.listeners)
        place = data.draw(st.integers(0, len(listeners) - 1))
        listeners[place] = replace(listeners[place], route="default/other", backends=again.listeners[0].backends)
        plan = data.draw(st.sampled_from([plan, replace(plan, listeners=tuple(listeners)), again]))
        ids = st.frozensets(st.integers(BACKEND_FIRST, BACKEND_FIRST + 9), max_size=5)
        held = replace(held_after(image), expired=data.draw(ids), unused=data.draw(ids))
        scratch = compile(plan, endpoints, held)
        image = recompile(image, plan, endpoints, held, {pool})
        assert image == scratch
        if image.touched is not None:
            before = held.backends
            assert {x for x, entry in image.backends.items() if before.get(x) != entry} == image.touched.backends


@CASES
@given(plans(), all_endpoints, histories())
def test_every_slot_leads_to_an_active_backend_of_its_listener_and_family(
    plan: Plan, endpoints: Endpoints, held: Held
) -> None:
    image = compile(plan, endpoints, held)
    used: set[int] = set()
    for key, entry in image.listeners.items():
        slots = Counter(array("I", image.pools[entry.pool_id]))
        assert sum(slots.values()) == POOL_SLOTS
        assert image.rejected[entry.pool_id] == slots.pop(BACKEND_REJECT, 0)
        for id_ in slots:
            backend = image.backends[id_]
            assert backend.state is BackendState.ACTIVE
            assert backend.listener_id == entry.listener_id
            assert backend.address.version == key.address.version
        used |= slots.keys()
    assert used == {id_ for id_, x in image.backends.items() if x.state is BackendState.ACTIVE}


@CASES
@given(plans(), all_endpoints, histories())
def test_ids_are_one_per_listener_and_one_per_pool(plan: Plan, endpoints: Endpoints, held: Held) -> None:
    image = compile(plan, endpoints, held)
    wanted = {ListenerKey(a, x.port, x.protocol): (x.name, a.version) for x in plan.listeners for a in x.addresses}
    assert image.listeners.keys() == wanted.keys()
    by_listener = {entry.listener_id: wanted[key][0] for key, entry in image.listeners.items()}
    assert len(by_listener) == len(plan.listeners)
    by_pool = {entry.pool_id: wanted[key] for key, entry in image.listeners.items()}
    assert len(by_pool) == len(set(wanted.values()))
    assert min(by_listener, default=LISTENER_FIRST) >= LISTENER_FIRST
    assert min(by_pool, default=POOL_FIRST) >= POOL_FIRST
    assert min(image.backends, default=BACKEND_FIRST) >= BACKEND_FIRST


@CASES
@given(plans(), all_endpoints, histories())
def test_an_id_passes_on_only_with_a_greater_generation(plan: Plan, endpoints: Endpoints, held: Held) -> None:
    image = compile(plan, endpoints, held)
    assert image.backends.keys() >= held.backends.keys()
    for id_, before in held.backends.items():
        after = image.backends[id_]
        same = (before.listener_id, before.address, before.port, before.ref) == (
            after.listener_id,
            after.address,
            after.port,
            after.ref,
        )
        if same and before.state not in (BackendState.FREE, BackendState.GONE):
            assert after.generation in (before.generation, before.generation + 1)
        elif after.state is BackendState.ACTIVE:
            assert before.state is not BackendState.ACTIVE  # it would still be in slots
            assert after.generation == before.generation + 1
        else:
            assert (after.generation, after.state) == (before.generation, before.state)


@CASES
@given(plans(), plans(), all_endpoints)
def test_listeners_that_stay_keep_their_ids(before: Plan, after: Plan, endpoints: Endpoints) -> None:
    first = compile(before, endpoints, Held())
    second = compile(after, endpoints, held_after(first))
    keys = {x.addresses: x for x in before.listeners}
    for listener in after.listeners:
        same = keys.get(listener.addresses)
        if same is not None and same.port == listener.port:
            for address in listener.addresses:
                key = ListenerKey(address, listener.port, listener.protocol)
                assert second.listeners[key] == first.listeners[key]


@CASES
@given(plans(), all_endpoints)
def test_hashing_is_over_addresses_never_ids(plan: Plan, endpoints: Endpoints) -> None:
    """Two nodes with different histories send a client to the same endpoint."""
    taken = {
        id_: replace(entry, listener_id=99, state=BackendState.ABSENT)
        for id_, entry in compile(plan, endpoints, Held()).backends.items()
    }
    assert _destinations(compile(plan, endpoints, Held())) == _destinations(
        compile(plan, endpoints, Held(backends=taken))
    )


def test_generations_count_from_one_and_wrap_past_zero() -> None:
    pool = POOLS[0]
    ref = WeightedRef(0, 1, pool, "default/s0:80")
    listener = Listener("default/gw", "a", (ADDRESSES[0],), 80, Protocol.TCP, "default/r", "TCPRoute", (ref,))
    plan = Plan((listener,), (ADDRESSES[0],))
    endpoints = {pool: (Endpoint(FAR[0], 8080, EndpointState.READY),)}
    first = compile(plan, endpoints, Held())
    assert first.backends[BACKEND_FIRST].generation == 1
    last = replace(first.backends[BACKEND_FIRST], generation=65535, state=BackendState.GONE)
    again = compile(plan, endpoints, Held(first.listeners, {BACKEND_FIRST: last}))
    assert again.backends[BACKEND_FIRST].generation == 1


def _destinations(image: MapImage) -> dict[ListenerKey, list[object]]:
    def destination(id_: int) -> object:
        return image.backends[id_].address if id_ != BACKEND_REJECT else None

    return {key: list(map(destination, array("I", image.pools[x.pool_id]))) for key, x in image.listeners.items()}
