"""Tables that are too small: what has no room is left out by itself and named, and ids come back for those who wait."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compile import BackendState, Held, MapImage, Room, compile
from agent.compile.image import BACKEND_REJECT
from routes.plan import Plan

from .golden import plan_and_endpoints
from .states import CASES, Endpoints, all_endpoints, histories, plans

GATEWAYS = "10.0.0.1,fd00::1"
A, B, C = "10.1.0.1 8080", "10.1.0.2 8080", "10.1.0.3 8080"


def listeners(*ports: int, addresses: str = GATEWAYS) -> dict[str, list[str] | None]:
    """Listener `l<port>` of Gateway `default/gw` for each port, to Service default/a."""
    return {f"default/gw l{x} {addresses} {x}/TCP": ["default/a:80 weight 1"] for x in ports}


def step(
    held: Held, asked: Mapping[str, list[str] | None], *endpoints: str, room: Room, **known: frozenset[int]
) -> tuple[MapImage, Held]:
    """An image, and what the kernel holds once it was applied."""
    plan, pools = plan_and_endpoints(asked, {"default/a:80": list(endpoints)})
    image = compile(plan, pools, replace(held, room=room, **known))
    return image, Held(image.listeners, image.backends, names=image.names)


def left_out(image: MapImage) -> dict[str, str]:
    return {name: table for (_, name), table in image.left_out.items()}


def states(image: MapImage) -> dict[str, str]:
    return {f"{x.address} {x.port}": x.state.name for x in image.backends.values()}


@pytest.mark.parametrize(
    ("room", "table"),
    [
        (Room(listeners=4), "listeners"),  # two keys each
        (Room(listener_ids=3), "listeners"),
        (Room(pools=5), "pools"),
        (Room(backends=4), "backends"),
    ],
)
def test_a_listener_without_room_is_left_out_by_itself(room: Room, table: str) -> None:
    first, held = step(Held(), listeners(81, 82), A, room=room)
    assert not first.left_out
    more, _ = step(held, listeners(80, 81, 82), A, room=room)
    assert left_out(more) == {"l80": table}
    assert {key: x for key, x in more.listeners.items() if key.port != 80} == first.listeners
    served = {number: backend for number, backend in more.backends.items() if number in first.backends}
    assert served == first.backends


def test_a_gateway_address_without_room() -> None:
    image, held = step(Held(), listeners(80, addresses="10.0.0.2"), A, room=Room(gateways=1))
    assert not image.left_out
    asked = {**listeners(81, addresses="10.0.0.1"), **listeners(80, addresses="10.0.0.2")}
    image, _ = step(held, asked, A, room=Room(gateways=1))
    assert left_out(image) == {"l81": "gateways"}
    assert {str(x) for x in image.gateways} == {"10.0.0.2"}


def test_every_port_changes_at_once_and_old_ids_come_back_for_the_new() -> None:
    room = Room(pools=7, listener_ids=4)
    _, held = step(Held(), listeners(80, 81, 82), A, room=room)
    first, held = step(held, listeners(90, 91, 92), A, room=room)
    assert left_out(first) == {"l90": "listeners", "l91": "listeners", "l92": "listeners"}
    assert not first.listeners
    second, _ = step(held, listeners(90, 91, 92), A, room=room, unused=frozenset(first.backends))
    assert not second.left_out
    assert {x.port for x in second.listeners} == {90, 91, 92}


@pytest.mark.parametrize("known", ["unused", "expired"])
def test_every_endpoint_is_replaced_at_once(known: str) -> None:
    room, asked = Room(backends=4), listeners(80, addresses="10.0.0.1")
    _, held = step(Held(), asked, A, B, room=room)
    first, held = step(held, asked, C, room=room)
    assert left_out(first) == {"l80": "backends"}
    assert states(first) == {A: "ABSENT", B: "ABSENT"}
    assert set(array("I", first.pools[1])) == {BACKEND_REJECT}
    second, _ = step(held, asked, C, room=room, **{known: frozenset({2, 3})})
    assert not second.left_out
    assert states(second)[C] == "ACTIVE"


def test_a_backend_without_room_leaves_its_slots_to_the_others_of_its_service() -> None:
    image, held = step(Held(), listeners(80, addresses="10.0.0.1"), A, B, C, room=Room(backends=4))
    assert left_out(image) == {"l80": "backends"}
    assert set(array("I", image.pools[1])) == {2, 3}
    assert image.rejected == {1: 0}
    assert step(held, listeners(80, addresses="10.0.0.1"), A, B, C, room=Room(backends=4))[0] == image


rooms = st.builds(
    Room,
    gateways=st.integers(1, 4),
    listeners=st.integers(1, 6),
    listener_ids=st.integers(2, 6),
    pools=st.integers(2, 6),
    backends=st.integers(2, 8),
)


@CASES
@given(plans(), all_endpoints, histories(), rooms)
def test_no_table_ever_overflows_and_what_is_missing_is_named(
    plan: Plan, endpoints: Endpoints, held: Held, room: Room
) -> None:
    image = compile(plan, endpoints, replace(held, room=room))
    assert len(image.gateways) <= room.gateways
    assert len(image.listeners) <= room.listeners
    old = set(held.backends)
    assert all(x < room.backends for x in image.backends.keys() - old)
    held_ids = {x.listener_id for x in held.listeners.values()}
    held_pools = {x.pool_id for x in held.listeners.values()}
    assert all(x.listener_id < room.listener_ids or x.listener_id in held_ids for x in image.listeners.values())
    assert all(x.pool_id < room.pools or x.pool_id in held_pools for x in image.listeners.values())
    for listener in plan.listeners:
        keys = {x for x in image.listeners if x.port == listener.port and x.address in listener.addresses}
        if (listener.gateway, listener.name) not in image.left_out:
            assert len(keys) == len(listener.addresses)


@CASES
@given(plans(), plans(), all_endpoints, all_endpoints)
def test_two_steps_are_enough_for_what_fits_into_empty_tables(
    before: Plan, after: Plan, old: Endpoints, new: Endpoints
) -> None:
    alone = compile(after, new, Held())
    first = compile(before, old, Held())
    room = Room(
        gateways=max(len(alone.gateways), len(first.gateways)),
        listeners=max(len(alone.listeners), len(first.listeners)),
        listener_ids=1 + max((x.listener_id for y in (alone, first) for x in y.listeners.values()), default=0),
        pools=1 + max((*alone.pools, *first.pools), default=0),
        backends=1 + max((*alone.backends, *first.backends), default=1),
    )
    held = Held(first.listeners, first.backends, names=first.names, room=room)
    image = compile(after, new, held)
    if image.left_out:
        retired = frozenset(i for i, x in image.backends.items() if x.state is not BackendState.ACTIVE)
        image = compile(after, new, Held(image.listeners, image.backends, unused=retired, names=image.names, room=room))
    assert not image.left_out
    assert image.listeners.keys() == alone.listeners.keys()
