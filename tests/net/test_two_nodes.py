"""Two nodes with the same gateway behind routers that spread clients over them: they agree on who serves whom, and what
becomes of flows when routers lead them to another node.

Backends are on other machines. Where they see the node's address, a flow ends when it comes to another node, and its
client is told at once; where they see the client's, every node can go on with it.
"""

from __future__ import annotations

import itertools
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import pytest

from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World
from lab.servers.witness import PORT, STREAM_PORT
from lab.topology import FAMILIES, GATEWAY
from lab.traffic.ask import END, abort_on_close, ask, associate, connect, outcomes
from lab.traffic.datagrams import Datagrams
from lab.traffic.stream import PATIENCE
from lab.traffic.transfer import Transfer
from lab.wait import until
from tests.net.routers import NODES, Spread
from tests.net.tables import Tables
from tests.net.two_nodes import BACKENDS, CLIENT, Sees, TwoNodes, two_nodes

TUPLES = 16
A, B, C = (Pod(x) for x in BACKENDS.values())
RATE, MOVED = 50_000, 25_000  # octets per second and direction; as many are to go on


def world(weights: dict[str, int], a: Pod | None = A) -> World:
    """`weights`: of Services `ab`, which has the backends a and b, and `c`. `a` None: it has b alone."""
    listeners = (
        *(Listener(protocol, PORT, weights) for protocol in ("TCP", "UDP")),
        Listener("TCP", STREAM_PORT, weights, target=STREAM_PORT),
    )
    return World(listeners, {"ab": (*((a,) if a else ()), B), "c": (C,)})


WORLD = world({"ab": 3, "c": 1})
CHANGES = {
    "a is drained": (world({"ab": 3, "c": 1}, replace(A, ready=False, terminating=True)), {"b", "c"}),
    "other weights": (world({"ab": 1, "c": 4}), {"a", "b", "c"}),
    "as it was": (WORLD, {"a", "b", "c"}),
}
HISTORIES = {1: (WORLD,), 2: (world({"c": 1}, None), world({"c": 1, "ab": 1}, None), WORLD)}
"""What the nodes' manifests said, one after the other: they have learnt of the backends in another order."""

SPREADS = {Sees.NODE: tuple(Spread), Sees.CLIENT: (Spread.PLAIN,)}
"""A resilient group remembers who was where, and two routers do not remember the same: it is for one way only."""


@pytest.fixture(scope="module", params=list(Sees), ids=lambda x: f"sees {x.value}")
def two(request: pytest.FixtureRequest) -> Iterator[TwoNodes]:
    with two_nodes(request.param, HISTORIES) as found:
        yield found


_unused = itertools.count(10_000)  # ports of the client


def open_from(two: TwoNodes, family: int, protocol: str, own_port: int) -> socket.socket:
    """A flow from that port of the client's to the gateway."""
    if protocol == "UDP":
        return associate(two.network.client, GATEWAY[family], PORT, str(CLIENT[family]), own_port)
    connection = connect(two.network.client, GATEWAY[family], PORT, (str(CLIENT[family]), own_port))
    abort_on_close(connection)  # so that the port is free at once
    return connection


def connections(gateway: Gateway) -> int:
    """That the node has given to backends, so far."""
    listeners = gateway.status()["traffic"]["listeners"]
    return sum(backend["connections"] for listener in listeners for backend in listener["backends"])


# ---- Who serves whom


def test_each_node_numbers_the_backends_in_its_own_way(two: TwoNodes) -> None:
    """Else the tests below would show nothing of it."""
    one, other = (Tables(two.gateways[node]).addresses_by_id() for node in NODES)
    assert Counter(one.values()) == Counter(other.values())
    assert one != other


def agree(two: TwoNodes) -> set[str]:
    """Both nodes choose the same backend for each of many flows; returns all that were chosen."""
    chosen: set[str] = set()
    for family, protocol in itertools.product(FAMILIES, ("TCP", "UDP")):
        own_ports = [next(_unused) for _ in range(TUPLES)]
        seen = []
        for node in NODES:
            two.network.lead(node)
            before = connections(two.gateways[node])
            served = {}
            for own_port in own_ports:
                with open_from(two, family, protocol, own_port) as flow:
                    served[own_port] = ask(flow).backend
            assert connections(two.gateways[node]) - before == TUPLES
            seen.append(served)
        assert seen[0] == seen[1], (family, protocol)
        chosen.update(seen[0].values())
    return chosen


def test_both_nodes_choose_the_same_backend(two: TwoNodes) -> None:
    assert agree(two) == set(BACKENDS)
    for what, (manifests, backends) in CHANGES.items():
        two.say(manifests)
        assert agree(two) == backends, what


def test_flows_go_through_both_nodes(two: TwoNodes) -> None:
    for spread, family, protocol in itertools.product(SPREADS[two.network.sees], FAMILIES, ("TCP", "UDP")):
        two.network.lead(*NODES, spread=spread)
        before = {node: connections(gateway) for node, gateway in two.gateways.items()}
        seen = outcomes(two.network.client, GATEWAY[family], PORT, protocol, 50)
        assert seen.keys() <= set(BACKENDS)
        given = {node: connections(gateway) - before[node] for node, gateway in two.gateways.items()}
        assert sum(given.values()) == seen.total()
        assert all(given.values()), (spread, family, protocol)


# ---- Flows that are led to another node


def is_answered(two: TwoNodes) -> None:
    """Whoever comes now is served."""
    for family, protocol in itertools.product(FAMILIES, ("TCP", "UDP")):
        seen = outcomes(two.network.client, GATEWAY[family], PORT, protocol, 20)
        assert seen.keys() <= set(BACKENDS), seen


