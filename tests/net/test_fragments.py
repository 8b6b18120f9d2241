"""Datagrams that are larger than the wire takes, both ways, in order and out of it."""

from __future__ import annotations

import itertools
import json
import socket
import struct

import pytest

from lab.gateway import Gateway
from lab.netns import Namespace
from lab.topology import CLIENT, GATEWAY, Address
from lab.traffic.ask import associate
from tests.net.world import TO_A

SIZES = (1472, 1473, 2000, 4000, 20_000, 60_000)
IPV6_FRAGMENT_HEADER = 44
PIECE = 1024


def answer(endpoint: socket.socket) -> bytes:
    """The octets that the backend sends back, without its name."""
    who, _, octets = endpoint.recv(65_535).partition(b"\n")
    assert json.loads(who)["backend"] == "a"
    return octets


def octets_of(size: int) -> bytes:
    return bytes(x * 31 % 251 for x in range(size))


@pytest.mark.parametrize("size", SIZES)
def test_large_datagrams_arrive_whole_both_ways(gateway: Gateway, family: int, size: int) -> None:
    with associate(gateway.lab.client, GATEWAY[family], TO_A) as endpoint:
        for _ in range(5):
            endpoint.send(octets_of(size))
            assert answer(endpoint) == octets_of(size)


@pytest.mark.parametrize("where", ["node", "c"])
def test_large_datagrams_of_the_node_and_of_a_pod(gateway: Gateway, family: int, where: str) -> None:
    namespace = gateway.lab.node if where == "node" else gateway.lab.backends[where]
    with associate(namespace, GATEWAY[family], TO_A) as endpoint:
        endpoint.send(octets_of(5000))
        assert answer(endpoint) == octets_of(5000)


def checksum(*parts: bytes) -> int:
    whole = b"".join(parts)
    total = sum(struct.unpack(f">{len(whole) // 2}H", whole))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (0xFFFF - total) or 0xFFFF


def datagram(source: tuple[Address, int], destination: tuple[Address, int], octets: bytes) -> bytes:
    """Header and octets (an even number of them), with the checksum of the whole."""
    length = 8 + len(octets)
    pseudo = source[0].packed + destination[0].packed + struct.pack(">II", length, socket.IPPROTO_UDP)
    header = struct.pack(">HHHH", source[1], destination[1], length, 0)
    return header[:6] + struct.pack(">H", checksum(pseudo, header, octets)) + octets


def send_fragment(wire: socket.socket, destination: Address, number: int, whole: bytes, start: int) -> None:
    """PIECE octets of the datagram, by a raw socket in the client's namespace."""
    octets, more = whole[start : start + PIECE], start + PIECE < len(whole)
    source = CLIENT[destination.version]
    if destination.version == 4:
        # The kernel fills in the length and the checksum (raw(7)).
        header = struct.pack(">BBHHHBBH", 0x45, 0, 0, number, start // 8 | more << 13, 64, socket.IPPROTO_UDP, 0)
        wire.sendto(header + source.packed + destination.packed + octets, (str(destination), 0))
    else:
        wire.sendto(struct.pack(">BBHI", socket.IPPROTO_UDP, 0, start | more, number) + octets, (str(destination), 0))


def wire_of(namespace: Namespace, family: int) -> socket.socket:
    with namespace.inside():
        if family == 4:
            return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        return socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPV6_FRAGMENT_HEADER)


def test_fragments_in_every_order(gateway: Gateway, family: int) -> None:
    """A gateway that forgets what comes before its first loses all but one of six datagrams."""
    client, octets = gateway.lab.client, octets_of(3000)
    with associate(client, GATEWAY[family], TO_A) as endpoint, wire_of(client, family) as wire:
        own = (CLIENT[family], endpoint.getsockname()[1])
        whole = datagram(own, (GATEWAY[family], TO_A), octets)
        for number, order in enumerate(itertools.permutations(range(0, len(whole), PIECE)), 100):
            for start in order:
                send_fragment(wire, GATEWAY[family], number, whole, start)
            assert answer(endpoint) == octets
