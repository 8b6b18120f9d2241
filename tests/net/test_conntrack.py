"""Stack delivery: to the node's connection tracking, and all that stands on it, each flow is an ordinary connection.

No packet is INVALID, and when a connection has ended the node waits for nothing more of it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import pytest

from lab.gateway import Gateway
from lab.loss import lossy
from lab.manifests import Listener, Pod, World, write
from lab.netns import Namespace
from lab.process import run
from lab.servers.witness import PORT, STREAM_PORT, witness, witness_in
from lab.topology import CLIENT, FAMILIES, GATEWAY, NODE, Attachment, Lab, Shape, backend_addresses
from lab.traffic.ask import REFUSED, ask, associate, connect, outcomes
from lab.traffic.transfer import Transfer
from lab.wait import until
from tests.net.endings import backend_ends, backend_resets, client_ends, client_resets, is_reset
from tests.net.lossy import served, until_closed
from tests.net.paths import FAR, FAR_ROUTER, NARROW, forget_paths, hop, moves, narrow, path_mtu
from tests.net.policies import policies, policy
from tests.net.remote import REMOTE, UPLINK, attached
from tests.net.rounds import LARGE
from tests.net.tracking import Tracking
from tests.net.world import PODS

TO_REMOTE, TO_A_TOO, TO_B, EMPTY, UNHEARD = 7010, 7011, 7012, 7021, 7999
ENDS = (client_ends, backend_ends, client_resets, backend_resets)
ONE_IN_SEVEN = 143  # of a thousand
A = Pod(PODS["a"])
WORLD = World(
    listeners=(
        *(Listener(protocol, PORT, {"a": 1}) for protocol in ("TCP", "UDP")),
        Listener("TCP", STREAM_PORT, {"a": 1}, target=STREAM_PORT),
        *(Listener(protocol, TO_REMOTE, {"remote": 1}) for protocol in ("TCP", "UDP")),
        *(Listener(protocol, TO_A_TOO, {"a": 1}) for protocol in ("TCP", "UDP")),
        *(Listener(protocol, TO_B, {"b": 1}) for protocol in ("TCP", "UDP")),  # where no server runs
        Listener("TCP", EMPTY, {"empty": 1}),
    ),
    services={"a": (A,), "b": (Pod(PODS["b"]),), "remote": (Pod(REMOTE),), "empty": ()},
)
SHAPES = {
    "routed pods": Shape(PODS),
    "bridged pods, no offloads": Shape(PODS, Attachment.BRIDGED, offloads=False),
}


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES)
def watched(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, Tracking]]:
    """A gateway, with backends here and out there, whose node is watched."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("skct", request.param))
        remote = attached(lab, stack)
        stack.enter_context(witness(lab, "a"))
        stack.enter_context(witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT))
        write(WORLD, lab.directory / "manifests")
        gateway = Gateway(lab, lab.directory / "manifests", options=("--uplink", UPLINK, "--absent-grace", "1"))
        yield stack.enter_context(gateway), Tracking(lab.node)


@pytest.fixture
def gateway(watched: tuple[Gateway, Tracking]) -> Gateway:
    return watched[0]


@pytest.fixture
def tracking(watched: tuple[Gateway, Tracking]) -> Tracking:
    """The node's, from the test's beginning on."""
    watched[1].begin()
    return watched[1]


@pytest.fixture(params=("client", "node", "pod"))
def who(request: pytest.FixtureRequest, gateway: Gateway) -> Namespace:
    """Who asks."""
    lab = gateway.lab
    found: Namespace = {"client": lab.client, "node": lab.node, "pod": lab.backends["c"]}[request.param]
    return found


@contextmanager
def pods(gateway: Gateway, services: dict[str, tuple[Pod, ...]]) -> Iterator[None]:
    """WORLD with other pods is in force while the block runs."""

    def hold(world: World) -> None:
        gateway.change(lambda: write(world, gateway.manifests))

    hold(replace(WORLD, services={**WORLD.services, **services}))
    try:
        yield
    finally:
        hold(WORLD)


@contextmanager
def routes_forgotten(*ends: Namespace) -> Iterator[None]:
    """After the block, what the ends have learnt of routes."""
    try:
        yield
    finally:
        forget_paths(*ends)


def ended(namespace: Namespace, family: int, port: int) -> None:
    """A connection ends in each way that there is."""
    for end in ENDS:
        with connect(namespace, GATEWAY[family], port) as connection:
            ask(connection)
            end(connection)


