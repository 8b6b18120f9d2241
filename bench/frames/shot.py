"""A volley: frames out of the client's interface, by the kernel itself, into the driver of the node's.

BPF_PROG_TEST_RUN with LIVE_FRAMES (kernel 5.18): an XDP program that answers XDP_TX has its frames sent out of the
interface that they seem to have come in by, in batches of 64, as a driver's receive ring hands them over.

Decides: what a frame looks like on the wire: `FRAME` octets, whatever its protocol.
Rules: the frame continues a connection that real sockets have made and have used a moment ago: its numbers are those
that the client would send next, so whoever follows connections takes it for one of them.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address
from typing import Final

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from loader.libbpf import checked, ffi, lib
from loader.program import Program

FRAME: Final = 96
MARK: Final = struct.pack("=Q", 0x746F687374736E65)
"""Both as in bench/frames.bpf.c."""

_LIVE_FRAMES: Final = 1 << 1  # linux/bpf.h: BPF_F_TEST_XDP_LIVE_FRAMES
_BATCH: Final = 64
_REPAIR, _QUEUE, _SEQUENCE = 19, 20, 21  # linux/tcp.h: TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ
_ON, _OFF_SILENTLY, _RECEIVE_QUEUE, _SEND_QUEUE = 1, -1, 1, 2


def _numbers(connection: socket.socket) -> tuple[int, int]:
    """The next sequence number that an idle connection would send, and the next that it waits for."""
    connection.setsockopt(socket.IPPROTO_TCP, _REPAIR, _ON)
    try:
        found = []
        for queue in (_SEND_QUEUE, _RECEIVE_QUEUE):
            connection.setsockopt(socket.IPPROTO_TCP, _QUEUE, queue)
            found.append(connection.getsockopt(socket.IPPROTO_TCP, _SEQUENCE) & 0xFFFFFFFF)
    finally:
        connection.setsockopt(socket.IPPROTO_TCP, _REPAIR, _OFF_SILENTLY)
    return found[0], found[1]


def frame_of(endpoint: socket.socket, smac: str, dmac: str) -> bytes:
    """The next frame of that idle socket's flow, checksums filled in."""
    (source, sport, *_), (destination, dport, *_) = endpoint.getsockname(), endpoint.getpeername()
    layers: Packet
    if ip_address(source).version == 4:
        layers = Ether(src=smac, dst=dmac) / IP(src=source, dst=destination)
    else:
        layers = Ether(src=smac, dst=dmac) / IPv6(src=source, dst=destination)
    if endpoint.type == socket.SOCK_STREAM:
        seq, ack = _numbers(endpoint)
        # Pushed, so that GRO does not wait for more: each frame is a packet of its own.
        layers /= TCP(sport=sport, dport=dport, flags="PA", seq=seq, ack=ack, window=502)
    else:
        layers /= UDP(sport=sport, dport=dport)
    return bytes(layers / Raw(MARK.rjust(FRAME - len(layers), b"x")))


def inject(program: Program, frame: bytes, ifindex: int, frames: int) -> None:
    """Send it so often out of interface `ifindex` of the network namespace that this thread is in."""
    context = ffi.from_buffer(struct.pack("=IIIIII", 0, len(frame), 0, ifindex, 0, 0))  # struct xdp_md
    data = ffi.from_buffer(frame)
    options = ffi.new(
        "struct test_run_opts *",
        {
            "sz": ffi.sizeof("struct test_run_opts"),
            "data_in": data,
            "data_size_in": len(frame),
            "ctx_in": context,
            "ctx_size_in": len(context),
            "repeat": frames,
            "flags": _LIVE_FRAMES,
            "batch_size": _BATCH,
        },
    )
    checked(lib().bpf_prog_test_run_opts(program.fd, options), "injecting frames")
