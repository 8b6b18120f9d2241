"""`penstock down` leaves the node as it was, and the gateway can be put there again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.gateway import Gateway
from lab.manifests import write
from lab.netns import Namespace
from lab.servers.witness import PORT, witness
from lab.topology import FAMILIES, GATEWAY, Lab, Shape
from lab.traffic.ask import SILENCE, ask_tcp, outcomes
from tests.net.world import PODS, TO_A, WORLD


@pytest.fixture(params=("stack", "redirect"))
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway that serves WORLD and is not started yet."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("down", Shape(PODS)))
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        write(WORLD, lab.directory / "manifests")
        yield Gateway(lab, lab.directory / "manifests", delivery=request.param)


def state(node: Namespace) -> list[str]:
    """Everything about the node's network that an operator could find changed, counters and ages left out."""
    listed = (
        ("ip", "-o", "link"),
        ("ip", "-o", "addr"),
        ("ip", "rule"),
        ("ip", "-6", "rule"),
        ("ip", "route", "show", "table", "all"),
        ("ip", "-6", "route", "show", "table", "all"),
        ("tc", "qdisc", "show"),
        ("sysctl", "net.ipv4.conf", "net.ipv6.conf"),
    )
    lines = [line for words in listed for line in node.run(*words).stdout.splitlines()]
    return sorted(line.partition("expires")[0] for line in lines if "stable_secret" not in line)


def test_the_node_is_as_it_was_before(gateway: Gateway) -> None:
    node = gateway.lab.node
    before = state(node)
    with gateway:
        for family in FAMILIES:
            assert ask_tcp(gateway.lab.client, GATEWAY[family], TO_A).backend == "a"
        assert gateway.pins.exists()
    assert state(node) == before
    assert not gateway.pins.exists()
    assert outcomes(gateway.lab.client, GATEWAY[4], TO_A, "UDP", 1) == {SILENCE: 1}
    assert ask_tcp(gateway.lab.client, gateway.lab.address("a", 4), PORT).backend == "a"


def test_down_after_a_crash_does_the_same_and_twice_is_no_harm(gateway: Gateway) -> None:
    before = state(gateway.lab.node)
    with gateway:
        gateway.kill()
        gateway.command("down")
        assert state(gateway.lab.node) == before
    assert state(gateway.lab.node) == before


def test_down_finds_the_network_namespace_of_the_agent_from_another(gateway: Gateway) -> None:
    before = state(gateway.lab.node)
    with gateway:
        gateway.kill()
        assert "its own interface" in gateway.command_from_outside("down").stdout
        assert state(gateway.lab.node) == before
        assert not gateway.pins.exists()


def test_down_is_refused_while_an_agent_runs(gateway: Gateway) -> None:
    with gateway:
        assert gateway.command("down", check=False).returncode != 0
        assert ask_tcp(gateway.lab.client, GATEWAY[4], TO_A).backend == "a"


def test_the_gateway_can_be_put_there_again(gateway: Gateway) -> None:
    for _ in range(2):
        with gateway:
            assert ask_tcp(gateway.lab.client, GATEWAY[4], TO_A).backend == "a"
