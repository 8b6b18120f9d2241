"""Waiting until no program that ran a moment ago runs any more.

Rules: programs run inside of an RCU read-side section, and membarrier(2) waits for all of those (kernel 4.3); where it
cannot (isolated CPUs: nohz_full), a pause stands in for it that is longer than any packet takes.
"""

from __future__ import annotations

import errno
import platform
import time

from loader.libbpf import checked, ffi, libc

_NR_MEMBARRIER = {"x86_64": 324, "aarch64": 283}
_GLOBAL = 1  # MEMBARRIER_CMD_GLOBAL
_PAUSE = 0.1


def wait_for_running_programs() -> None:
    """Return when every program that was running when this was called has ended."""
    number = _NR_MEMBARRIER.get(platform.machine())
    result = int(libc().syscall(number, _GLOBAL, ffi.NULL, 0)) if number is not None else -1
    if result < 0:
        if number is not None and ffi.errno not in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
            checked(-ffi.errno, "waiting for programs that run")
        time.sleep(_PAUSE)
