"""What this kernel can be asked for in a test run. Found by asking, not by version."""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from enum import Enum

_SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
_BPF_PROG_LOAD = 5
_BPF_PROG_TEST_RUN = 10
_BPF_PROG_TYPE_SCHED_CLS = 3
_RETURN_0 = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)

# linux/bpf.h, since 6.16: skb->csum is set before the run, and checked against the packet after it (-EBADMSG).
TEST_SKB_CHECKSUM_COMPLETE = 1 << 2

_libc = ctypes.CDLL(None, use_errno=True)


class Checksums(Enum):
    """How the packet's checksum stands when the program sees it (linux/skbuff.h, ip_summed)."""

    NONE = 0
    COMPLETE = TEST_SKB_CHECKSUM_COMPLETE


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, 128)
    result: int = _libc.syscall(_SYS_BPF, command, buffer, ctypes.sizeof(buffer))
    return result


def _runs_with(flags: int) -> bool:
    instructions = ctypes.create_string_buffer(_RETURN_0)
    license_ = ctypes.create_string_buffer(b"GPL")
    load = struct.pack("=IIQQ", _BPF_PROG_TYPE_SCHED_CLS, 2, ctypes.addressof(instructions), ctypes.addressof(license_))
    fd = _bpf(_BPF_PROG_LOAD, load)
    if fd < 0:
        return False
    try:
        frame = ctypes.create_string_buffer(bytes(12) + b"\x08\x00" + bytes(50))
        run = struct.pack("=IIIIQQIIIIQQI", fd, 0, 64, 0, ctypes.addressof(frame), 0, 1, 0, 0, 0, 0, 0, flags)
        return _bpf(_BPF_PROG_TEST_RUN, run) == 0
    finally:
        os.close(fd)


@functools.cache
def checksum_modes() -> tuple[Checksums, ...]:
    """The states of a packet's checksum that a test run can make here."""
    if _runs_with(Checksums.COMPLETE.value):
        return (Checksums.NONE, Checksums.COMPLETE)
    return (Checksums.NONE,)
