"""Manifests change under a running gateway: new flows follow, old ones stay where they are for as long as they can.

Each test looks at both families and both protocols at once, since each change takes the same for all of them.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import pytest

from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.servers.witness import PORT, STREAM_PORT, witness
from lab.shares import wrong_shares
from lab.topology import FAMILIES, GATEWAY, POD_NEXT_HOP, Address, Lab, Shape
from lab.traffic.ask import REFUSED, SILENCE, ask, associate, connect, outcomes
from lab.traffic.transfer import Transfer
from lab.wait import until
from tests.net.endings import is_reset
from tests.net.world import PODS

GRACE = 12
"""Seconds that an endpoint may be absent before its connections are reset: longer than two changes of the manifests."""

KINDS = tuple((family, protocol) for family in FAMILIES for protocol in ("TCP", "UDP"))

A, B, C = (Pod(PODS[name], uid=f"pod-{name}") for name in "abc")
SUCCESSOR = Pod(PODS["b"], uid="pod-c")  # C at the address that B had
OTHER_PORT = PORT + 50
EVEN = World(
    listeners=(
        *(Listener(protocol, PORT, {"a": 1, "b": 1}) for protocol in ("TCP", "UDP")),
        Listener("TCP", STREAM_PORT, {"a": 1}, target=STREAM_PORT),
    ),
    services={"a": (A,), "b": (B,)},
)


def with_another_service(pods: tuple[Pod, ...]) -> World:
    """EVEN, but b's pods are those of another Service, which other listeners lead to."""
    others = tuple(Listener(protocol, OTHER_PORT, {"other": 1}) for protocol in ("TCP", "UDP"))
    services = {"a": (A,), "b": (), "other": pods}
    return with_weights(replace(EVEN, listeners=(*EVEN.listeners, *others), services=services), {"a": 1, "b": 0})


def with_weights(world: World, weights: dict[str, int]) -> World:
    """The world with other weights at PORT."""
    changed = tuple(replace(x, weights=weights) if x.port == PORT else x for x in world.listeners)
    return replace(world, listeners=changed)


@dataclass
class Running:
    """A gateway whose world can be changed."""

    gateway: Gateway
    world: World

    def change(self, world: World) -> None:
        """Rewrite the manifests and wait until the kernel holds them."""
        if world != self.world:
            self.gateway.change(lambda: write(world, self.gateway.manifests))
            self.world = world

    def flow(self, family: int, protocol: str, backend: str) -> socket.socket:
        """A new flow that the given backend serves."""
        make = connect if protocol == "TCP" else associate
        while True:
            endpoint = make(self.gateway.lab.client, GATEWAY[family], PORT)
            if ask(endpoint).backend == backend:
                return endpoint
            endpoint.close()

    @contextlib.contextmanager
    def flows(self, backend: str) -> Iterator[list[socket.socket]]:
        """One flow of each kind, all served by the given backend."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.flow(*kind, backend)) for kind in KINDS]

    @contextlib.contextmanager
    def succession(self) -> Iterator[Callable[[], bool]]:
        """Pod b is no more, its addresses are pod c's. Gives: did c see nothing of connections that b had?"""
        lab = self.gateway.lab
        b, c = (lab.backends[name] for name in "bc")
        ends = {name: lab.host_end(name) for name in "bc"}
        own = {name: [lab.address(name, family) for family in FAMILIES] for name in "bc"}

        def leads(address: Address, name: str) -> str:
            return f"route replace {address} dev {ends[name]}"

        def speaks_as(name: str) -> list[str]:
            ways = zip(POD_NEXT_HOP.values(), own[name], strict=True)
            return [f"route replace default via {way} dev eth0 src {address}" for way, address in ways]

        b.ip("link set eth0 down")
        c.ip(*(f"addr add {x} dev eth0 nodad" for x in own["b"]), *speaks_as("b"))
        lab.node.ip(*(leads(x, "c") for x in own["b"]))
        before = c.counters()["TcpOutRsts"]
        try:
            yield lambda: c.counters()["TcpOutRsts"] == before
        finally:
            c.ip(*speaks_as("c"), *(f"addr del {x} dev eth0" for x in own["b"]))
            b.ip(
                "link set eth0 up",
                f"addr replace {own['b'][1]} dev eth0 nodad",  # it went with the link, and so did all routes
                f"route add {POD_NEXT_HOP[4]} dev eth0 scope link",
                *speaks_as("b"),
            )
            lab.node.ip(*(leads(x, "b") for x in own["b"]))

    def outcomes(self, times: int, port: int = PORT) -> list[dict[str, int]]:
        """Who serves new flows, of each kind."""
        return [dict(outcomes(self.gateway.lab.client, GATEWAY[x], port, y, times)) for x, y in KINDS]

    def wrong(self, weights: dict[str, int]) -> list[str]:
        """What is wrong with the split of new flows, of any kind."""
        return [line for seen in self.outcomes(200) for line in wrong_shares(seen, weights)]


