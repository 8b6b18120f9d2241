"""What a client asks the gateway, and the answers that are the gateway's own."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import ICMP
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.inet6 import ICMPv6DestUnreach
from scapy.packet import Packet, Raw

from .story import CLIENT_PORT, ip
from .world import V4, Net


def rst(net: Net, port: int, numbers: tuple[str, int, int], client_port: int = CLIENT_PORT) -> Packet:
    flags, seq, ack = numbers
    fields = {"id": 0, "flags": "DF"} if net is V4 else {}
    header = TCPHeader(sport=port, dport=client_port, flags=flags, seq=seq, ack=ack, window=0)
    return ip(net, net.gateway, net.client, **fields) / header


def unreachable(net: Net, asked: Packet) -> Packet:
    """The error quotes the IP header and the first eight octets behind it."""
    fields = {"id": 0, "flags": "DF"} if net is V4 else {}
    error = ICMP(type=3, code=3) if net is V4 else ICMPv6DestUnreach(code=4)
    return ip(net, net.gateway, net.client, **fields) / error / Raw(bytes(asked)[: 28 if net is V4 else 48])


def ask(net: Net, transport: Packet, data: bytes = b"", **fields: Any) -> Packet:
    packet = ip(net, net.client, net.gateway, **fields) / transport
    return packet / Raw(data) if data else packet
