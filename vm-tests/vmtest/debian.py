"""Kernels of Debian's: which one a name means today, and its files, fetched and unpacked.

A line ("6.1") is what people say; Debian's meta package for it depends on the package of the newest build. That name is
asked for at run time, since old builds vanish from the archive. "newest" is the newest that any of NEWER has.

Rules:
  - apt checks every download against the archive's signed index; nothing else is trusted.
  - Lines come from the archives that this machine has. NEWER is asked with lists of its own, kept with the cache and
    refreshed when they are a day old.
  - Package lists that are missing or too old for the archive are refreshed once, then it is an error.
Must never: install a kernel, or change apt's sources.
"""

import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import host
from .cache import Cache, recipe
from .errors import VmError
from .kernels import Kernel, keep

LINES: Mapping[str, str] = {
    "6.1": "linux-image-cloud-amd64",
    "6.12": "linux-image-6.12-cloud-amd64",
}
"""Kernel line -> the meta package of Debian 12 that has it. The cloud flavour is a quarter of the full one's size."""
NEWEST = "newest"
NEWER = ("trixie-backports", "stable-backports")
"""Suites that are asked for the newest: small lists of what testing has; the second follows the releases to come."""
NAMES = (*LINES, NEWEST)
SECONDS_FRESH = 86400.0


@dataclass(frozen=True, slots=True)
class Archive:
    """Where apt looks: the options that tell it. None: what it is set to on this machine."""

    options: tuple[str, ...] = ()

    def ask(self, *words: str) -> str:
        """Of apt-cache."""
        return host.run(["apt-cache", *self.options, *words])

    def refresh(self) -> None:
        """Get the lists anew."""
        host.run(["apt-get", "-qq", *self.options, "update"])

    def download(self, package: str, version: str, folder: Path) -> None:
        """Fetch a package and unpack it there. Raises VmError when it does not come whole."""
        try:
            host.run(["apt-get", "-qq", *self.options, "download", f"{package}={version}"], cwd=folder)
        except VmError as error:
            raise VmError(f"{package} did not come whole from its archive: {error}") from error
        [archive] = folder.glob("*.deb")
        host.run(["dpkg-deb", "-x", archive, folder])
        archive.unlink()


def fetch(name: str, cache: Cache) -> Kernel:
    """The newest kernel of that name that Debian serves, from the cache where it is there already.

    Raises VmError: an unknown name, no such package, no network, a download that fails.
    """
    if name not in NAMES:
        raise VmError(f"unknown kernel {name!r}; known: {', '.join(NAMES)}, or one of your own as VMLINUZ:MODULES")
    archive = _newer(cache.folder / "apt") if name == NEWEST else Archive()
    try:
        return _fetched(name, archive, cache)
    except VmError:
        # Lists that are older than the archive name builds that are gone.
        archive.refresh()
        return _fetched(name, archive, cache)


def package_named_by(meta: str, depends: str) -> str:
    """The kernel package in what `apt-cache depends META` printed. Raises VmError when there is none."""
    found = re.search(r"^\s+Depends: (linux-image-\d\S+)$", depends, re.MULTILINE)
    if not found:
        raise VmError(f"{meta} names no kernel; apt-cache said:\n{depends.strip()}")
    return found[1]


def parts(package: str, depends: str) -> tuple[str, ...]:
    """The packages that hold its files, from `apt-cache depends PACKAGE`: from 7.3 on it is empty and needs three.

    (linux-base-RELEASE has the list of what is built in, without which modprobe knows nothing of those drivers.)
    """
    release = re.escape(package.removeprefix("linux-image-"))
    found = re.findall(rf"^\s+Depends: (linux-(?:base|binary|modules)-{release})$", depends, re.MULTILINE)
    return tuple(found) or (package,)


def _newer(place: Path) -> Archive:
    mirror = _mirror()
    lists, sources = place / "lists", place / "sources.list"
    for folder in (lists, place / "cache"):
        folder.mkdir(parents=True, exist_ok=True)
    sources.write_text("".join(f"deb {mirror} {suite} main\n" for suite in NEWER))
    # Backports yield to everything else unless told otherwise; here the highest version is meant.
    (place / "preferences").write_text("Package: *\nPin: release *\nPin-Priority: 500\n")
    options = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": place / "preferences",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State::lists": lists,
        "Dir::Cache": place / "cache",
    }
    archive = Archive(tuple(f"-o{key}={value}" for key, value in options.items()))
    stamp = place / "refreshed"
    if not stamp.exists() or time.time() - stamp.stat().st_mtime > SECONDS_FRESH:
        archive.refresh()
        stamp.touch()
    return archive


def _mirror() -> str:
    """The address that this machine has Debian itself from (not security updates, which are elsewhere)."""
    shown = host.run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"])
    for line in shown.splitlines():
        match line.split():
            case ["Debian", "Debian", address]:
                return address
    raise VmError("apt knows no archive of Debian here: apt-get update")


def _fetched(name: str, archive: Archive, cache: Cache) -> Kernel:
    meta = LINES.get(name, LINES["6.1"])
    package = package_named_by(meta, archive.ask("depends", meta))
    if name in LINES and not package.startswith(f"linux-image-{name}."):
        raise VmError(f"{meta} means {package} here, which is not a {name} kernel: Debian 12 has those")
    shown = archive.ask("show", "--no-all-versions", package)
    version = shown.split("\nVersion: ", 1)[1].split("\n", 1)[0]
    release = package.removeprefix("linux-image-")

    def fill(folder: Path) -> None:
        scratch = folder / "scratch"
        scratch.mkdir()
        for part in parts(package, archive.ask("depends", package)):
            archive.download(part, version, scratch)
        images = [*scratch.glob(f"boot/vmlinuz-{release}"), *scratch.glob(f"usr/lib/modules/{release}/vmlinuz")]
        modules = [*scratch.glob(f"lib/modules/{release}"), *scratch.glob(f"usr/lib/modules/{release}")]
        if not images or not modules:
            raise VmError(
                f"{package} {version} is laid out in a way that is not known here (no vmlinuz, or no modules)"
            )
        images[0].rename(folder / "vmlinuz")
        kept = folder / "tree" / "lib" / "modules"
        kept.mkdir(parents=True)
        modules[0].rename(kept / release)
        shutil.rmtree(scratch)

    return keep(release, recipe(package, version, Path(__file__).read_text()), cache, fill)
