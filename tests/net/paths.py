"""Ways with more hops than one, and narrow ones; what ends and routers say of them."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from lab.netns import Namespace
from lab.topology import GATEWAY, Address, Lab
from lab.traffic.ask import associate
from lab.traffic.transfer import Transfer
from tests.net.world import NOBODY, STREAM

NARROW = 1400
FAR = {4: ip_address("10.202.0.2"), 6: ip_address("fd00:202::2")}
FAR_ROUTER = {4: ip_address("10.202.0.1"), 6: ip_address("fd00:202::1")}


@contextlib.contextmanager
def behind_the_client(lab: Lab) -> Iterator[Namespace]:
    """A further client, `far`, to which the lab's client is the router."""
    namespace = Namespace(f"{lab.prefix}far")
    namespace.create()
    router = lab.client
    try:
        router.ip(
            f"link add far0 type veth peer name eth0 netns {namespace.name}",
            "link set far0 up",
            f"addr add {FAR_ROUTER[4]}/24 dev far0",
            f"addr add {FAR_ROUTER[6]}/64 dev far0 nodad",
        )
        router.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        namespace.ip(
            "link set eth0 up",
            f"addr add {FAR[4]}/24 dev eth0",
            f"addr add {FAR[6]}/64 dev eth0 nodad",
            f"route add default via {FAR_ROUTER[4]}",
            f"route add default via {FAR_ROUTER[6]}",
        )
        yield namespace
    finally:
        router.sysctl({"net.ipv4.ip_forward": 0, "net.ipv6.conf.all.forwarding": 0})
        router.run("ip", "link", "delete", "far0", check=False)
        namespace.delete()


@contextlib.contextmanager
def narrow(namespace: Namespace, to: Address, *way: str) -> Iterator[None]:
    """The namespace forwards to that address through a hop of NARROW octets."""
    route = f"{to} {' '.join(way)} mtu lock {NARROW}"
    namespace.ip(f"route replace {route}")
    try:
        yield
    finally:
        namespace.ip(f"route replace {to} {' '.join(way)}")


def path_mtu(namespace: Namespace, to: Address) -> int:
    """What the namespace has learnt of the way there; 0: nothing."""
    words = namespace.run("ip", "route", "get", str(to)).stdout.split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else 0


def forget_paths(*namespaces: Namespace) -> None:
    """What they have learnt of routes."""
    for namespace in namespaces:
        namespace.run("ip", "route", "flush", "cache")
        namespace.run("ip", "-6", "route", "flush", "cache")


def moves(namespace: Namespace, family: int) -> None:
    with Transfer(namespace, GATEWAY[family], STREAM, octets_per_second=0) as transfer:
        transfer.until_moved(2_000_000)
        assert transfer.finish().whole


# struct sock_extended_err (linux/errqueue.h), up to and with the address of who said it.
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_RECVERR = {4: (socket.SOL_IP, socket.IP_TTL, 11), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 25)}


def hop(namespace: Namespace, family: int, hops: int, port: int = NOBODY) -> Address:
    """Who drops a datagram to the gateway that may make so many hops, or says that nobody is there."""
    level, hop_limit, recverr = _RECVERR[family]
    with associate(namespace, GATEWAY[family], port) as endpoint:
        endpoint.setsockopt(level, recverr, 1)
        endpoint.setsockopt(level, hop_limit, hops)
        endpoint.send(b"how far?")
        with pytest.raises(OSError, match=r"No route to host|Connection refused"):
            endpoint.recv(2048)
        _, said, _, _ = endpoint.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
    ((_, _, data),) = said
    offender = data[_EXTENDED_ERROR.size :]
    return ip_address(offender[4:8] if family == 4 else offender[8:24])
