"""One trial: this checkout's tests on one kernel, from the pieces to the verdict.

Rules:
  - The guest has the checkout at the same path as here, for the environment holds its own path; the job is pytest, run
    by that environment.
  - What came back is kept in build/vm/LINE/, also when there is no verdict: junit.xml, dmesg.txt, console.log.
Must never: leave anything else behind.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import checkout, environment, host, initramfs, kernels, machine, result, rootfs
from .cache import Cache, default_folder
from .errors import VmError
from .machine import Machine

BOOT_SECONDS = 120
"""On top of the tests' own time: starting takes 4 s on an idle machine, and half a minute was seen on a busy one."""


def run(root: Path, line: str, tests: Sequence[str], seconds: int, say: Callable[[str], None]) -> result.Result:
    """Boot the newest kernel of `line`, give `tests` to pytest there, return the result.

    `root` is the checkout, `seconds` how long the tests may take; progress goes to `say`, pytest's output to standard
    output. Raises VmError when there is no verdict.
    """
    if not Path(sys.prefix).is_relative_to(root):
        raise VmError(f"run this by the checkout's own environment (make venv); {sys.prefix} is not inside {root}")
    host.require_tools()
    cache = Cache(default_folder(), say)
    with cache.locked():
        kernel = kernels.fetch(line, cache)
        guest_root = rootfs.build(cache, environment.borrowed_packages())
    kept = root / "build" / "vm" / line
    with tempfile.TemporaryDirectory(prefix="penstock-vm-") as name:
        scratch = Path(name)
        checkout.write_image(scratch / "checkout.squashfs", root)
        initramfs.write(scratch / "initramfs", kernel, _job(line, tests), checkout=root, seconds=seconds)
        disks = {"root": guest_root, "modules": kernel.modules_disk, "checkout": scratch / "checkout.squashfs"}
        guest = Machine(kernel.image, scratch / "initramfs", disks)
        say(f"starting {kernel.release} (software emulation)")
        start = time.monotonic()
        with _keeping(scratch, kept):
            machine.run(guest, scratch, sys.stdout.buffer, seconds=BOOT_SECONDS + seconds)
            outcome = _read(scratch)
    say(f"{outcome.release}: {time.monotonic() - start:.0f} s in the machine; kept in {kept.relative_to(root)}")
    return outcome


def _job(line: str, tests: Sequence[str]) -> list[str]:
    # xunit1 is the form of report in which a test can leave figures of its own.
    report = ["--junitxml=/result/junit.xml", "-o", "junit_family=xunit1"]
    # Unbuffered, so that what a test that hangs had said before is seen.
    return [
        "env",
        "PYTHONUNBUFFERED=1",
        f"PENSTOCK_KERNEL_LINE={line}",
        sys.executable,
        "-m",
        "pytest",
        *report,
        *tests,
    ]


def _read(scratch: Path) -> result.Result:
    unpacked = scratch / "result"
    unpacked.mkdir()
    try:
        return result.read(scratch / "result.tar", unpacked)
    except VmError as error:
        raise VmError(f"{error}{machine.tail(scratch / 'console.log')}") from error


@contextmanager
def _keeping(scratch: Path, kept: Path) -> Iterator[None]:
    """Whatever happens inside, what came back is in `kept` after it, and nothing of an earlier trial is."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    try:
        yield
    finally:
        for leaving in (scratch / "console.log", *(scratch / "result").glob("*")):
            if leaving.exists():
                shutil.copy(leaving, kept)
