"""Manifests change under a running gateway: new flows follow, old ones stay where they are for as long as they can."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.servers.witness import PORT, STREAM_PORT, witness
from lab.shares import wrong_shares
from lab.topology import GATEWAY, Lab, Shape
from lab.traffic.ask import REFUSED, ask, associate, connect, outcomes
from lab.traffic.transfer import Transfer
from lab.wait import until
from tests.net.world import PODS

GRACE = 2
"""Seconds that an endpoint may be absent before its connections are reset."""

A, B = Pod(PODS["a"]), Pod(PODS["b"])
EVEN = World(
    listeners=(
        *(Listener(protocol, PORT, {"a": 1, "b": 1}) for protocol in ("TCP", "UDP")),
        Listener("TCP", STREAM_PORT, {"a": 1}, target=STREAM_PORT),
    ),
    services={"a": (A,), "b": (B,)},
)


@dataclass
class Running:
    """A gateway whose world can be changed."""

    gateway: Gateway

    def change(self, world: World) -> None:
        """Rewrite the manifests and wait until the kernel holds them."""
        self.gateway.change(lambda: write(world, self.gateway.manifests))


@pytest.fixture(params=("stack", "redirect"))
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A gateway that serves EVEN, its own for each test."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("change", Shape(PODS)))
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        manifests = lab.directory / "manifests"
        write(EVEN, manifests)
        options = ("--absent-grace", str(GRACE))
        yield Running(stack.enter_context(Gateway(lab, manifests, delivery=request.param, options=options)))


def open_flow(running: Running, family: int, protocol: str, backend: str) -> socket.socket:
    """A flow that the given backend serves."""
    make = connect if protocol == "TCP" else associate
    while True:
        endpoint = make(running.gateway.lab.client, GATEWAY[family], PORT)
        if ask(endpoint).backend == backend:
            return endpoint
        endpoint.close()


def shares(running: Running, family: int, protocol: str, flows: int = 400) -> dict[str, int]:
    """Who serves new flows."""
    return dict(outcomes(running.gateway.lab.client, GATEWAY[family], PORT, protocol, flows))


def with_weights(world: World, weights: dict[str, int]) -> World:
    """The world with other weights at PORT."""
    changed = tuple(replace(x, weights=weights) if x.port == PORT else x for x in world.listeners)
    return replace(world, listeners=changed)


def test_a_new_weight_moves_new_flows_only(running: Running, family: int, protocol: str) -> None:
    with open_flow(running, family, protocol, "b") as old:
        running.change(with_weights(EVEN, {"a": 90, "b": 10}))
        assert wrong_shares(shares(running, family, protocol), {"a": 90, "b": 10}) == []
        running.change(with_weights(EVEN, {"a": 1, "b": 0}))
        assert shares(running, family, protocol, 100) == {"a": 100}
        assert ask(old).backend == "b"


def test_a_new_backend_gets_its_share(running: Running, family: int, protocol: str) -> None:
    three = with_weights(EVEN, {"a": 1, "b": 1, "c": 2})
    with open_flow(running, family, protocol, "a") as old:
        running.change(replace(three, services={**EVEN.services, "c": (Pod(PODS["c"]),)}))
        assert wrong_shares(shares(running, family, protocol), {"a": 1, "b": 1, "c": 2}) == []
        assert ask(old).backend == "a"


def test_a_new_pod_of_a_service_shares_its_weight(running: Running, family: int, protocol: str) -> None:
    running.change(replace(EVEN, services={"a": (A, Pod(PODS["c"])), "b": (B,)}))
    assert wrong_shares(shares(running, family, protocol), {"a": 1, "c": 1, "b": 2}) == []


def test_a_draining_pod_keeps_its_flows_and_gets_no_new_ones(running: Running, family: int, protocol: str) -> None:
    draining = Pod(PODS["b"], ready=False, terminating=True)
    with open_flow(running, family, protocol, "b") as old:
        running.change(replace(EVEN, services={"a": (A,), "b": (draining, Pod(PODS["c"]))}))
        assert wrong_shares(shares(running, family, protocol), {"a": 1, "c": 1}) == []
        assert ask(old).backend == "b"


def test_terminating_pods_serve_when_there_are_no_others(running: Running, family: int, protocol: str) -> None:
    last = Pod(PODS["b"], ready=False, terminating=True)
    running.change(replace(EVEN, services={"a": (A,), "b": (last,)}))
    assert wrong_shares(shares(running, family, protocol), {"a": 1, "b": 1}) == []


def test_a_connection_to_an_absent_pod_is_reset_after_the_grace_time(running: Running, family: int) -> None:
    with open_flow(running, family, "TCP", "b") as old:
        running.change(replace(EVEN, services={"a": (A,), "b": ()}))
        assert ask(old).backend == "b"

        def is_reset() -> bool:
            try:
                ask(old)
            except (ConnectionResetError, BrokenPipeError):
                return True
            return False

        until(is_reset, "the connection to a pod that is gone is reset", every=0.1)


def test_a_pod_that_comes_back_within_the_grace_time_keeps_its_connections(running: Running, family: int) -> None:
    with open_flow(running, family, "TCP", "b") as old:
        running.change(replace(EVEN, services={"a": (A,), "b": ()}))
        running.change(EVEN)
        assert ask(old).backend == "b"
        assert wrong_shares(shares(running, family, "TCP"), {"a": 1, "b": 1}) == []


def test_a_datagram_for_an_absent_pod_goes_to_another(running: Running, family: int) -> None:
    with open_flow(running, family, "UDP", "b") as old:
        running.change(with_weights(replace(EVEN, services={"a": (A,)}), {"a": 1}))
        assert ask(old).backend == "a"


def test_a_listener_that_goes_refuses_and_one_that_comes_serves(running: Running, family: int, protocol: str) -> None:
    moved = tuple(replace(x, port=PORT + 100) if x.port == PORT else x for x in EVEN.listeners)
    running.change(replace(EVEN, listeners=moved))
    client = running.gateway.lab.client
    assert outcomes(client, GATEWAY[family], PORT, protocol, 10) == {REFUSED: 10}
    assert wrong_shares(outcomes(client, GATEWAY[family], PORT + 100, protocol, 200), {"a": 1, "b": 1}) == []


def test_a_file_that_cannot_be_read_changes_nothing(running: Running, family: int, protocol: str) -> None:
    file = running.gateway.manifests / "lab.yaml"
    file.write_text(file.read_text().replace("weight: 1", "weight: heavy"))
    running.gateway.until(lambda status: "weight" in str(status["source"]["errors"]), "tells what is wrong")
    assert wrong_shares(shares(running, family, protocol), {"a": 1, "b": 1}) == []


def test_a_transfer_does_not_notice_any_of_it(running: Running, family: int) -> None:
    with Transfer(running.gateway.lab.client, GATEWAY[family], STREAM_PORT) as transfer:
        for world in (
            with_weights(EVEN, {"a": 5, "b": 1}),
            replace(EVEN, services={"a": (A, Pod(PODS["c"])), "b": (B,)}),
            EVEN,
        ):
            running.change(world)
            transfer.until_moved(1_000_000)
        assert transfer.finish().whole
