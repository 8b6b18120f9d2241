"""Policies get ids that stay as long as what they say does; no listener is served without the one it asks for."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from agent.compile import Held, MapImage, Room, compile
from routes.plan import Plan, Policy, SourceRange

from .golden import plan_and_endpoints

INSIDE, OUTSIDE = SourceRange(ip_network("10.0.0.0/8"), True), SourceRange(ip_network("2001:db8::/32"), False)
A = Policy(("default/a",), (INSIDE,), allow_only=True)
B = Policy(("default/b",), (INSIDE, OUTSIDE), reject=True)
C = Policy(("default/c",), (OUTSIDE,))


def plan(*policies: Policy | None) -> Plan:
    """A listener for each, of ports 80 and up."""
    asked = {f"default/gw l{80 + i} 10.0.0.1,fd00::1 {80 + i}/TCP": None for i, _ in enumerate(policies)}
    made, _ = plan_and_endpoints(asked, {})
    listeners = (replace(x, policy=policy) for x, policy in zip(made.listeners, policies, strict=True))
    return replace(made, listeners=tuple(listeners))


def step(held: Held, *policies: Policy | None, room: Room | None = None) -> tuple[MapImage, Held]:
    image = compile(plan(*policies), {}, replace(held, room=room or Room()))
    return image, Held(image.listeners, image.backends, names=image.names, policies=image.policies)


def ids(image: MapImage) -> dict[int, int]:
    """By port; both families have the same."""
    found = {(key.port, x.policy_id) for key, x in image.listeners.items()}
    assert len(found) == len({port for port, _ in found})
    return dict(found)


def test_a_listener_without_a_policy_has_id_0() -> None:
    image, _ = step(Held(), None, A)
    assert ids(image) == {80: 0, 81: 1}
    assert list(image.policies) == [1]


def test_listeners_that_ask_for_the_same_share_an_id() -> None:
    image, _ = step(Held(), A, B, replace(A, names=("default/named-otherwise",)))
    assert ids(image) == {80: 1, 81: 2, 82: 1}


def test_ids_stay_and_a_policy_that_changes_gets_another() -> None:
    _, held = step(Held(), A, B)
    image, held = step(held, C, B)
    assert ids(image) == {80: 3, 81: 2}  # not 1, which listener 80 leads to until it is switched
    assert sorted(image.policies) == [2, 3]
    image, _ = step(held, C, B, A)
    assert ids(image) == {80: 3, 81: 2, 82: 1}


@pytest.mark.parametrize(
    ("room", "table"), [(Room(policies=2), "policies"), (Room(source_ranges=2), "source_ranges")], ids=str
)
def test_a_listener_whose_policy_has_no_room_is_not_served(room: Room, table: str) -> None:
    image, _ = step(Held(), A, None, B, A, room=room)
    assert image.left_out == {("default/gw", "l82"): table}
    assert ids(image) == {80: 1, 81: 0, 83: 1}


def test_what_is_held_takes_room_until_it_is_gone() -> None:
    room = Room(source_ranges=3)
    _, held = step(Held(), B, room=room)
    image, held = step(held, replace(B, reject=False), room=room)
    assert image.left_out == {("default/gw", "l80"): "source_ranges"}
    image, _ = step(held, replace(B, reject=False), room=room)
    assert not image.left_out
    assert ids(image) == {80: 1}
