"""Run tests on another kernel: `python -m vmtest LINE TEST...`, from the checkout's root, by its environment's Python.

Exit code: 0 when every test passed in the guest, 1 when not, 2 when there was no verdict (the message says why).
What came back is left in build/vm/LINE/: junit.xml, dmesg.txt, console.log.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from . import checkout, environment, host, initramfs, kernels, machine, result, rootfs
from .cache import Cache, default_folder
from .errors import VmError

BOOT_SECONDS = 60
"""On top of the tests' own time: starting takes 4 s on an idle machine; a busy one may take its time."""


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="vmtest", description="Run tests on another kernel, in a virtual machine.")
    parser.add_argument("line", help=f"the kernel: {', '.join(kernels.LINES)}")
    parser.add_argument("tests", nargs="+", help="what to give to pytest in the guest")
    parser.add_argument("--seconds", type=int, default=600, help="how long the tests may take (default: %(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        outcome = run(options.line, options.tests, options.seconds)
    except VmError as error:
        print(f"error: {options.line}: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if outcome.good else 1


def run(line: str, tests: Sequence[str], seconds: int) -> result.Result:
    """Boot that kernel, run the tests, return their result; the guest's output goes to standard output."""
    root = Path.cwd()
    if not Path(sys.prefix).is_relative_to(root):
        raise VmError(f"run this by the checkout's own environment (make venv); {sys.prefix} is not inside {root}")
    host.require_tools()
    cache = Cache(default_folder(), _say)
    with cache.locked():
        kernel = kernels.fetch(line, cache)
        guest = rootfs.build(cache, environment.borrowed_packages())

    kept = root / "build" / "vm" / line
    with tempfile.TemporaryDirectory(prefix="penstock-vm-") as name:
        scratch = Path(name)
        checkout.write_image(scratch / "checkout.squashfs", root)
        job = [
            "env",
            f"PENSTOCK_KERNEL_LINE={line}",
            sys.executable,
            "-m",
            "pytest",
            "--junitxml=/result/junit.xml",
            *tests,
        ]
        initramfs.write(scratch / "initramfs", kernel, job, checkout=root, seconds=seconds)
        guest_machine = machine.Machine(
            kernel.image,
            scratch / "initramfs",
            {"root": guest, "modules": kernel.modules_disk, "checkout": scratch / "checkout.squashfs"},
        )
        _say(f"starting {kernel.release} (software emulation, {guest_machine.cpus} processors)")
        start = time.monotonic()
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        try:
            machine.run(guest_machine, scratch, sys.stdout.buffer, seconds=BOOT_SECONDS + seconds)
            outcome = _read(scratch)
        finally:
            for leaving in (scratch / "console.log", *(scratch / "result").glob("*")):
                if leaving.exists():
                    shutil.copy(leaving, kept)
    _say(f"{outcome.release}: {time.monotonic() - start:.0f} s in the machine; kept in {kept.relative_to(root)}")
    return outcome


def _read(scratch: Path) -> result.Result:
    unpacked = scratch / "result"
    unpacked.mkdir()
    try:
        return result.read(scratch / "result.tar", unpacked)
    except VmError as error:
        raise VmError(f"{error}{machine.tail(scratch / 'console.log')}") from error


def _say(text: str) -> None:
    print(f"vm: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
