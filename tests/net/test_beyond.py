"""A backend on another machine, behind a router: what is on the way there, and what of it the client learns.

    client | uplink0 | node | uplink1 === eth0 | hop | eth1 === eth0 | remote      `a` and `c` are pods on the node

The link behind the router is narrow, and the router is one of those that do not say so.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from lab.gateway import Gateway
from lab.manifests import CLOSED_PORT, Listener, Pod, World, write
from lab.netns import Namespace
from lab.process import run
from lab.servers.witness import PORT, STREAM_PORT, witness, witness_in
from lab.topology import CLIENT, FAMILIES, GATEWAY, NODE, UPLINK, Address, Lab, Shape, backend_addresses
from lab.traffic.ask import ask, outcomes
from lab.traffic.transfer import Transfer
from lab.wait import until
from tests.net.paths import forget_paths, hop, path_mtu

REMOTE = 50  # its backend number
PODS = {"a": 11, "c": 13}
UPLINK1 = "uplink1"
HERE = {4: ip_address("10.203.0.1"), 6: ip_address("fd00:203::1")}  # the node's address on it
ROUTER = {4: ip_address("10.203.0.2"), 6: ip_address("fd00:203::2")}
BEHIND = {4: ip_address("10.204.0.1"), 6: ip_address("fd00:204::1")}  # the router's, on the other side
NARROW, NARROWER = 1400, 1340
ANNOUNCED = {4: 1460, 6: 1440}  # the largest segment that `remote` says it takes: one of a wider link than its own
LOCAL_CLOSED, REMOTE_CLOSED, LOCAL = 7030, 7031, 7032

WORLD = World(
    listeners=(
        Listener("TCP", PORT, {"remote": 1}),
        *(Listener(protocol, LOCAL, {"a": 1}) for protocol in ("TCP", "UDP")),
        Listener("UDP", REMOTE_CLOSED, {"remote": 1}, target=CLOSED_PORT),
        Listener("UDP", LOCAL_CLOSED, {"a": 1}, target=CLOSED_PORT),
        Listener("TCP", STREAM_PORT, {"remote": 1}, target=STREAM_PORT),
    ),
    services={"remote": (Pod(REMOTE),), "a": (Pod(PODS["a"]),)},
    addresses=(*GATEWAY.values(), *NODE.values()),
)

SECRETIVE = """
table inet secretive {
    chain output {
        type filter hook output priority filter
        icmp type destination-unreachable icmp code 4 drop
        icmpv6 type packet-too-big drop
    }
}
"""


def build(lab: Lab, stack: ExitStack) -> Namespace:
    """The router and the machine behind it, which is returned.

    It announces what its route says (`advmss`); made to by a wider interface of its own it would send such segments
    too. The narrow end of a veth takes them only when many come as one, and says that it did not take one alone: so
    its sender counts no retransmission, but probes each half second, and gives up silently after tcp_retries2 of them.
    (Linux 6.18: 4 of 62 transfers had no end that way.)
    """
    router, remote = (Namespace(f"{lab.prefix}{x}") for x in ("hop", "remote"))
    for namespace in (router, remote):
        namespace.create()
        stack.callback(namespace.delete)
    addresses = backend_addresses(REMOTE)
    lab.node.ip(
        f"link add {UPLINK1} type veth peer name eth0 netns {router.name}",
        f"link set {UPLINK1} up",
        f"addr add {HERE[4]}/24 dev {UPLINK1}",
        f"addr add {HERE[6]}/64 dev {UPLINK1} nodad",
        *(f"route add {addresses[x]} via {ROUTER[x]} mtu {NARROW}" for x in FAMILIES),
    )
    router.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
    router.ip(
        f"link add eth1 mtu {NARROW} type veth peer name eth0 mtu {NARROW} netns {remote.name}",
        "link set eth0 up",
        "link set eth1 up",
        f"addr add {ROUTER[4]}/24 dev eth0",
        f"addr add {ROUTER[6]}/64 dev eth0 nodad",
        f"addr add {BEHIND[4]}/24 dev eth1",
        f"addr add {BEHIND[6]}/64 dev eth1 nodad",
        *(f"route add {addresses[x]} dev eth1" for x in FAMILIES),
    )
    run("nft", "-f", "-", namespace=router.path, stdin=SECRETIVE)
    remote.ip(
        "link set eth0 up",
        f"addr add {addresses[4]}/32 dev eth0",
        f"addr add {addresses[6]}/128 dev eth0 nodad",
        *(f"route add {BEHIND[x]} dev eth0" for x in FAMILIES),
        *(f"route add default via {BEHIND[x]} dev eth0 advmss {ANNOUNCED[x]}" for x in FAMILIES),
    )
    return remote


@pytest.fixture(scope="module", params=["stack", "redirect"])
def beyond(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, Namespace]]:
    """A gateway, and the machine behind the router."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("pabeyond", Shape(PODS)))
        remote = build(lab, stack)
        stack.enter_context(witness(lab, "a"))
        stack.enter_context(witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT))
        stack.enter_context(witness_in(lab, lab.client, "outside", CLIENT.values(), PORT))
        manifests = lab.directory / "manifests"
        write(WORLD, manifests)
        gateway = Gateway(lab, manifests, delivery=request.param, options=("--uplink", UPLINK1))
        yield stack.enter_context(gateway), remote


