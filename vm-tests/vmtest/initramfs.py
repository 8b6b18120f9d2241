"""What the kernel starts from: busybox, the drivers of the guest's disks and ports, and this run's job.

Rules:
  - Made anew for every run and not compressed: it is a few megabytes, made in less time than unpacking takes.
  - Drivers come in the order in which they must be loaded and are unpacked here (6.12 has .ko.xz, Ubuntu's .ko.zst;
    busybox reads neither).
  - A driver that the kernel has built in needs no file; a kernel that lacks one altogether is not started.
"""

import lzma
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import host
from .errors import VmError
from .kernels import Kernel

DRIVERS = ("virtio_pci", "virtio_blk", "virtio_console", "squashfs", "overlay")
GUEST = Path(__file__).parent.parent / "guest"
TRAILER = "TRAILER!!!"
EXECUTABLE = 0o100755
FOLDER = 0o040755


def write(target: Path, kernel: Kernel, job: Sequence[str], *, checkout: Path, seconds: int) -> None:
    """Write the archive.

    `job` is the command that the guest runs, with `checkout` (the same path as here) as its folder and for at most
    `seconds`. Raises VmError when the kernel's modules cannot be read.
    """
    settings = {"CHECKOUT": str(checkout), "JOB_SECONDS": str(seconds)}
    files = {
        "init": (GUEST / "initramfs-init").read_bytes(),
        "job": f"cd {shlex.quote(str(checkout))} && exec {shlex.join(job)}\n".encode(),
        "job.env": "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items()).encode(),
    }
    target.write_bytes(cpio(base(kernel) | files))


def base(kernel: Kernel) -> dict[str, bytes]:
    """Busybox, and the drivers numbered in the order in which to load them: path in the archive -> content."""
    busybox = shutil.which("busybox", path=host.SEARCH_PATH)
    assert busybox is not None, "host.require_tools was called"
    files = {"bin/busybox": Path(busybox).read_bytes()}
    for number, module in enumerate(_modules(kernel)):
        files[f"modules/{number:02}-{module.name.split('.')[0]}.ko"] = _unpacked(module)
    return files


def cpio(files: Mapping[str, bytes]) -> bytes:
    """An archive of executable files in cpio's "new ASCII" form, folders first (Linux, driver-api/early-userspace)."""
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    entries = [(name, FOLDER, b"") for name in folders]
    entries += [(name, EXECUTABLE, content) for name, content in files.items()]
    entries.append((TRAILER, 0, b""))
    return b"".join(_cpio_entry(inode, *entry) for inode, entry in enumerate(entries, start=1))


def _cpio_entry(inode: int, name: str, mode: int, content: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device (2), special device (2), length of the name, no checksum
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _modules(kernel: Kernel) -> list[Path]:
    """The files of DRIVERS and of what they need, first things first."""
    found: dict[Path, None] = {}
    lacking: list[str] = []
    for driver in DRIVERS:
        try:
            shown = host.run(["modprobe", "-d", kernel.tree, "-S", kernel.release, "--show-depends", driver])
        except VmError:
            lacking.append(driver)
            continue
        for line in shown.splitlines():
            match line.split():
                case ["insmod", path, *_]:
                    found[Path(path)] = None
                case ["builtin", _]:
                    pass
                case _:
                    raise VmError(f"modprobe printed for {driver}: {line}")
    if lacking:
        raise VmError(
            f"{kernel.release} cannot be started in a virtual machine: it lacks {', '.join(lacking)} "
            "(neither among its modules nor in its modules.builtin)"
        )
    return list(found)


def _unpacked(module: Path) -> bytes:
    data = module.read_bytes()
    match module.suffix:
        case ".xz":
            return lzma.decompress(data)
        case ".zst":
            with tempfile.NamedTemporaryFile() as plain:
                host.run(["zstd", "-dqf", module, "-o", plain.name])
                return Path(plain.name).read_bytes()
    return data
