"""A node whose uplink and pods are taps: frames go in and out with a virtio-net header, so that a packet can come with
its checksum left for the NIC to finish (CHECKSUM_PARTIAL), or as a super-packet, and meets programs that are attached.

Rules: what leaves is read with a deadline. A tap finishes checksums and cuts super-packets before it gives them out,
as a NIC would, unless it is told that its reader does that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loader.attach import Direction, attach, attachments, detach
from loader.objects import Object

from . import objects as o
from .wire import CHECKSUM_AT, TCP, layout, ones_sum, pseudo_header
from .world import MACS, Node

_TUN = Path("/dev/net/tun")
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x2, 0x1000, 0x4000
_TUN_F_CSUM = 1
_PATIENCE = 5.0

# struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
_HEADER = struct.Struct("=BBHHHH")
NEEDS_CSUM = 1
_GSO = {4: 1, 6: 4}  # VIRTIO_NET_HDR_GSO_TCPV4, _TCPV6


@dataclass(frozen=True, slots=True)
class Received:
    """A frame that came out, and where its checksum is still to be finished (None: it is done)."""

    frame: bytes
    csum_start: int | None


class Tap:
    """One interface of the node; must be made inside its namespace."""

    def __init__(self, name: str) -> None:
        if not _TUN.exists():  # where nobody loads modules on demand
            subprocess.run(["modprobe", "tun"], check=True, timeout=60)
        self.fd = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(self.fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
        self._poll = select.poll()  # select() takes no descriptor from 1024 on, and open rigs hold more
        self._poll.register(self.fd, select.POLLIN)

    def reader_finishes_checksums(self, *, on: bool) -> None:
        fcntl.ioctl(self.fd, _TUNSETOFFLOAD, _TUN_F_CSUM if on else 0)

    def send(self, frame: bytes) -> None:
        """A frame that is finished."""
        os.write(self.fd, _HEADER.pack(0, 0, 0, 0, 0, 0) + frame)

    def send_unfinished(self, frame: bytes, *, gso_size: int = 0) -> None:
        """The TCP or UDP frame with only the pseudo header's sum in its checksum field."""
        at = layout(frame)
        assert at is not None
        field = CHECKSUM_AT[at.protocol]
        sum_ = ones_sum(pseudo_header(frame, at)).to_bytes(2)
        unfinished = frame[: at.l4 + field] + sum_ + frame[at.l4 + field + 2 :]
        header_size = at.l4 + (frame[at.l4 + 12] >> 4) * 4 if at.protocol == TCP else at.l4 + 8
        gso_type = _GSO[4 if frame[14] >> 4 == 4 else 6] if gso_size else 0
        header = _HEADER.pack(NEEDS_CSUM, gso_type, header_size if gso_size else 0, gso_size, at.l4, field)
        os.write(self.fd, header + unfinished)

    def drain(self) -> None:
        """Forget what has come out."""
        with contextlib.suppress(BlockingIOError):
            while True:
                os.read(self.fd, 1 << 17)

    def receive(self, wanted: Callable[[bytes], bool]) -> Received:
        """The next frame that is wanted; AssertionError when none comes."""
        deadline = time.monotonic() + _PATIENCE
        while self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            data = os.read(self.fd, 1 << 17)
            flags, _, _, _, csum_start, _ = _HEADER.unpack_from(data)
            frame = data[_HEADER.size :]
            if wanted(frame):
                return Received(frame, csum_start if flags & NEEDS_CSUM else None)
        raise AssertionError("nothing of the kind came out")

    def close(self) -> None:
        os.close(self.fd)


class TapNode(Node):
    """The node of world.py, its uplink and pods being taps."""

    def __init__(self) -> None:
        super().__init__()
        with self.node.inside():
            self.taps = {name: Tap(name) for name in ("uplink", "pod0", "pod1")}
        self.node.ip("".join(f"link set {name} address {MACS[name][0]}\n" for name in self.taps))
        self.configure()

    def close(self) -> None:
        for tap in self.taps.values():
            tap.close()
        super().close()


@contextlib.contextmanager
def attached(node: Node, loaded: Object, pins: Path) -> Iterator[None]:
    """The programs on their interfaces, through the loader. Must be entered inside the node."""
    places = (
        (o.UPLINK_INGRESS, "uplink", Direction.INGRESS),
        (o.UPLINK_EGRESS, "uplink", Direction.EGRESS),
        (o.LOCAL_EGRESS, "penstock0", Direction.EGRESS),
        (o.POD_INGRESS, "pod0", Direction.INGRESS),
    )
    try:
        for hook, interface, direction in places:
            attach(loaded.program(o.PROGRAMS[hook]), node.device[interface].ifindex, direction, pins)
        yield
    finally:
        for found in attachments(pins):
            detach(found, pins)
