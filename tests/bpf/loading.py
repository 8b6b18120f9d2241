"""Where and with which settings the programs are loaded for a rig, and the clock that they read.

Must never: leave a pin: the bpffs is mounted nowhere and ends with us.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loader.spec import ObjectSpec

from . import objects as o
from .services import SIZES
from .world import Node

_CLOCK_MONOTONIC_COARSE = 6  # linux/time.h


def now() -> int:
    """The programs' clock (bpf/clock.h)."""
    return int(time.clock_gettime(_CLOCK_MONOTONIC_COARSE))


_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSCONFIG_CMD_CREATE = 6
_libc = ctypes.CDLL(None, use_errno=True)


def _syscall(*arguments: Any) -> int:
    result: int = _libc.syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@contextlib.contextmanager
def private_bpffs() -> Iterator[Path]:
    """A BPF file system that is mounted nowhere: reached through this process's descriptor, gone with it."""
    context = _syscall(_FSOPEN, b"bpf", 1)
    try:
        _syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        mount = _syscall(_FSMOUNT, context, 1, 0)
    finally:
        os.close(context)
    try:
        yield Path(f"/proc/self/fd/{mount}")
    finally:
        os.close(mount)


def spec(world: Node, settings: Mapping[str, int], sizes: Mapping[str, int], path: Path = o.TC_OBJECT) -> ObjectSpec:
    """tc.bpf.o, or another object, for that world."""
    rodata = {
        "local_ifindex": world.device["penstock0"].ifindex,
        "source_buckets": {**SIZES, **sizes}["source_connections"],
        **settings,
    }
    return ObjectSpec(path, rodata, {**SIZES, **sizes})
