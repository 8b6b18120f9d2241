"""One virtual machine, from start to end, in bounded time.

Rules:
  - What is emulated is what is cheap to emulate: no AVX, no fifth page-table level. Two processors, though one would be
    faster: some tests are about two that meet.
  - The machine ends by itself: the guest turns it off, or panics and QEMU is told not to reboot. One that does neither
    by its deadline is killed, and so is one that has not said a word after SILENT_SECONDS: it will not.
  - The kernel kills QEMU when this process dies, however it dies: nothing stays running.
  - No network but its own cables (cables.py) and what `devices` has, no display, nothing of the user's QEMU
    configuration.
Must never: say whether tests passed; it knows only that the machine ended.
"""

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from . import cables, host
from .errors import VmError

SILENT_SECONDS = 300.0
"""From the start to the first output; 26 s were seen on an idle machine, 100 s on a busy one."""

TROUBLE = re.compile(r"BUG: |Oops: |Kernel panic|Out of memory|segfault at")
"""Lines of the console worth showing though a long trace follows them."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What runs the guest's instructions (accelerator.py chooses)."""

    name: str
    option: str
    """QEMU's -accel."""
    cpu: str
    more: tuple[str, ...] = ()
    """More words of QEMU's."""


SOFTWARE = Accelerator("software emulation", "tcg,thread=multi", "Nehalem")
COUNTED = Accelerator(
    "software emulation, in which each instruction takes a nanosecond",
    "tcg,thread=single",
    "Nehalem",
    ("-icount", "shift=0,sleep=off"),
)
"""Slower, but what the guest measures does not depend on what else this machine does."""
KVM = Accelerator("KVM", "kvm", "host")


@dataclass(frozen=True, slots=True)
class Machine:
    """What to start. The guest sees each disk under its name as serial, and the ports "output" and "result"."""

    kernel: Path
    initramfs: Path
    disks: Mapping[str, Path] = field(default_factory=dict)
    """Serial -> image, all read-only."""
    options: str = ""
    """More for the kernel's command line."""
    cpus: int = 2
    memory_mb: int = 2048
    accelerator: Accelerator = SOFTWARE
    cables: int = 0
    """Between pairs of network cards (cables.py)."""
    devices: Sequence[str] = ()
    """More of QEMU's command line."""


class Output(Protocol):
    """Whoever takes what the guest writes, as it comes."""

    def write(self, chunk: bytes, /) -> object: ...

    def flush(self) -> object: ...


def run(
    machine: Machine, folder: Path, output: Output, *, seconds: float, silent_seconds: float = SILENT_SECONDS
) -> None:
    """Start the machine and wait for its end.

    Leaves `console.log` (the kernel's) and `result.tar` (whatever the guest wrote to the port "result") in `folder`;
    what the guest writes to the port "output" goes to `output`, as it comes.
    Raises VmError when QEMU fails, and when the machine has not ended after `seconds` or written nothing there after
    `silent_seconds`; then the message ends with the console's last lines.
    """
    console = folder / "console.log"
    around = cables.namespace(machine.cables) if machine.cables else []
    command = ["setpriv", "--pdeathsig", "KILL", "--", *around, *_command(machine, console, folder / "result.tar")]
    with (folder / "qemu.log").open("w+b") as complaints:
        process = subprocess.Popen(
            command,
            # Never written to, but open: at its end QEMU would tell the guest that nobody reads the port "output".
            stdin=subprocess.PIPE,
            # Not our own standard output: QEMU makes it non-blocking, and a QEMU that is killed leaves it so.
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={"PATH": host.SEARCH_PATH},
        )
        spoken = threading.Event()
        reader = threading.Thread(target=_copy, args=(process, output, spoken))
        reader.start()
        try:
            status = _ended(process, spoken, seconds, silent_seconds)
        except VmError as error:
            raise VmError(f"{error}{tail(console)}") from error
        finally:
            process.kill()
            process.wait()
            reader.join()
        if status:
            complaints.seek(0)
            raise VmError(f"QEMU ended with {status}: {complaints.read().decode(errors='replace').strip()}")


def _ended(process: subprocess.Popen[bytes], spoken: threading.Event, seconds: float, silent_seconds: float) -> int:
    """Its exit status. Raises VmError with what it has not done in time."""
    start, silent_seconds = time.monotonic(), min(seconds, silent_seconds)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(silent_seconds)
    if not spoken.is_set():
        raise VmError(f"the machine had not said a word after {silent_seconds:.0f} s and was killed")
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(max(0.0, start + seconds - time.monotonic()))
    raise VmError(f"the machine had not ended after {seconds:.0f} s and was killed")


def _copy(process: subprocess.Popen[bytes], output: Output, spoken: threading.Event) -> None:
    assert process.stdout is not None
    while chunk := os.read(process.stdout.fileno(), 1 << 16):
        spoken.set()
        output.write(chunk)
        output.flush()


def tail(console: Path, lines: int = 15) -> str:
    """What to put behind a message: where the kernel said that it is in trouble, and the console's last lines."""
    text = console.read_text(errors="replace").replace("\r", "") if console.exists() else ""
    said = [line for line in text.splitlines() if line.strip()]
    trouble = [line for line in said[:-lines] if TROUBLE.search(line)]
    if not said:
        return "; its console stayed empty"
    return "; its console said:\n  " + "\n  ".join([*trouble, *said[-lines:]])


def _command(machine: Machine, console: Path, result: Path) -> list[str]:
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += ["-M", "q35", "-accel", machine.accelerator.option, "-cpu", machine.accelerator.cpu]
    command += machine.accelerator.more
    command += ["-smp", str(machine.cpus), "-m", f"{machine.memory_mb}M"]
    command += ["-kernel", str(machine.kernel), "-initrd", str(machine.initramfs)]
    # A kernel that oopsed is not one to test on: it panics, and a panic ends the machine at once.
    # Self-tests of ciphers take time, and 6.1 was seen to hang in them under software emulation ("soft lockup ...
    # [cryptomgr_test]", on both processors).
    settings = "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic cryptomgr.notests"
    command += ["-append", f"{settings} {machine.options}".strip()]
    command += ["-serial", f"file:{_escaped(console)}", "-device", "virtio-serial-pci"]
    for name, backend in {"output": "stdio,signal=off", "result": f"file,path={_escaped(result)}"}.items():
        command += ["-chardev", f"{backend},id={name}", "-device", f"virtserialport,chardev={name},name={name}"]
    command += cables.cards(machine.cables)
    for serial, image in machine.disks.items():
        command += ["-drive", f"file={_escaped(image)},format=raw,if=none,readonly=on,id={serial}"]
        command += ["-device", f"virtio-blk-pci,drive={serial},serial={serial}"]
    return [*command, *machine.devices]


def _escaped(path: Path) -> str:
    """QEMU's option syntax: a comma in a value is written twice."""
    return str(path).replace(",", ",,")
