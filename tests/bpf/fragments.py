"""A datagram in fragments, from a frame that is larger than any wire takes."""

from __future__ import annotations

import struct

from .wire import ETH, UDP, layout, ones_sum

PIECE = 1200  # octets of a fragment, a multiple of 8


def cut(frame: bytes, number: int = 7, *, size: int = PIECE) -> list[bytes]:
    """The frame's datagram in fragments, in order."""
    at = layout(frame)
    assert at is not None
    payload = frame[at.l4 : at.end]
    return [
        piece(frame, payload[start : start + size], start, number, more=start + size < len(payload))
        for start in range(0, len(payload), size)
    ]


def piece(frame: bytes, octets: bytes, start: int, number: int, *, more: bool) -> bytes:
    """One fragment of the frame's datagram: these octets, which `start` others are before."""
    at = layout(frame)
    assert at is not None
    if frame[12:14] == b"\x08\x00":
        header = bytearray(frame[ETH : at.l4])
        header[2:8] = struct.pack(">HHH", len(header) + len(octets), number, start // 8 | more << 13)
        header[10:12] = b"\0\0"
        header[10:12] = (0xFFFF - ones_sum(bytes(header))).to_bytes(2)
        return frame[:ETH] + bytes(header) + octets
    header = bytearray(frame[ETH : at.l4])
    header[4:7] = struct.pack(">HB", 8 + len(octets), 44)
    return frame[:ETH] + bytes(header) + struct.pack(">BBHI", UDP, 0, start | more, number) + octets
