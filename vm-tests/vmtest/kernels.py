"""Which kernel a line means today, and its files: fetched from Debian, unpacked, never installed.

A line ("6.1") is what people say; Debian's meta package for it depends on the package of the newest build. That name is
asked for at run time, since old builds vanish from the archive.

Rules:
  - apt checks every download against the archive's signed index; nothing else is trusted.
  - Package lists that are missing or too old for the archive are refreshed once, then it is an error.
  - Of a kernel only its image and its modules are kept.
Must never: install a kernel, or change apt's sources.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import host
from .cache import Cache, recipe
from .errors import VmError

LINES: Mapping[str, str] = {
    "6.1": "linux-image-cloud-amd64",
    "6.12": "linux-image-6.12-cloud-amd64",
}
"""Kernel line -> the meta package of Debian 12 that has it. The cloud flavour is a quarter of the full one's size."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that can be booted."""

    line: str
    release: str
    """What `uname -r` says in it."""
    folder: Path
    """The entry in the cache; its name changes with every build of Debian's."""

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


def fetch(line: str, cache: Cache) -> Kernel:
    """The newest kernel of that line that Debian serves, from the cache where it is there already.

    Raises VmError: an unknown line, no such package, no network, a download that fails.
    """
    if line not in LINES:
        raise VmError(f"unknown kernel line {line!r}; known: {', '.join(LINES)}")
    try:
        package, version = _resolve(line)
        return _unpacked(line, package, version, cache)
    except VmError:
        # Lists that are older than the archive name builds that are gone.
        host.run(["apt-get", "-qq", "update"])
        package, version = _resolve(line)
        return _unpacked(line, package, version, cache)


def package_named_by(meta: str, depends: str) -> str:
    """The kernel package in what `apt-cache depends META` printed. Raises VmError when there is none."""
    found = re.search(r"^\s+Depends: (linux-image-\d\S+)$", depends, re.MULTILINE)
    if not found:
        raise VmError(f"{meta} names no kernel; apt-cache said:\n{depends.strip()}")
    return found[1]


def _resolve(line: str) -> tuple[str, str]:
    package = package_named_by(LINES[line], host.run(["apt-cache", "depends", LINES[line]]))
    if not package.startswith(f"linux-image-{line}."):
        raise VmError(f"{LINES[line]} means {package} here, which is not a {line} kernel: Debian 12 has those")
    shown = host.run(["apt-cache", "show", "--no-all-versions", package])
    return package, shown.split("\nVersion: ", 1)[1].split("\n", 1)[0]


def _unpacked(line: str, package: str, version: str, cache: Cache) -> Kernel:
    release = package.removeprefix("linux-image-")

    def make(folder: Path) -> None:
        scratch = folder / "scratch"
        scratch.mkdir()
        host.run(["apt-get", "-qq", "download", f"{package}={version}"], cwd=scratch)
        [archive] = scratch.glob("*.deb")
        host.run(["dpkg-deb", "-x", archive, scratch])
        (scratch / "boot" / f"vmlinuz-{release}").rename(folder / "vmlinuz")
        modules = folder / "tree" / "lib" / "modules"
        modules.parent.mkdir(parents=True)
        (scratch / "lib" / "modules").rename(modules)
        shutil.rmtree(scratch)
        host.run(["depmod", "-b", folder / "tree", release])
        host.run(["mksquashfs", modules, folder / "modules.squashfs", "-comp", "lz4", "-no-progress", "-all-root"])

    name = f"kernel-{release}-{recipe(package, version, Path(__file__).read_text())}"
    return Kernel(line, release, cache.entry(name, make))
