"""One trial: this checkout's tests, or another job of its own, on one kernel, from the pieces to the verdict.

Rules:
  - The guest has the checkout at the same path as here, for the environment holds its own path; the job is run by that
    environment's Python.
  - What came back is kept in build/vm/KERNEL/, also when there is no verdict (trouble.txt then says why): junit.xml,
    dmesg.txt, console.log. Of a part of all tests in build/vm/all/KERNEL/PART/.
Must never: leave anything else behind.
"""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from . import accelerator, checkout, debian, environment, host, initramfs, kernels, machine, result, rootfs
from .cache import Cache, default_folder
from .errors import VmError
from .machine import Accelerator, Machine, Output

BOOT_SECONDS = 120
"""On top of the tests' own time: starting takes 4 s on an idle machine, and half a minute was seen on a busy one."""

SLOWNESS = 5
"""How much longer than elsewhere the laboratory waits in a guest: an agent's start took 100 s on an emulated, busy
machine."""

CABLES = 2
"""Client - node - backend (vm-tests/nic)."""

_TROUBLE = "trouble.txt"

Say = Callable[[str], None]
T = TypeVar("T")


def run(
    root: Path, name: str, tests: Sequence[str], *, part: str = "", seconds: int, output: Output, say: Say
) -> result.Result:
    """Boot the kernel that `name` means, give `tests` to pytest there, return the result.

    `root` is the checkout, `part` what those tests are called as a part of all, `seconds` how long they may take;
    progress goes to `say`, pytest's output to `output`.
    Raises VmError when there is no verdict.
    """
    # xunit1 is the form of report in which a test can leave figures of its own.
    report = ["--junitxml=/result/junit.xml", "-o", "junit_family=xunit1"]
    words = ["pytest", *report, *tests]
    return run_module(root, name, words, result.read, part=part, seconds=seconds, output=output, say=say)


def run_module(
    root: Path,
    name: str,
    words: Sequence[str],
    read: Callable[[Path, Path], T],
    *,
    part: str = "",
    seconds: int,
    output: Output,
    say: Say,
    by: Accelerator | None = None,
) -> T:
    """The same with any module and its arguments; what it leaves in /result comes back.

    `read` makes of the archive, and of a folder to unpack it into, what is returned. `by` None: what is best here.
    """
    if not Path(sys.prefix).is_relative_to(root):
        raise VmError(f"run this by the checkout's own environment (make venv); {sys.prefix} is not inside {root}")
    host.require_tools()
    host.require_taps()
    cache = Cache(default_folder(), say)
    with cache.locked():
        kernel = kernels.own(name, cache) if kernels.is_own(name) else debian.fetch(name, cache)
        guest_root = rootfs.build(cache, environment.borrowed_packages())
        runner = by or accelerator.choose(kernel, cache, say)
    with tempfile.TemporaryDirectory(prefix="penstock-vm-") as folder:
        scratch = Path(folder)
        checkout.write_image(scratch / "checkout.squashfs", root)
        job = _job(kernel.release, runner.name, words)
        initramfs.write(scratch / "initramfs", kernel, job, checkout=root, seconds=seconds)
        disks = {"root": guest_root, "modules": kernel.modules_disk, "checkout": scratch / "checkout.squashfs"}
        guest = Machine(kernel.image, scratch / "initramfs", disks, accelerator=runner, cables=CABLES)
        say(f"starting {kernel.release} ({runner.name})")
        with keeping(scratch, kept_in(root, name, part)):
            machine.run(guest, scratch, output, seconds=BOOT_SECONDS + seconds)
            return _read(scratch, read)


def kept_in(root: Path, name: str, part: str = "") -> Path:
    """Where what came back of that kernel is kept."""
    place = root / "build" / "vm"
    return place / "all" / kernels.label(name) / part if part else place / kernels.label(name)


def _job(release: str, accelerator: str, words: Sequence[str]) -> list[str]:
    # Unbuffered, so that what a job that hangs had said before is seen.
    return [
        "env",
        "PYTHONUNBUFFERED=1",
        f"PENSTOCK_KERNEL={release}",
        f"PENSTOCK_ACCELERATOR={accelerator}",
        f"PENSTOCK_LAB_SLOWNESS={SLOWNESS}",
        sys.executable,
        "-m",
        *words,
    ]


def _read(scratch: Path, read: Callable[[Path, Path], T]) -> T:
    unpacked = scratch / "result"
    unpacked.mkdir()
    try:
        return read(scratch / "result.tar", unpacked)
    except VmError as error:
        raise VmError(f"{error}{machine.tail(scratch / 'console.log')}") from error


@contextlib.contextmanager
def keeping(scratch: Path, place: Path) -> Iterator[None]:
    """Whatever happens inside, what came back is in `place` after it, and nothing of an earlier trial is."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        yield
    except BaseException as error:
        (place / _TROUBLE).write_text(str(error) if isinstance(error, VmError) else "it was interrupted")
        raise
    finally:
        for leaving in (scratch / "console.log", *(scratch / "result").glob("*")):
            if leaving.exists():
                shutil.copy(leaving, place)
