"""The guest's root: a small Debian of this machine's own release, as a squashfs.

The same release, because the virtual environment is carried in and was made for this Python. From the archives that
this machine itself uses, security updates included.

Rules:
  - Built once for a recipe (release, packages, this file) and kept; the archive's later updates do not change it.
  - No init system, no services, no package lists: guest/run-job is all that ever starts.
Must never: change this machine's packages or sources.
"""

import platform
import shutil
from collections.abc import Iterable
from pathlib import Path

from . import host
from .cache import Cache, recipe
from .errors import VmError

PACKAGES = Path(__file__).parent.parent / "guest" / "packages.txt"


def build(cache: Cache, extra_packages: Iterable[str]) -> Path:
    """The image, with guest/packages.txt and these packages in it, from the cache where it is there already.

    Raises VmError: not a Debian, no network, no such package.
    """
    codename = debian_codename()
    packages = sorted({*_listed(PACKAGES.read_text()), *extra_packages})

    def make(folder: Path) -> None:
        tree = folder / "tree"
        sources = folder / "sources.list"
        sources.write_text(apt_sources(codename))
        host.run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=essential",
                f"--include={','.join(packages)}",
                "--dpkgopt=path-exclude=/usr/share/doc/*",
                "--dpkgopt=path-exclude=/usr/share/locale/*",
                "--dpkgopt=path-exclude=/usr/share/man/*",
                codename,
                tree,
                sources,
            ],
            seconds=900,
        )
        host.run(["mksquashfs", tree, folder / "root.squashfs", "-comp", "lz4", "-no-progress"])
        shutil.rmtree(tree)

    name = f"root-{codename}-{recipe(*packages, Path(__file__).read_text())}"
    return cache.entry(name, make) / "root.squashfs"


def _listed(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in line.split("#", 1)[0].split()]


def debian_codename() -> str:
    """This machine's release. Raises VmError where it is no Debian."""
    system = platform.freedesktop_os_release()
    if system.get("ID") != "debian" or "VERSION_CODENAME" not in system:
        raise VmError(f"the guest is made from this machine's Debian, and this is {system.get('PRETTY_NAME')}")
    return system["VERSION_CODENAME"]


def apt_sources(codename: str) -> str:
    """Debian's own archives among those that apt knows here, as a sources.list."""
    shown = host.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(ORIGIN) $(CODENAME) $(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ]
    )
    lines = []
    for line in sorted(set(shown.splitlines())):
        origin, name, address, suite, component = line.split(" ", 4)
        if origin == "Debian" and name.split("-")[0] == codename:
            lines.append(f"deb {address} {suite} {component}\n")
    if not lines:
        raise VmError(f"apt knows no archive of Debian {codename} here: apt-get update")
    return "".join(lines)