def test_connections_of_every_end(gateway: Gateway, tracking: Tracking, who: Namespace, family: int) -> None:
    for port in (PORT, TO_REMOTE):
        ended(who, family, port)
    tracking.must_be_in_order()


def test_a_client_is_seen_with_the_pod_alone(gateway: Gateway, tracking: Tracking, family: int) -> None:
    """Of the gateway's address it sees nothing, and of backends out there not even the connection."""
    for port in (PORT, TO_REMOTE):
        ended(gateway.lab.client, family, port)
    seen = tracking.connections()
    assert len(seen) == len(ENDS)
    pod = backend_addresses(PODS["a"])[family]
    assert {(x.source[0], x.destination) for x in seen} == {(CLIENT[family], (pod, PORT))}


def test_a_port_that_is_used_again_and_again(gateway: Gateway, tracking: Tracking, family: int) -> None:
    client = gateway.lab.client
    with associate(client, GATEWAY[family], PORT) as endpoint:
        own = endpoint.getsockname()
    for end in (client_resets, backend_ends, client_resets, backend_resets, client_ends):
        with connect(client, GATEWAY[family], PORT, (own[0], own[1])) as connection:
            ask(connection)
            end(connection)
    tracking.must_be_in_order()


def test_datagrams(gateway: Gateway, tracking: Tracking, who: Namespace, family: int) -> None:
    for port in (PORT, TO_REMOTE):
        with associate(who, GATEWAY[family], port) as endpoint:
            ask(endpoint)
            endpoint.send(LARGE)
            assert endpoint.recv(65_535).partition(b"\n")[2] == LARGE
    tracking.must_be_in_order()


def test_errors_about_datagrams(gateway: Gateway, tracking: Tracking, who: Namespace, family: int) -> None:
    """Nobody is there, neither at the backend nor, when the answer comes, at the client."""
    with associate(who, GATEWAY[family], TO_B) as endpoint:
        endpoint.send(b"is anybody there?")
        with pytest.raises(ConnectionRefusedError):
            endpoint.recv(2048)
    for port in (PORT, TO_REMOTE):
        with associate(who, GATEWAY[family], port) as endpoint:
            endpoint.send(b"nobody hears the answer\n")
    tracking.must_be_in_order()


@pytest.mark.parametrize("towards", ["pod", "client"])
def test_a_narrow_hop(gateway: Gateway, tracking: Tracking, towards: str, family: int) -> None:
    lab = gateway.lab
    end = backend_addresses(PODS["a"])[family] if towards == "pod" else CLIENT[family]
    way = lab.node.run("ip", "route", "get", str(end)).stdout.split()
    with (
        routes_forgotten(lab.client, lab.backends["a"]),
        narrow(lab.node, end, "dev", way[way.index("dev") + 1]),
        Transfer(lab.client, GATEWAY[family], STREAM_PORT, octets_per_second=0) as transfer,
    ):
        transfer.until_moved(1_000_000)
        assert transfer.finish().whole
        sender, to = (lab.client, GATEWAY) if towards == "pod" else (lab.backends["a"], CLIENT)
        assert path_mtu(sender, to[family]) == NARROW
    tracking.must_be_in_order()


def test_a_traceroute(gateway: Gateway, tracking: Tracking, family: int) -> None:
    seen = [hop(gateway.lab.client, family, hops, TO_B) for hops in (1, 2)]
    assert seen == [NODE[family], GATEWAY[family]]
    tracking.must_be_in_order()


def test_a_client_behind_a_router(gateway: Gateway, tracking: Tracking, far: Namespace, family: int) -> None:
    """What the router says of replies is about connections that the node knows."""
    with narrow(gateway.lab.client, FAR[family], "dev", "far0"):
        moves(far, family)
        assert path_mtu(gateway.lab.backends["a"], FAR[family]) == NARROW
    seen = [hop(far, family, hops, TO_B) for hops in (1, 2, 3)]
    assert seen == [FAR_ROUTER[family], NODE[family], GATEWAY[family]]
    tracking.must_be_in_order()


def test_connections_that_the_gateway_refuses(gateway: Gateway, tracking: Tracking, family: int) -> None:
    """The node never hears of them."""
    for port in (EMPTY, UNHEARD):
        assert outcomes(gateway.lab.client, GATEWAY[family], port, "TCP", 5) == {REFUSED: 5}
    assert tracking.connections() == []
    tracking.must_be_in_order()


