"""Frames as the programs meet them."""

from __future__ import annotations

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from routes.plan import Address

CLIENT, CLIENT6 = "10.8.0.1", "fd00:8::1"


def frame(source: str | Address, destination: str | Address, transport: Packet) -> Packet:
    """A frame of either family, addressed to loopback's MAC: BPF_PROG_TEST_RUN receives it there."""
    ip = IPv6 if ":" in str(source) else IP
    return Ether(dst="00:00:00:00:00:00") / ip(src=str(source), dst=str(destination)) / transport


def syn(client: str, gateway: Address, sport: int = 4000) -> Packet:
    """A client opens a connection to port 80."""
    return frame(client, gateway, TCP(sport=sport, dport=80, flags="S", seq=1000))


def datagram(source: str | Address, destination: str | Address, sport: int, dport: int) -> Packet:
    """A UDP datagram of ten octets."""
    return frame(source, destination, UDP(sport=sport, dport=dport) / b"ten octets")
