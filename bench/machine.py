"""The machine that measures: which CPU everything is pinned to, and what to say of it in the report."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def pin(cpu: int) -> None:
    """Move this process, and so all that it starts from now on, to one CPU."""
    os.sched_setaffinity(0, {cpu})


def prefer(niceness: int) -> None:
    """Change the scheduling priority of this process and of all that it starts from now on."""
    os.setpriority(os.PRIO_PROCESS, 0, niceness)


def last_cpu() -> int:
    """Interrupts are mostly taken on the first CPU."""
    return max(os.sched_getaffinity(0))


def description() -> str:
    """Processor, number of CPUs, kernel."""
    models = [x.split(":", 1)[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
    model = models[0] if models else platform.machine()
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def load() -> float:
    """Load average of the last minute: what else the machine was doing."""
    return os.getloadavg()[0]
