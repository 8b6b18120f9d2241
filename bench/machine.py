"""The machine that measures: which CPU everything is pinned to, and what to say of it in the report."""

from __future__ import annotations

import os
import platform
import textwrap
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


def runner() -> str | None:
    """What runs the instructions of this virtual machine, as vm-tests says; None on the machine itself."""
    return os.environ.get("PENSTOCK_ACCELERATOR")


def caveat() -> str:
    """What to say of figures that were taken in a virtual machine, as an item of a list; else nothing."""
    if runner() is None:
        return ""
    said = f"""In a virtual machine ({runner()}), for the sake of its kernel. There is no cache to miss and no lock that
        waits in such a one: what ways cost relative to each other is another than on hardware, and figures of this page
        are to be compared with each other alone."""
    return textwrap.fill(" ".join(said.split()), 120, initial_indent="- ", subsequent_indent="  ") + "\n"


def description() -> str:
    """Processor, number of CPUs, kernel."""
    models = [x.split(":", 1)[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
    model = models[0] if models else platform.machine()
    where = f", in a virtual machine ({runner()})" if runner() else ""
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}{where}"


def load() -> float:
    """Load average of the last minute: what else the machine was doing."""
    return os.getloadavg()[0]