# ---- Path MTU


@pytest.mark.parametrize("who", ["client", "c"])
def test_the_mtu_of_the_route_to_the_backend(beyond: tuple[Gateway, Namespace], who: str, family: int) -> None:
    """It is not locked; nobody else says that the way is narrow."""
    lab = beyond[0].lab
    namespace = lab.client if who == "client" else lab.backends[who]
    forget_paths(namespace)
    with Transfer(namespace, GATEWAY[family], STREAM_PORT, octets_per_second=0) as transfer:
        transfer.until_moved(2_000_000)
        assert transfer.finish().whole
    assert path_mtu(namespace, GATEWAY[family]) == NARROW


@contextlib.contextmanager
def narrower(node: Namespace, family: int) -> Iterator[None]:
    """The node's way to the client is still narrower, and its routes say so."""
    way = f"{CLIENT[family]} dev {UPLINK}"
    node.ip(f"route add {way} mtu {NARROWER}")
    try:
        yield
    finally:
        node.ip(f"route delete {way}")


def test_the_mtu_of_the_route_to_the_client(beyond: tuple[Gateway, Namespace], family: int) -> None:
    gateway, remote = beyond
    with narrower(gateway.lab.node, family), Transfer(gateway.lab.client, GATEWAY[family], STREAM_PORT) as transfer:
        until(lambda: path_mtu(remote, HERE[family]) == NARROWER, "the backend learns how narrow the way is")
        assert transfer.finish().whole
    forget_paths(remote)


# ---- Traceroute


_RECVERR = {4: (socket.SOL_IP, socket.IP_TTL, 11), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 25)}


def tcp_hop(namespace: Namespace, address: Address, port: int, hops: int) -> Address:
    """Who says that a SYN to that address has made so many hops, or the address when it was answered."""
    level, hop_limit, recverr = _RECVERR[address.version]
    kind = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with namespace.inside(), socket.socket(kind, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        probe.setsockopt(level, recverr, 1)
        probe.setsockopt(level, hop_limit, hops)
        error = probe.connect_ex((str(address), port))
        if not error:
            return address
        assert error == errno.EHOSTUNREACH
        _, said, _, _ = probe.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
    ((_, _, data),) = said
    return ip_address(data[20:24] if address.version == 4 else data[24:40])


WAYS = {
    ("client", "remote"): (NODE, ROUTER, GATEWAY),
    ("client", "local"): (NODE, GATEWAY),
    ("c", "remote"): (NODE, ROUTER, GATEWAY),
    ("node", "remote"): (ROUTER, GATEWAY),
}


@pytest.mark.parametrize(("who", "where"), list(WAYS), ids=["-".join(x) for x in WAYS])
def test_traceroute(beyond: tuple[Gateway, Namespace], who: str, where: str, family: int, protocol: str) -> None:
    """Every machine on the way is seen once, and the client knows its own packet in what they quote."""
    lab = beyond[0].lab
    namespace = {"client": lab.client, "node": lab.node}.get(who) or lab.backends[who]
    expected = [x[family] for x in WAYS[who, where]]
    for hops, due in enumerate(expected, 1):
        if protocol == "TCP":
            seen = tcp_hop(namespace, GATEWAY[family], PORT if where == "remote" else LOCAL, hops)
        else:
            seen = hop(namespace, family, hops, REMOTE_CLOSED if where == "remote" else LOCAL_CLOSED)
        assert seen == due, f"hop {hops}"
    assert CLIENT[family] not in expected


# ---- A gateway address that is the node's own


def test_a_connection_of_the_nodes_own_from_a_listeners_port(
    beyond: tuple[Gateway, Namespace], family: int, protocol: str
) -> None:
    """Its answers come to the listener's address and port, and belong to no flow of ours."""
    lab = beyond[0].lab
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    with lab.node.inside(), socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind) as own:
        own.settimeout(5)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind((str(NODE[family]), LOCAL))
        own.connect((str(CLIENT[family]), PORT))
        assert {ask(own).backend for _ in range(3)} == {"outside"}
        assert outcomes(lab.client, NODE[family], LOCAL, protocol, 5) == {"a": 5}
        assert ask(own).backend == "outside"
