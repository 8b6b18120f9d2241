"""Nothing that befalls the agent is felt by traffic: no connection is reset, no octet changed, no datagram lost.

Long transfers in both directions, hashed, and numbered datagrams, over IPv4 and IPv6 at once, while the agent is
killed, stays dead, starts again and is given new things to do. Resets are counted by the kernels at both ends.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lab.gateway import Gateway
from lab.manifests import MOST_LISTENERS, Listener, Pod, World, write
from lab.servers.witness import PORT, STREAM_PORT, witness
from lab.shares import wrong_shares
from lab.topology import FAMILIES, GATEWAY, Lab, Shape
from lab.traffic.ask import SILENCE, ask, associate, outcomes
from lab.wait import PATIENCE, SLOWNESS, until
from tests.net.traffic import Traffic
from tests.net.world import PODS

WORLD = World(
    listeners=(
        Listener("TCP", PORT, {"a": 70, "b": 30}),
        Listener("UDP", PORT, {"a": 70, "b": 30}),
        Listener("TCP", STREAM_PORT, {"a": 70, "b": 30}, target=STREAM_PORT),
    ),
    services={"a": (Pod(PODS["a"]),), "b": (Pod(PODS["b"]),)},
)

UDP_LIMIT = round(5 * SLOWNESS**2)
"""Seconds after which an idle UDP flow is forgotten: short, so that ageing can be seen at work, and long enough to see
the flow before."""


@pytest.fixture(params=("stack", "redirect"))
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway of the test's own, that serves WORLD."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("never", Shape(PODS)))
        manifests = lab.directory / "manifests"
        write(WORLD, manifests)
        options = ("--limit-udp", str(UDP_LIMIT))
        yield stack.enter_context(Gateway(lab, manifests, delivery=request.param, options=options))


@pytest.fixture
def traffic(gateway: Gateway) -> Iterator[Traffic]:
    """Traffic through the gateway, until the test finishes it."""
    with ExitStack() as stack:
        witnesses = [stack.enter_context(witness(gateway.lab, pod)) for pod in PODS]
        running = Traffic(gateway.lab, witnesses)
        running.start(stack)
        yield running


def new_flows_are_served(gateway: Gateway, weights: dict[str, int]) -> None:
    """New flows of every kind find a backend, by weight."""
    for family in FAMILIES:
        for protocol in ("TCP", "UDP"):
            seen = outcomes(gateway.lab.client, GATEWAY[family], PORT, protocol, 200)
            assert wrong_shares(seen, weights) == []


def is_known(gateway: Gateway, port: int) -> bool:
    """Whether the kernel holds a flow of the client's port."""
    return f'"port":{port}' in gateway.command("flows", "-o", "json", "--limit", "100000").stdout


def test_an_agent_that_is_killed_and_stays_dead_costs_nothing(gateway: Gateway, traffic: Traffic) -> None:
    with associate(gateway.lab.client, GATEWAY[4], PORT) as idle:
        port = ask(idle).client[1]
        assert is_known(gateway, port)
        gateway.kill()
        # Next hops are looked up again by the data path itself.
        gateway.lab.node.run("ip", "neigh", "flush", "all")
        for _ in range(12):
            traffic.goes_on(seconds=10)
        new_flows_are_served(gateway, {"a": 70, "b": 30})
        until(lambda: not is_known(gateway, port), "an idle flow is forgotten though no agent runs")
    gateway.start()
    traffic.goes_on()
    traffic.finish()


def test_an_agent_that_is_stopped_and_started_costs_nothing(gateway: Gateway, traffic: Traffic) -> None:
    for _ in range(3):
        gateway.stop()
        traffic.goes_on()
        gateway.start()
        traffic.goes_on()
    traffic.finish()


def test_new_weights_backends_and_a_thousand_listeners_cost_nothing(gateway: Gateway, traffic: Traffic) -> None:
    gateway.change(lambda: write(reweighted({"a": 10, "b": 90}), gateway.manifests))
    traffic.goes_on()
    new_flows_are_served(gateway, {"a": 10, "b": 90})
    gateway.change(lambda: write(with_c(), gateway.manifests))
    traffic.goes_on()
    new_flows_are_served(gateway, {"a": 1, "b": 1, "c": 2})

    more = list(thousand_listeners())

    def a_thousand_more() -> None:
        for world in more:
            write(world, gateway.manifests)

    gateway.change(a_thousand_more)
    wanted = len(WORLD.listeners) + 1_000
    gateway.until(lambda status: len(status["listeners"]) == wanted, "holds them all", patience=3 * PATIENCE)
    traffic.goes_on()
    new_flows_are_served(gateway, {"a": 1, "b": 1, "c": 2})
    for world in more:
        for address in world.addresses:
            seen = outcomes(gateway.lab.client, address, world.listeners[-1].port, "TCP", 20)
            assert seen.keys() == {"a", "b"}
    gateway.kill()
    traffic.goes_on()
    gateway.start()
    traffic.goes_on()
    traffic.finish()


def test_being_killed_in_the_midst_of_changes_costs_nothing(gateway: Gateway, traffic: Traffic) -> None:
    for weight in range(10, 60, 10):
        write(reweighted({"a": weight, "b": 100 - weight}), gateway.manifests)
        gateway.kill()
        gateway.start()
    traffic.goes_on()
    new_flows_are_served(gateway, {"a": 50, "b": 50})
    traffic.finish()


def test_the_measure_notices_when_what_is_pinned_goes(gateway: Gateway, traffic: Traffic) -> None:
    """What the other tests would see if the agent took its programs with it."""
    gateway.kill()
    shutil.rmtree(gateway.pins)
    for link in json.loads(gateway.lab.node.run("ip", "-j", "link").stdout):
        # Without TCX they are filters, which nothing but this removes; with it there is none.
        gateway.lab.node.run("tc", "qdisc", "delete", "dev", link["ifname"], "clsact", check=False)
    until(lambda: outcomes(gateway.lab.client, GATEWAY[4], PORT, "TCP", 1) == {SILENCE: 1}, "the programs are gone")
    moved = traffic.octets()
    assert outcomes(gateway.lab.client, GATEWAY[4], PORT, "TCP", 1) == {SILENCE: 1}
    assert traffic.octets() == moved


def reweighted(weights: dict[str, int]) -> World:
    """WORLD with other weights."""
    return replace(WORLD, listeners=tuple(replace(x, weights=weights) for x in WORLD.listeners))


def with_c() -> World:
    """WORLD with half of the new flows given to a third backend."""
    changed = reweighted({"a": 1, "b": 1, "c": 2})
    return replace(changed, services={**WORLD.services, "c": (Pod(PODS["c"]),)})


def thousand_listeners() -> Iterator[World]:
    """A thousand more, of as many Gateways as the API's limit asks for, each with an address of its own."""
    for number, first in enumerate(range(0, 1_000, MOST_LISTENERS)):
        ports = range(10_000 + first, 10_000 + min(first + MOST_LISTENERS, 1_000))
        yield World(
            listeners=tuple(Listener("TCP", port, {"a": 1, "b": 1}) for port in ports),
            services={},
            gateway=f"more-{number}",
            addresses=(ip_address(f"10.200.0.{100 + number}"), ip_address(f"fd00:200::{100 + number}")),
        )
