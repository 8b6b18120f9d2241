"""What is said of an outcome."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from agent.compile.image import BACKEND_REJECT, GATEWAY_NODE_ADDRESS
from agent.dataplane.hooks import Role
from agent.dataplane.trial import Asked, Outcome
from agent.explanation import explain
from agent.packet import Packet
from agent.verdicts import MEANING
from loader.hook import Direction
from routes.plan import SourceRange
from tests.agent.outcomes import LISTENERS, asked, met, outcome, packet, place, served


def steps(came_to: Outcome, of: Packet | None = None) -> dict[str, str]:
    return {x.topic: x.text for x in explain(of or packet(), came_to, LISTENERS).steps}


def limited(*, full: bool) -> Asked:
    """By a policy that counts networks of 256 addresses, too."""
    return replace(asked(), is_full=full, one_source=ip_network("198.51.100.0/24"))


LOCAL = place(Role.LOCAL, Direction.EGRESS, "penstock0")
POD = place(Role.POD, name="pod-a")


def test_all_of_a_new_flow() -> None:
    assert steps(served()) == {
        "packet": "TCP 198.51.100.1:4000 -> 192.0.2.1:80, flags S, TTL 64",
        "at": "eth0 ingress (uplink_ingress)",
        "gateway": "192.0.2.1 is an address of default/edge",
        "listener": "web at TCP/80 of Gateway default/edge; TCPRoute default/web",
        "policy": "new flows are subject to FlowPolicy default/inside",
        "flow": "none: it begins a new one",
        "slot": "99 of 4093",
        "backend": "default/a:80 at 10.0.0.2:8080 (pod-a), active; weight 3, 75.0% of new flows, "
        "50.0% for this endpoint",
        "backend sees": "198.51.100.1:4000, the client: the backend is on this node, so its replies must pass a hook "
        "of ours",
        "way": "up the stack",
        "becomes": "TCP 198.51.100.1:4000 -> 192.0.2.1:80, flags S, TTL 64",
        "verdict": "forwarded. A request: it is rewritten, and on its way to a backend.",
    }


@pytest.mark.parametrize(
    ("came_to", "says"),
    [
        (served("REMOTE"), "198.51.100.1:4000, the client: its network behind eth1 is declared symmetric"),
        (
            served("REMOTE", "SNAT", seen_as="203.0.113.9:4000"),
            "203.0.113.9:4000, the node's address and the client's port (10000-29999): the backend is behind eth1",
        ),
        (served("REMOTE", "SNAT", seen_as="203.0.113.9:10001"), "the node's address and a port by chance"),
        (
            served("REMOTE", "SNAT", seen_as="192.0.2.1:10001"),
            "the gateway's address and a port: eth1 has no address of",
        ),
        (
            served("SNAT", place=LOCAL, seen_as="192.0.2.1:4000"),
            "192.0.2.1:4000, the gateway's address and the client's port: the client is on this node",
        ),
        (served("SNAT", seen_as="192.0.2.1:5000"), "another flow has the client's address and port there"),
    ],
)
def test_whom_the_backend_sees(came_to: Outcome, says: str) -> None:
    assert says in steps(came_to)["backend sees"]


@pytest.mark.parametrize(
    ("came_to", "says"),
    [
        (served(), "up the stack"),
        (served("REDIRECT", redirected=True), "past the stack, to the pod behind eth1"),
        (served("SNAT", redirected=True), "by penstock0, up the stack"),
        (served("SNAT", redirected=True, place=LOCAL), "by penstock0, up the stack"),
        (served(verdict="VERDICT_REPLIED", place=place(direction=Direction.EGRESS)), "out of eth0"),
        (
            served(verdict="VERDICT_REPLIED", redirected=True, marked=True, place=POD),
            "past the stack, straight out of an uplink",
        ),
        (served("SNAT", "REMOTE", redirected=True, marked=True), "past the stack, straight out of an uplink"),
        (outcome("VERDICT_PING"), "the answer goes back out of eth0"),
        (outcome("VERDICT_REJECTED_RST", place=LOCAL), "the answer goes back by penstock0"),
        (outcome("VERDICT_NOT_OURS"), None),
        (outcome("DROP_MARTIAN"), None),
    ],
)
def test_way(came_to: Outcome, says: str | None) -> None:
    assert steps(came_to).get("way") == says


@pytest.mark.parametrize(
    ("came_to", "says"),
    [
        (outcome("VERDICT_REJECTED_RST", asked=asked(listener=False)), "nobody listens at that port of the gateway"),
        (
            outcome("DROP_REJECT_SHARE", slot=9, backend_id=BACKEND_REJECT),
            "it falls on the share that is rejected (default/b:80: there is no such Service)",
        ),
        (outcome("VERDICT_REJECTED_RST", met=met(), backend_id=12), "the flow's backend is gone"),
        (
            outcome("DROP_DENIED", asked=replace(asked(), source=SourceRange(ip_network("198.51.100.0/24"), False))),
            "FlowPolicy default/inside does not let 198.51.100.1 begin flows: 198.51.100.0/24 is in deny",
        ),
        (
            outcome("VERDICT_REFUSED_DENIED"),
            "FlowPolicy default/inside does not let 198.51.100.1 begin flows: it is in no network of allow",
        ),
        (
            outcome("VERDICT_REFUSED_LIMITED", asked=limited(full=True)),
            "the listener has as many connections as FlowPolicy default/inside allows",
        ),
        (
            outcome("VERDICT_RESET_LIMITED", asked=limited(full=True)),
            "the listener has as many connections as FlowPolicy default/inside allows",
        ),
        (
            outcome("DROP_LIMITED", asked=limited(full=False)),
            "source 198.51.100.0/24 has as many connections as FlowPolicy default/inside allows",
        ),
        (outcome("DROP_RATE_LIMITED"), "the agent was told to send no answers at all"),
        (outcome("VERDICT_NOT_OURS", asked=asked(None)), "192.0.2.1 is no gateway's address"),
    ],
)
def test_because(came_to: Outcome, says: str) -> None:
    assert steps(came_to)["because"] == says


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (None, met(), "none: it begins a new one"),
        (None, None, "none"),
        (met(), met(), "of 198.51.100.1:4000 -> 192.0.2.1:80: established, idle 0 s, 5 packets, 2300 bytes"),
        (met(is_reply=True), met(is_reply=True), "a reply of 198.51.100.1:4000 -> 192.0.2.1:80: established"),
        (met(), met(state="FLOW_RESET"), "; this packet makes it reset"),
        (met(), met(generation=2), "; it counts as gone, and a new one begins"),
        (met(whole=False), met(generation=2), "but half of it is missing"),
        (met(), None, "; this packet ends it"),
    ],
)
def test_flow(before: Any, after: Any, says: str) -> None:
    assert says in steps(served(met=before, flow=after))["flow"]


def test_a_stream_that_is_met_in_its_middle_is_adopted() -> None:
    came_to = served(met=None)
    assert steps(came_to, packet(flags="A"))["flow"] == "none: a stream that is under way is adopted as a new one"
    assert steps(came_to, packet(17))["flow"] == "none: it begins a new one"


@pytest.mark.parametrize(
    ("came_to", "topic", "says"),
    [
        (outcome(asked=asked(None)), "gateway", "none: 192.0.2.1 is no gateway's address"),
        (outcome(asked=asked(GATEWAY_NODE_ADDRESS)), "gateway", "an address of default/edge, and the node's own too"),
        (outcome(asked=asked(listener=False)), "listener", "none at TCP/80"),
        (outcome("DROP_REJECT_SHARE", slot=9, backend_id=BACKEND_REJECT), "slot", "9 of 4093, which is rejected"),
        (outcome(same_build=False), "note", "is of another build"),
    ],
)
def test_other_steps(came_to: Outcome, topic: str, says: str) -> None:
    assert says in steps(came_to)[topic]


def test_without_a_report_numbers_stand_for_names() -> None:
    said = {x.topic: x.text for x in explain(packet(), served(), ()).steps}
    assert said["gateway"] == "192.0.2.1 is an address of a gateway"
    assert said["listener"] == "number 4 at TCP/80, which the last report does not name"
    assert said["backend"] == "10.0.0.2:8080 (number 12), active"


@pytest.mark.parametrize("verdict", MEANING)
def test_every_verdict_can_be_said(verdict: str) -> None:
    for came_to in (outcome(verdict), outcome(verdict, asked=None), served(verdict=verdict, met=met())):
        said = explain(packet(), came_to, LISTENERS)
        assert said.meaning == MEANING[verdict]
        assert said.steps
