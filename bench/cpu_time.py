"""CPU time of other processes, to the nanosecond.

Rules: POSIX CPU clocks (clock_getcpuclockid(3)): all threads of a process, user and system. Packet work that the
kernel does on the way out of a system call or an interrupt is charged to whoever runs then, which on one busy CPU is
one of the ends, or to the CPU's ksoftirqd, which is asked too.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from pathlib import Path

_CPUCLOCK_SCHED = 2
"""linux/posix-timers.h; the id of a process's clock is made of ~pid."""


def of_processes(pids: Iterable[int]) -> float:
    """Seconds that these processes have run since they began. Raises OSError if one has ended."""
    return sum(time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED) for pid in pids)


def of_children() -> float:
    """Seconds that children of ours which ended (and were waited for) have run."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ksoftirqd(cpu: int) -> int:
    """Pid of the kernel thread that takes over the packet work of a CPU when there is much. Raises LookupError."""
    for comm in Path("/proc").glob("[0-9]*/comm"):
        if comm.read_text() == f"ksoftirqd/{cpu}\n":
            return int(comm.parent.name)
    raise LookupError(f"no ksoftirqd/{cpu}")
