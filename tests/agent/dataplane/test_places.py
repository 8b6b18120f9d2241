"""Where a packet is seen, if nobody says it."""

from __future__ import annotations

import pytest

from agent.dataplane.hooks import Role
from agent.dataplane.links import Link
from agent.dataplane.met import MetFlow
from agent.dataplane.places import Surroundings, WrongPlace, choose
from loader.hook import Direction
from tests.agent.outcomes import met

NAMES = {1: "lo", 2: "eth0", 3: "eth1", 4: "penstock0", 5: "pod-a", 6: "br0"}
LINKS = {i: Link(i, name, "", bytes(6), 1500, True, 0, False) for i, name in NAMES.items()}
HOOKED = {3: Role.UPLINK, 2: Role.UPLINK, 4: Role.LOCAL, 5: Role.POD}
IN, OUT = Direction.INGRESS, Direction.EGRESS
REPLY, FAR, LENT = met(is_reply=True), met("REMOTE", "SNAT", is_reply=True), met("SNAT", is_reply=True)
PAST = met("REDIRECT", is_reply=True, redirected=True)


@pytest.mark.parametrize(
    ("way", "here", "flow", "found"),
    [
        (0, False, None, "eth0 ingress"),  # nobody knows where it comes from
        (2, False, None, "eth0 ingress"),
        (3, False, None, "eth1 ingress"),
        (1, True, None, "penstock0 egress"),  # the node itself
        (5, False, None, "penstock0 egress"),  # a pod
        (6, False, None, "penstock0 egress"),  # pods behind a bridge
        (4, False, None, "eth0 ingress"),  # a gateway's address: none of the node's
        (3, False, met(), "eth1 ingress"),
        (5, False, REPLY, "eth0 egress"),
        (3, False, FAR, "eth1 ingress"),
        (5, False, LENT, "penstock0 egress"),
        (5, False, PAST, "pod-a ingress"),
    ],
)
def test_usual_place(way: int, here: bool, flow: MetFlow | None, found: str) -> None:
    assert str(choose(Surroundings(HOOKED, LINKS, way, here), flow)) == found


@pytest.mark.parametrize(
    ("way", "here", "flow", "found"),
    [
        (5, False, None, "eth0 egress"),
        (1, True, None, "eth0 egress"),
        (3, False, None, "eth1 ingress"),  # a backend behind an uplink
        (5, False, met(), "penstock0 egress"),  # it is a client as well, of a flow that is there
        (5, False, LENT, "penstock0 egress"),
    ],
)
def test_a_reply_of_no_flow_is_where_replies_leave(way: int, here: bool, flow: MetFlow | None, found: str) -> None:
    assert str(choose(Surroundings(HOOKED, LINKS, way, here, from_backend=True), flow)) == found


@pytest.mark.parametrize(
    ("interface", "direction", "flow", "found"),
    [
        ("eth1", None, None, "eth1 ingress"),
        ("eth1", None, REPLY, "eth1 egress"),
        ("eth1", OUT, None, "eth1 egress"),
        ("eth1", IN, REPLY, "eth1 ingress"),
        ("penstock0", None, None, "penstock0 egress"),
        ("pod-a", None, None, "pod-a ingress"),
        ("", OUT, None, "eth0 egress"),
        ("", IN, REPLY, "eth0 ingress"),
        ("", OUT, LENT, "penstock0 egress"),
    ],
)
def test_place_that_is_asked_for(interface: str, direction: Direction | None, flow: MetFlow | None, found: str) -> None:
    assert str(choose(Surroundings(HOOKED, LINKS), flow, interface, direction)) == found


@pytest.mark.parametrize(
    ("hooked", "interface", "direction", "says"),
    [
        (HOOKED, "eth9", None, "there is no interface 'eth9'"),
        (HOOKED, "br0", None, "br0 carries no hook of ours, so no packet is seen there; these do: eth0, eth1, p"),
        (HOOKED, "penstock0", IN, "no hook of ours sees what penstock0 has at ingress"),
        (HOOKED, "pod-a", OUT, "no hook of ours sees what pod-a has at egress"),
        ({77: Role.UPLINK}, "", None, "run this on the node itself"),
    ],
)
def test_wrong_place(hooked: dict[int, Role], interface: str, direction: Direction | None, says: str) -> None:
    with pytest.raises(WrongPlace, match=says):
        choose(Surroundings(hooked, LINKS), None, interface, direction)