def test_connections_that_the_pod_refuses(gateway: Gateway, tracking: Tracking, who: Namespace, family: int) -> None:
    assert outcomes(who, GATEWAY[family], TO_B, "TCP", 5) == {REFUSED: 5}
    tracking.must_be_in_order()


def test_one_port_of_the_client_with_two_listeners_of_a_pod(
    gateway: Gateway, tracking: Tracking, family: int, protocol: str
) -> None:
    """The pod sees the second as the gateway's: its answers come back to the node."""
    make, client = {"TCP": connect, "UDP": associate}[protocol], gateway.lab.client
    with make(client, GATEWAY[family], PORT) as first, client.inside():
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        with socket.socket(kind, first.type) as second:
            second.settimeout(5)
            second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            second.bind(first.getsockname()[:2])
            second.connect((str(GATEWAY[family]), TO_A_TOO))
            peers = [ask(x).peer[0] for _ in range(2) for x in (first, second)]
    assert peers == [CLIENT[family], GATEWAY[family]] * 2
    tracking.must_be_in_order()


LAST_ACKS = """
table inet last-acks {
    chain output { type filter hook output priority filter; tcp flags & (syn|ack|fin|rst|psh) == ack drop; }
}
"""


@contextmanager
def last_acks_lost(client: Namespace) -> Iterator[None]:
    """The client's last ACK of a handshake: without it a connection is open to the client alone."""
    run("nft", "-f", "-", namespace=client.path, stdin=LAST_ACKS)
    try:
        yield
    finally:
        client.run("nft", "delete", "table", "inet", "last-acks")


def test_one_connection_too_many(gateway: Gateway, tracking: Tracking, family: int) -> None:
    """Known as such when its handshake ends: both ends are reset, and the node hears of that too."""
    client = gateway.lab.client
    limit = policy("one", "Gateway", WORLD.gateway, connections={"perListener": 1})
    servers = {PORT: gateway.lab.backends["a"], TO_REMOTE: Namespace(f"{gateway.lab.prefix}remote")}
    with policies(gateway, limit):
        for port, server in servers.items():
            with ExitStack() as stack:
                with last_acks_lost(client):
                    flows = [stack.enter_context(connect(client, GATEWAY[family], port)) for _ in range(3)]
                ask(flows[0])
                for flow in flows[1:]:
                    assert is_reset(flow)
                assert not server.run("ss", "-Htn", "state", "syn-recv").stdout  # it was told first
                assert outcomes(client, GATEWAY[family], port, "TCP", 5) == {REFUSED: 5}
    tracking.must_be_in_order()


def test_a_pod_that_drains(gateway: Gateway, tracking: Tracking) -> None:
    with ExitStack() as stack:
        transfers = [
            stack.enter_context(Transfer(gateway.lab.client, GATEWAY[family], STREAM_PORT)) for family in FAMILIES
        ]
        draining = replace(A, ready=False, terminating=True)
        with pods(gateway, {"a": (draining, Pod(PODS["b"]))}):
            for transfer in transfers:
                transfer.until_moved(1_000_000)
                assert transfer.finish().whole
    tracking.must_be_in_order()


def test_a_pod_that_is_gone(gateway: Gateway, tracking: Tracking, who: Namespace) -> None:
    """A client that goes on is reset; and so is the pod, if it is still there, as connection tracking sees."""
    with ExitStack() as stack:
        flows = [stack.enter_context(connect(who, GATEWAY[family], PORT)) for family in FAMILIES]
        assert [ask(x).backend for x in flows] == ["a"] * len(flows)
        with pods(gateway, {"a": ()}):
            for flow in flows:
                until(partial(is_reset, flow), "a connection to a pod that is gone is reset", every=0.1)
    tracking.must_be_in_order()


@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_wire_that_loses_packets_and_doubles_others(
    gateway: Gateway, tracking: Tracking, side: str, family: int
) -> None:
    lab = gateway.lab
    end = lab.client if side == "client" else lab.backends["a"]
    with lossy(lab, end, seed=family, lose=ONE_IN_SEVEN, double=ONE_IN_SEVEN) as wire:
        with Transfer(lab.client, GATEWAY[family], STREAM_PORT, octets_per_second=100_000) as transfer:
            transfer.until_moved(100_000)
            assert transfer.finish().whole
        assert served(lab.client, family, PORT, 5) == {"a": 5}
        until_closed(lab.client, lab.backends["a"])
        assert wire.lost() > 0
        assert wire.doubled() > 0
    tracking.must_be_in_order()
