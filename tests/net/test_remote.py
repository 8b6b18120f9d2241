"""Backends on other nodes: behind a second uplink, with and without the operator's word that replies pass this node;
and, where there is no such word, with and without offloads on any interface on the way.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from lab.gateway import Gateway
from lab.manifests import CLOSED_PORT, Listener, Pod, World, write
from lab.netns import Namespace
from lab.process import Argument, run
from lab.servers.witness import PORT, STREAM_PORT, witness_in
from lab.topology import CLIENT, GATEWAY, NODE, Lab, Shape, backend_addresses
from lab.traffic.ask import ask, associate, connect, outcomes
from lab.traffic.burst import receive, send_joined, takes_joined
from lab.traffic.transfer import Transfer
from tests.net.remote import HERE, REMOTE, SECOND, UPLINK, attached

PORTS = range(10_000, 30_000)
OWN = 7040  # UDP: to a port of the machine that the tests themselves take

WORLD = World(
    listeners=(
        *(Listener(protocol, PORT, {"remote": 1}) for protocol in ("TCP", "UDP")),
        Listener("TCP", STREAM_PORT, {"remote": 1}, target=STREAM_PORT),
        Listener("UDP", OWN, {"remote": 1}, target=CLOSED_PORT),
    ),
    services={"remote": (Pod(REMOTE),)},
)

OPEN = {"TCP": connect, "UDP": associate}
OPTIONS: dict[str, tuple[Argument, ...]] = {
    "snat": (),
    "two addresses": tuple(word for x in (*HERE.values(), *SECOND.values()) for word in ("--snat-address", str(x))),
    "symmetric": ("--symmetric", "10.201.0.0/24", "--symmetric", "fd00:201::/64"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """`way`: of OPTIONS."""

    delivery: str
    way: str
    offloads: bool = True

    def __str__(self) -> str:
        return "-".join((self.delivery, self.way, *(() if self.offloads else ("no offloads",))))


SETTINGS = [
    *(Setting(delivery, way) for delivery in ("stack", "redirect") for way in OPTIONS),
    *(Setting(delivery, "snat", offloads=False) for delivery in ("stack", "redirect")),
]


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def remote_gateway(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, str]]:
    """A gateway whose only backend is on another machine, and how it reaches it."""
    setting: Setting = request.param
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("ntremote", Shape({"c": 13}, offloads=setting.offloads)))
        remote = attached(lab, stack)
        stack.enter_context(witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT))
        manifests = lab.directory / "manifests"
        write(WORLD, manifests)
        options = ("--uplink", UPLINK, *OPTIONS[setting.way])
        yield stack.enter_context(Gateway(lab, manifests, delivery=setting.delivery, options=options)), setting.way


@pytest.mark.parametrize("who", ["client", "node", "pod", "backend itself"])
def test_whom_the_backend_sees(remote_gateway: tuple[Gateway, str], who: str, family: int, protocol: str) -> None:
    gateway, way = remote_gateway
    lab = gateway.lab
    namespaces = {"client": lab.client, "node": lab.node, "pod": lab.backends["c"]}
    namespace = namespaces.get(who) or Namespace(f"{lab.prefix}remote")
    with OPEN[protocol](namespace, GATEWAY[family], PORT) as endpoint:
        answers = [ask(endpoint) for _ in range(3)]
    (answer,) = set(answers)
    assert answer.backend == "remote"
    said = gateway.sees(backend_addresses(REMOTE)[family])
    assert (said["whom"], said["uplink"]) == ("client" if way == "symmetric" else "node", UPLINK)
    if way == "symmetric" and who == "client":
        assert answer.peer == answer.client
        assert answer.peer[0] == CLIENT[family]
    else:
        lent = {HERE[family], SECOND[family]} if way == "two addresses" else {HERE[family]}
        assert answer.peer[0] in lent
        assert said["addresses"] == sorted(map(str, lent))
        assert answer.peer[1] in PORTS


def test_an_uplink_that_has_no_address_of_the_family_to_lend() -> None:
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("lend", Shape()))
        remote = attached(lab, stack)
        stack.enter_context(witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT))
        write(WORLD, lab.directory / "manifests")
        options: tuple[Argument, ...] = ("--uplink", UPLINK, "--snat-address", str(HERE[4]))
        gateway = stack.enter_context(Gateway(lab, lab.directory / "manifests", options=options))
        for protocol in ("TCP", "UDP"):
            with OPEN[protocol](lab.client, GATEWAY[6], PORT) as endpoint:
                assert ask(endpoint).peer[0] == GATEWAY[6]
        said = gateway.sees(backend_addresses(REMOTE)[6])
        assert (said["whom"], said["uplink"], said["addresses"]) == ("gateway", UPLINK, [])


def test_many_flows(remote_gateway: tuple[Gateway, str], family: int, protocol: str) -> None:
    gateway, _ = remote_gateway
    for namespace in (gateway.lab.client, gateway.lab.node):
        assert outcomes(namespace, GATEWAY[family], PORT, protocol, 300) == {"remote": 300}


# As kube-proxy's and many a firewall's: what connection tracking does not understand is dropped.
CAREFUL = """
table inet careful {
    chain forward {
        type filter hook forward priority filter; policy drop
        ct state invalid drop
        ct state established,related accept
        ip daddr { 10.200.0.0/24, 10.201.0.0/24 } ct state new accept
        ip6 daddr { fd00:200::/64, fd00:201::/64 } ct state new accept
    }
    chain input { type filter hook input priority filter; ct state invalid drop; }
    chain output { type filter hook output priority filter; ct state invalid drop; }
}
"""


@pytest.fixture
def firewall(remote_gateway: tuple[Gateway, str]) -> Iterator[None]:
    """The node drops what its connection tracking does not understand."""
    node = remote_gateway[0].lab.node
    run("nft", "-f", "-", namespace=node.path, stdin=CAREFUL)
    yield
    node.run("nft", "delete", "table", "inet", "careful")


@pytest.mark.parametrize("who", ["client", "node", "pod"])
def test_connection_tracking_is_not_confused(
    remote_gateway: tuple[Gateway, str], firewall: None, who: str, family: int
) -> None:
    gateway, _ = remote_gateway
    lab = gateway.lab
    namespace = {"client": lab.client, "node": lab.node, "pod": lab.backends["c"]}[who]
    for protocol in ("TCP", "UDP"):
        assert outcomes(namespace, GATEWAY[family], PORT, protocol, 30) == {"remote": 30}
    with Transfer(namespace, GATEWAY[family], STREAM_PORT, octets_per_second=0) as transfer:
        transfer.until_moved(5_000_000)
        assert transfer.finish().whole


def test_long_streams_arrive_whole_both_ways(remote_gateway: tuple[Gateway, str], family: int) -> None:
    gateway, _ = remote_gateway
    with Transfer(gateway.lab.client, GATEWAY[family], STREAM_PORT, octets_per_second=0) as transfer:
        transfer.until_moved(20_000_000)
        assert transfer.finish().whole


def test_large_datagrams(remote_gateway: tuple[Gateway, str], family: int) -> None:
    gateway, _ = remote_gateway
    octets = bytes(x * 31 % 251 for x in range(5000))
    with associate(gateway.lab.client, GATEWAY[family], PORT) as endpoint:
        endpoint.send(octets)
        assert endpoint.recv(65_535).partition(b"\n")[2] == octets


BURST = [bytes((number,)) * 1200 for number in range(40)]


@pytest.mark.parametrize("who", ["client", "node", "pod"])
def test_datagrams_in_bursts(remote_gateway: tuple[Gateway, str], who: str, family: int) -> None:
    """Forty from one call, and as many back: with offloads they cross every wire joined, without them none."""
    lab = remote_gateway[0].lab
    remote = Namespace(f"{lab.prefix}remote")
    namespace = {"client": lab.client, "node": lab.node, "pod": lab.backends["c"]}[who]
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with remote.inside(), socket.socket(kind, socket.SOCK_DGRAM) as server:
        server.settimeout(5)
        server.bind((str(backend_addresses(REMOTE)[family]), CLOSED_PORT))
        with associate(namespace, GATEWAY[family], OWN) as client:
            ends = (takes_joined(client), takes_joined(server))
            for sender, receiver in (ends, ends[::-1]):
                send_joined(sender, BURST)
                came, joined = receive(receiver, len(BURST))
                assert sorted(came) == BURST
                assert joined is lab.shape.offloads


def test_the_node_itself_is_not_disturbed(remote_gateway: tuple[Gateway, str], family: int) -> None:
    """Its own connections to that machine are its own."""
    gateway, _ = remote_gateway
    address = backend_addresses(REMOTE)[family]
    assert outcomes(gateway.lab.node, address, PORT, "TCP", 50) == {"remote": 50}
    assert NODE[family] not in HERE.values()
