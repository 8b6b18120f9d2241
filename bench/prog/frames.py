"""The packets, as frames at the interface where a program sits."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from lab.topology import Address

PAYLOAD: Final = b"x" * 60
HOPS: Final = 255
"""As many as there are: `redirect` takes one off in every run."""


class Hook(enum.Enum):
    """Where a program sits; the value is its name in abi.h."""

    UPLINK_INGRESS = "HOOK_UPLINK_INGRESS"
    UPLINK_EGRESS = "HOOK_UPLINK_EGRESS"
    POD_INGRESS = "HOOK_POD_INGRESS"

    @property
    def program(self) -> str:
        """The program's name: hooks and programs are called the same."""
        return self.value.removeprefix("HOOK_").lower()


@dataclass(frozen=True, slots=True)
class Interface:
    """What a frame and a context say of it."""

    ifindex: int
    mac: bytes

    def context(self) -> bytes:
        """A struct __sk_buff (linux/bpf.h) in which ifindex alone is set."""
        return struct.pack("=10II", *[0] * 10, self.ifindex).ljust(192, b"\0")


End = tuple[Address, int]
"""Address and port."""


def _frame(interface: Interface, packet: Packet) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:01", dst=interface.mac.hex(":")) / packet)


def _ip(source: Address, destination: Address) -> Packet:
    if source.version == 4:
        return IP(src=str(source), dst=str(destination), ttl=HOPS)
    return IPv6(src=str(source), dst=str(destination), hlim=HOPS)


def tcp(
    interface: Interface,
    source: End,
    destination: End,
    flags: str = "A",
    *,
    seq: int = 1001,
    ack: int = 5001,
    payload: bytes = PAYLOAD,
) -> bytes:
    """A TCP segment, checksums filled in."""
    segment = TCP(sport=source[1], dport=destination[1], flags=flags, seq=seq, ack=ack, window=65535)
    return _frame(interface, _ip(source[0], destination[0]) / segment / Raw(payload))


def udp(interface: Interface, source: End, destination: End) -> bytes:
    """A datagram, checksums filled in."""
    datagram = UDP(sport=source[1], dport=destination[1])
    return _frame(interface, _ip(source[0], destination[0]) / datagram / Raw(PAYLOAD))


def arp(interface: Interface, source: Address, wanted: Address) -> bytes:
    """Who has `wanted`?"""
    return _frame(interface, ARP(op=1, psrc=str(source), pdst=str(wanted), hwsrc="02:00:00:00:00:01"))