@pytest.fixture(scope="module", params=("stack", "redirect"))
def one_gateway(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A gateway for all tests of this module."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("change", Shape(PODS)))
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        manifests = lab.directory / "manifests"
        write(EVEN, manifests)
        options = ("--absent-grace", str(GRACE))
        yield Running(stack.enter_context(Gateway(lab, manifests, delivery=request.param, options=options)), EVEN)


@pytest.fixture
def running(one_gateway: Running) -> Running:
    """The gateway, serving EVEN."""
    one_gateway.change(EVEN)
    return one_gateway


def test_a_new_weight_moves_new_flows_only(running: Running) -> None:
    with running.flows("b") as old:
        running.change(with_weights(EVEN, {"a": 90, "b": 10}))
        assert running.wrong({"a": 90, "b": 10}) == []
        running.change(with_weights(EVEN, {"a": 1, "b": 0}))
        assert running.outcomes(50) == [{"a": 50}] * 4
        assert [ask(x).backend for x in old] == ["b"] * 4


def test_a_new_backend_gets_its_share_of_new_flows(running: Running) -> None:
    with running.flows("a") as old:
        three = with_weights(EVEN, {"a": 1, "b": 1, "c": 2})
        running.change(replace(three, services={**EVEN.services, "c": (C,)}))
        assert running.wrong({"a": 1, "b": 1, "c": 2}) == []
        assert [ask(x).backend for x in old] == ["a"] * 4


def test_a_new_pod_of_a_service_shares_its_weight(running: Running) -> None:
    running.change(replace(EVEN, services={"a": (A, C), "b": (B,)}))
    assert running.wrong({"a": 1, "c": 1, "b": 2}) == []


def test_a_draining_pod_keeps_its_flows_and_gets_no_new_ones(running: Running) -> None:
    draining = replace(B, ready=False, terminating=True)
    with running.flows("b") as old:
        running.change(replace(EVEN, services={"a": (A,), "b": (draining, C)}))
        assert running.wrong({"a": 1, "c": 1}) == []
        assert [ask(x).backend for x in old] == ["b"] * 4


def test_terminating_pods_serve_when_there_are_no_others(running: Running) -> None:
    last = replace(B, ready=False, terminating=True)
    running.change(replace(EVEN, services={"a": (A,), "b": (last,)}))
    assert running.wrong({"a": 1, "b": 1}) == []


def test_a_connection_to_an_absent_pod_is_reset_after_the_grace_time(running: Running) -> None:
    with ExitStack() as stack:
        old = [stack.enter_context(running.flow(family, "TCP", "b")) for family in FAMILIES]
        running.change(replace(EVEN, services={"a": (A,), "b": ()}))
        assert [ask(x).backend for x in old] == ["b"] * 2

        for each in old:
            until(partial(is_reset, each), "the connection to a pod that is gone is reset", every=0.1, patience=60)


def test_a_pod_that_comes_back_within_the_grace_time_keeps_its_connections(running: Running) -> None:
    with running.flows("b") as old:
        running.change(replace(EVEN, services={"a": (A,), "b": ()}))
        running.change(EVEN)
        assert [ask(x).backend for x, kind in zip(old, KINDS, strict=True) if kind[1] == "TCP"] == ["b"] * 2
        assert running.wrong({"a": 1, "b": 1}) == []


def test_a_datagram_for_an_absent_pod_goes_to_another(running: Running) -> None:
    with ExitStack() as stack:
        old = [stack.enter_context(running.flow(family, "UDP", "b")) for family in FAMILIES]
        running.change(with_weights(replace(EVEN, services={"a": (A,)}), {"a": 1}))
        assert [ask(x).backend for x in old] == ["a"] * 2


def test_terminating_pods_get_nothing_new_once_another_is_ready(running: Running) -> None:
    last = replace(B, ready=False, terminating=True)
    with running.flows("b") as old:
        running.change(with_weights(replace(EVEN, services={"b": (last,)}), {"b": 1}))
        assert [ask(x).backend for x in old] == ["b"] * 4
        with running.flows("b") as late:
            running.change(with_weights(replace(EVEN, services={"b": (last, C)}), {"b": 1}))
            assert running.outcomes(20) == [{"c": 20}] * 4
            assert [ask(x).backend for x in (*old, *late)] == ["b"] * 8


def test_terminating_pods_that_do_not_serve_are_not_used(running: Running) -> None:
    ended = replace(B, ready=False, terminating=True, serving=False)
    with running.flows("b") as old:
        running.change(with_weights(replace(EVEN, services={"a": (), "b": (ended,)}), {"b": 1}))
        assert running.outcomes(10) == [{REFUSED: 10}, {SILENCE: 10}] * 2
        assert [ask(x).backend for x in old] == ["b"] * 4


REUSES = {
    "of the same Service": replace(EVEN, services={"a": (A,), "b": (SUCCESSOR,)}),
    "of the same Service, not ready yet": with_weights(
        replace(EVEN, services={"a": (A,), "b": (replace(SUCCESSOR, ready=False),)}), {"a": 1, "b": 0}
    ),
    "of another Service": with_another_service((SUCCESSOR,)),
}


@pytest.mark.parametrize("dead", [False, True], ids=["", "while no agent runs"])
@pytest.mark.parametrize("world", REUSES.values(), ids=REUSES)
def test_the_flows_of_a_pod_never_meet_another_at_its_address(running: Running, world: World, dead: bool) -> None:
    with running.flows("b") as old, running.succession() as unseen:
        if dead:
            running.gateway.kill()
            write(world, running.gateway.manifests)
            running.world = world
            running.gateway.start()
        else:
            running.change(world)
        for each, (_, protocol) in zip(old, KINDS, strict=True):
            if protocol == "TCP":
                assert is_reset(each)
            else:
                assert ask(each).backend in ("a", "c")
        assert unseen()


@pytest.mark.parametrize("dead", [False, True], ids=["", "while no agent runs"])
def test_a_pod_that_serves_another_service_now_keeps_its_flows(running: Running, dead: bool) -> None:
    world = with_another_service((B,))
    with running.flows("b") as old:
        if dead:
            running.gateway.kill()
            write(world, running.gateway.manifests)
            running.world = world
            running.gateway.start()
        else:
            running.change(world)
        assert [ask(x).backend for x in old] == ["b"] * 4
        assert running.outcomes(20) == [{"a": 20}] * 4


def test_a_listener_that_goes_refuses_and_one_that_comes_serves(running: Running) -> None:
    moved = tuple(replace(x, port=PORT + 100) if x.port == PORT else x for x in EVEN.listeners)
    running.change(replace(EVEN, listeners=moved))
    assert running.outcomes(10) == [{REFUSED: 10}] * 4
    for seen in running.outcomes(200, PORT + 100):
        assert wrong_shares(seen, {"a": 1, "b": 1}) == []


def test_a_file_that_cannot_be_read_changes_nothing(running: Running) -> None:
    file = running.gateway.manifests / f"{EVEN.gateway}.yaml"
    good = file.read_text()
    file.write_text(good.replace("weight: 1", "weight: heavy"))
    running.gateway.until(lambda status: "weight" in str(status["source"]["errors"]), "tells what is wrong")
    assert running.wrong({"a": 1, "b": 1}) == []
    file.write_text(good)
    running.gateway.until(lambda status: not status["source"]["errors"], "finds nothing wrong any more")


def test_a_transfer_does_not_notice_any_of_it(running: Running, family: int) -> None:
    with Transfer(running.gateway.lab.client, GATEWAY[family], STREAM_PORT) as transfer:
        for world in (
            with_weights(EVEN, {"a": 5, "b": 1}),
            replace(EVEN, services={"a": (A, C), "b": (B,)}),
            EVEN,
        ):
            running.change(world)
            transfer.until_moved(1_000_000)
        assert transfer.finish().whole