@dataclass
class Flows:
    """Of a client, that go on."""

    two: TwoNodes
    stack: ExitStack
    transfers: list[Transfer] = field(default_factory=list)
    datagrams: list[Datagrams] = field(default_factory=list)

    def open(self, each: int) -> None:
        """So many more of each kind and family."""
        client = self.two.network.client
        for family in FAMILIES:
            for _ in range(each):
                transfer = Transfer(client, GATEWAY[family], STREAM_PORT, octets_per_second=RATE)
                self.transfers.append(self.stack.enter_context(transfer))
                flow = Datagrams(client, GATEWAY[family], PORT, per_second=20)
                self.datagrams.append(self.stack.enter_context(flow))

    def go_on(self) -> None:
        """Each of them, or it breaks."""
        for moved in [x.further(MOVED) for x in self.transfers] + [x.further(5) for x in self.datagrams]:
            until(moved, "a flow goes on", patience=PATIENCE)

    @property
    def own_ports(self) -> set[int]:
        """Of the client, of all connections."""
        return {x.own_port for x in self.transfers}

    def at(self, node: int) -> set[int]:
        """Those of them whose connection the node knows."""
        return self.own_ports & self.two.established(node)

    def end(self) -> tuple[set[int], set[int]]:
        """Ports of connections that were whole to their end, and of those that were reset; no others are there.

        And no conversation changed its backend.
        """
        whole: set[int] = set()
        reset: set[int] = set()
        for transfer in self.transfers:
            own_port, result = transfer.own_port, transfer.finish()
            was_reset = result.received.reset or "ConnectionResetError" in result.problem
            assert result.whole is not was_reset, result
            (reset if was_reset else whole).add(own_port)
        for flow in self.datagrams:
            assert len(flow.finish().backends) == 1
        return whole, reset


@pytest.fixture
def flows(two: TwoNodes) -> Iterator[Flows]:
    with ExitStack() as stack:
        yield Flows(two, stack)


def test_a_node_dies(two: TwoNodes, flows: Flows) -> None:
    """Its flows alone are concerned, and where the backends see the client the other node goes on with them."""
    two.network.lead(*NODES)

    def both_have_some() -> bool:
        flows.open(4)
        return all(flows.at(node) for node in NODES)

    until(both_have_some, "both nodes have some")
    lost = flows.at(1)
    flows.go_on()
    try:
        two.die(1)
        two.network.lead(2)
        is_answered(two)
        flows.go_on()
        _, reset = flows.end()
        assert reset == (lost if two.network.sees is Sees.NODE else set())
    finally:
        two.revive(1)


def test_a_node_comes_back(two: TwoNodes) -> None:
    """It knows none of the flows that began meanwhile."""
    for spread in SPREADS[two.network.sees]:
        with ExitStack() as stack:
            flows = Flows(two, stack)
            two.network.lead(2, spread=spread)
            flows.open(12)
            flows.go_on()
            before = connections(two.gateways[1])
            two.network.lead(*NODES, spread=spread)
            is_answered(two)
            assert connections(two.gateways[1]) > before
            flows.go_on()
            came = flows.at(1)
            whole, reset = flows.end()
        if spread is Spread.RESILIENT:
            assert not reset | came
        elif two.network.sees is Sees.NODE:
            assert whole
            assert reset
        else:
            assert not reset
            assert came, "it goes on with some"
            assert whole - came


def test_routes_flap(two: TwoNodes, flows: Flows) -> None:
    """Both nodes remember flows of the time before. Who says nothing while it is led elsewhere has missed nothing."""
    two.network.lead(*NODES)
    flows.open(4)
    with ExitStack() as stack:
        silent = [
            stack.enter_context(open_from(two, family, "TCP", next(_unused))) for family in FAMILIES for _ in range(4)
        ]
        served = [ask(x) for x in silent]
        for _ in range(2):
            for nodes in ((2,), (1,), NODES):
                two.network.lead(*nodes)
                flows.go_on()
        assert [ask(x) for x in silent] == served
    whole, reset = flows.end()
    assert bool(reset) is (two.network.sees is Sees.NODE)
    assert bool(whole) is (two.network.sees is Sees.CLIENT)


@pytest.mark.parametrize("orderly", [True, False], ids=["closed", "reset"])
def test_a_port_is_used_again_at_a_node_that_missed_the_end(two: TwoNodes, orderly: bool) -> None:
    for family in FAMILIES:
        own_port = next(_unused)
        two.network.lead(1)
        with open_from(two, family, "TCP", own_port) as connection:
            before = ask(connection)
            two.network.lead(2)
            if two.network.sees is Sees.CLIENT:
                assert ask(connection) == before
                if orderly:
                    connection.send(END)
                    assert not connection.recv(1)
            else:
                with pytest.raises(ConnectionResetError):
                    ask(connection)
        assert own_port in two.established(1)
        two.network.lead(1)
        with open_from(two, family, "TCP", own_port) as connection:
            assert ask(connection).backend == before.backend


def test_a_connection_whose_backend_is_drained_meanwhile(two: TwoNodes) -> None:
    """It goes on at its node; another one would choose another backend, which does not know it."""
    two.network.lead(1)
    with ExitStack() as stack:
        flows = [stack.enter_context(open_from(two, x, "TCP", next(_unused))) for x in FAMILIES for _ in range(10)]
        served = {x: ask(x) for x in flows}
        drained, _ = CHANGES["a is drained"]
        two.say(drained)
        try:
            assert {x: ask(x) for x in flows} == served
            two.network.lead(2)
            for flow in (x for x in flows if served[x].backend == "a"):
                with pytest.raises(ConnectionResetError):
                    ask(flow)
        finally:
            two.say(WORLD)
    assert "a" in {x.backend for x in served.values()}
