"""The tests' own BPF objects, compiled into build/tests/loader; `python -m tests.loader.objects` makes them all.

A virtual machine that runs the tests on another kernel has no compiler: there they come with the checkout.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE.parents[1] / "build" / "tests" / "loader"
REFUSED = "refused"
SAMPLE = "sample"
FRAMES = "frames"
VARIANTS = ("RENAMED", "RENUMBERED", "MORE_COLOURS", "UNSIGNED", "GROWN", "HASH_TO_LRU")


def compiled(name: str, *macros: str) -> Path:
    """The object file of bpf/<name>.bpf.c with these macros defined; compiled if the source is newer."""
    source, made = HERE / "bpf" / f"{name}.bpf.c", BUILT / f"{'-'.join([name, *macros])}.bpf.o"
    if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
        made.parent.mkdir(parents=True, exist_ok=True)
        unfinished = made.with_suffix(f".{os.getpid()}")
        command = ["clang-19", "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror"]
        command += [f"-I/usr/include/{platform.machine()}-linux-gnu", *(f"-D{x}" for x in macros)]
        subprocess.run([*command, "-c", source, "-o", unfinished], check=True)
        unfinished.replace(made)
    return made


def main() -> None:
    """Compiles everything that the tests load."""
    compiled(REFUSED)
    compiled(FRAMES)
    for macros in ((), *((x,) for x in VARIANTS)):
        compiled(SAMPLE, *macros)


if __name__ == "__main__":
    main()
