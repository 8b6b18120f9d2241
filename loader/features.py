"""What this kernel can do, found by trying each thing once: never by its version, which distributions patch.

Rules: a probe leaves nothing behind and touches no interface. Needs the privileges that loading does.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loader import tcx
from loader.errors import InterfaceGone, LoaderError
from loader.hook import Direction
from loader.libbpf import checked, ffi, lib
from loader.maps import MapType
from loader.program import TEST_SKB_CHECKSUM_COMPLETE, Program

_SCHED_CLS = 3  # enum bpf_prog_type
_HELPER_REDIRECT_NEIGH, _HELPER_TIMER_INIT, _HELPER_LOOP = 152, 169, 181
_NO_INTERFACE = 0x7FFFFFFF
_INSTRUCTION = struct.Struct("=BBhi")
_RETURN_0 = _INSTRUCTION.pack(0xB7, 0, 0, 0) + _INSTRUCTION.pack(0x95, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Features:
    """`kernel`: its release. The others: is it there."""

    kernel: str
    tcx: bool  # several programs on a hook, links
    bpf_timer: bool
    bpf_loop: bool
    redirect_neigh: bool
    batch: bool  # many map entries in one call
    test_run_checksum: bool  # BPF_F_TEST_SKB_CHECKSUM_COMPLETE; asked by tests/bpf alone


SINCE: Mapping[str, str] = {
    "tcx": "6.6",
    "bpf_timer": "5.15",
    "bpf_loop": "5.17",
    "redirect_neigh": "5.10",
    "batch": "5.6",
    "test_run_checksum": "6.11",
}
"""Each feature, and the mainline version that it came with: from there on it must be found. (Before, a distribution may
have it too.)"""


def is_at_least(release: str, version: str) -> bool:
    """Is the kernel of that release (`uname -r`) as new as `version`, or newer, by its number?"""
    found = re.match(r"(\d+)\.(\d+)", release)
    return found is not None and tuple(map(int, found.groups())) >= tuple(map(int, version.split(".")))


@functools.cache
def probe() -> Features:
    """Tries everything, the first time. PermissionDenied without root."""
    with _program(_RETURN_0) as fd:
        return Features(
            kernel=os.uname().release,
            tcx=_has_tcx(fd),
            bpf_timer=_has_helper(_HELPER_TIMER_INIT),
            bpf_loop=_has_helper(_HELPER_LOOP),
            redirect_neigh=_has_helper(_HELPER_REDIRECT_NEIGH),
            batch=_has_batch(),
            test_run_checksum=_has_test_run_checksum(fd),
        )


def _has_tcx(fd: int) -> bool:
    """A kernel with TCX complains of the interface, one without of the attach type."""
    try:
        os.close(tcx.create(fd, _NO_INTERFACE, Direction.INGRESS))
    except InterfaceGone:
        return True
    except LoaderError:
        return False
    return True


def _has_helper(number: int) -> bool:
    return bool(lib().libbpf_probe_bpf_helper(_SCHED_CLS, number, ffi.NULL) == 1)


def _has_batch() -> bool:
    fd = checked(lib().bpf_map_create(MapType.HASH, ffi.NULL, 4, 4, 1, ffi.NULL), "making a map")
    try:
        room, count = ffi.new("char[16]"), ffi.new("uint32_t *", 1)
        result = lib().bpf_map_lookup_batch(fd, ffi.NULL, room, room + 4, room + 8, count, ffi.NULL)
    finally:
        os.close(fd)
    return bool(result in (0, -errno.ENOENT))


def _has_test_run_checksum(fd: int) -> bool:
    try:
        Program(fd, "probe").test_run(bytes(64), flags=TEST_SKB_CHECKSUM_COMPLETE)
    except LoaderError as error:
        return getattr(error, "errno", None) == errno.EBADMSG
    return True


@contextlib.contextmanager
def _program(code: bytes) -> Iterator[int]:
    count = len(code) // _INSTRUCTION.size
    fd = checked(
        lib().bpf_prog_load(_SCHED_CLS, ffi.NULL, b"GPL", ffi.from_buffer(code), count, ffi.NULL), "loading a program"
    )
    try:
        yield fd
    finally:
        os.close(fd)
