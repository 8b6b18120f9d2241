"""The checkout as a disk, made for every run: what is tested is what lies there, committed or not.

Rules:
  - With the virtual environment and the compiled BPF objects; without git's and the linters' stores.
    Hypothesis's store goes in: making its tables again takes 6 s there.
  - Not compressed: it is read once, by a slow processor.
Must never: change the checkout.
"""

from pathlib import Path

from . import host

LEFT_OUT = (".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache", "build/vm")


def write_image(target: Path, checkout: Path) -> None:
    """Write the squashfs. Raises VmError when the disk is full."""
    plain = ["-noI", "-noD", "-noF", "-noX", "-no-duplicates"]
    host.run(["mksquashfs", checkout, target, *plain, "-no-progress", "-all-root", "-noappend", "-e", *LEFT_OUT])
