"""What runs the guest's instructions: KVM where it was seen to work, else software emulation.

/dev/kvm being there proves nothing: nested KVM was seen to hang without a word and to die in the firmware. So a guest
that says one word and turns itself off is started with it.

Rules:
  - What was seen is kept for this boot of this machine: a KVM that hangs costs PROBE_SECONDS once.
  - The command line of QEMU says which it is; nobody has to guess from the time it took.
Must never: be an error. Without KVM all works, ten times slower.
"""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

from . import initramfs, machine
from .cache import Cache, recipe
from .errors import VmError
from .kernels import Kernel
from .machine import KVM, SOFTWARE, Accelerator, Machine

DEVICE = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROBE_SECONDS = 20
PROBE = b"""#!/bin/busybox sh
/bin/busybox mkdir /proc /sys /dev
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do /bin/busybox insmod $module; done
echo works >/dev/vport0p1
/bin/busybox poweroff -f
"""


def choose(kernel: Kernel, cache: Cache, say: Callable[[str], None], device: Path = DEVICE) -> Accelerator:
    """KVM or SOFTWARE. Hold the cache's lock; `kernel` is any that boots."""
    if not device.exists():
        return SOFTWARE

    def make(folder: Path) -> None:
        say(f"trying {device}, for {PROBE_SECONDS} s at most")
        (folder / "verdict").write_text(_tried(kernel))

    name = f"kvm-{recipe(BOOT_ID.read_text(), kernel.folder.name, Path(__file__).read_text())}"
    verdict = (cache.entry(name, make) / "verdict").read_text()
    if verdict:
        say(f"{device} is there but of no use: {verdict}; software emulation instead")
    return SOFTWARE if verdict else KVM


def _tried(kernel: Kernel) -> str:
    """What is wrong with KVM, in a few words; nothing when it works."""
    with tempfile.TemporaryDirectory(prefix="penstock-vm-") as name:
        folder = Path(name)
        (folder / "initramfs").write_bytes(initramfs.cpio(initramfs.base(kernel) | {"init": PROBE}))
        guest = Machine(kernel.image, folder / "initramfs", accelerator=KVM)
        said = io.BytesIO()
        try:
            machine.run(guest, folder, said, seconds=PROBE_SECONDS)
        except VmError as error:
            return str(error).splitlines()[0].split("; its console")[0]
        return "" if said.getvalue() == b"works\n" else "the machine ended without a word"
