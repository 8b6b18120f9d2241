"""A kernel that can be booted, and where each name of one leads.

Names: a line of Debian's ("6.1", "6.12"), "newest" (`debian` fetches them), or a kernel of one's own,
VMLINUZ:MODULES ("/boot/vmlinuz-5.15.0-91:/lib/modules/5.15.0-91"), whose release is its folder's name.

Rules:
  - Of a kernel only its image and its modules are kept, in the cache; what the user gave is read and never changed.
Must never: install a kernel.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import host
from .cache import Cache, recipe
from .errors import VmError


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that can be booted."""

    release: str
    """What `uname -r` says in it."""
    folder: Path
    """The entry in the cache; its name changes with every build."""

    @property
    def image(self) -> Path:
        """The bzImage."""
        return self.folder / "vmlinuz"

    @property
    def tree(self) -> Path:
        """A folder that holds lib/modules/RELEASE, with its dependencies worked out by depmod."""
        return self.folder / "tree"

    @property
    def modules_disk(self) -> Path:
        """What is under lib/modules, as a squashfs."""
        return self.folder / "modules.squashfs"


def is_own(name: str) -> bool:
    """Does the name mean a kernel that the user has himself?"""
    return ":" in name or "/" in name


def label(name: str) -> str:
    """What to call that kernel, and the folder of what came back from it."""
    return Path(name).name if is_own(name) else name


def own(name: str, cache: Cache) -> Kernel:
    """The kernel VMLINUZ:MODULES. Raises VmError when that is not what the name says, or nothing is there."""
    image, separator, modules = name.partition(":")
    source = Path(modules)
    if not separator or not image or not modules:
        raise VmError(f"{name}: a kernel of your own is VMLINUZ:MODULES, such as /boot/vmlinuz-X:/lib/modules/X")
    if not Path(image).is_file():
        raise VmError(f"{name}: no kernel image at {image}")
    if not (source / "kernel").is_dir():
        raise VmError(f"{name}: {modules} is no folder of modules (it has no folder `kernel`)")
    if (release := release_of(Path(image))) != source.name:
        raise VmError(f"{name}: the image is of {release or 'no kernel for x86'}, the modules are of {source.name}")
    shown = [str(x) for path in (Path(image), source, source / "kernel") for x in (path, path.stat().st_mtime_ns)]

    def fill(folder: Path) -> None:
        shutil.copyfile(image, folder / "vmlinuz")
        kept = folder / "tree" / "lib" / "modules" / source.name
        # A link named `build` leads to the headers, which nobody needs there.
        shutil.copytree(source, kept, symlinks=True, ignore=shutil.ignore_patterns("build", "source"))

    return keep(source.name, recipe(*shown), cache, fill)


def release_of(image: Path) -> str:
    """What `uname -r` will say in that bzImage, from its header (kernel_version in arch/x86/boot); empty if none."""
    data = image.read_bytes()
    if data[0x202:0x206] != b"HdrS":
        return ""
    start = 0x200 + int.from_bytes(data[0x20E:0x210], "little")
    return data[start : start + 128].split(b"\0")[0].decode(errors="replace").partition(" ")[0]


def keep(release: str, made_of: str, cache: Cache, fill: Callable[[Path], None]) -> Kernel:
    """The cache's entry of that kernel. `fill` puts vmlinuz and tree/lib/modules/RELEASE into a new one's folder."""

    def make(folder: Path) -> None:
        fill(folder)
        modules = folder / "tree" / "lib" / "modules"
        host.run(["depmod", "-b", folder / "tree", release])
        host.run(["mksquashfs", modules, folder / "modules.squashfs", "-comp", "lz4", "-no-progress", "-all-root"])

    return Kernel(release, cache.entry(f"kernel-{release}-{made_of}", make))
