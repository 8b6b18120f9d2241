"""Other versions of the programs, made from a copy of bpf/ with some lines changed, by the Makefile's own rules."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

Edits = Sequence[tuple[str, str, str]]
"""File, a pattern that stands in it once, what shall stand there."""

OTHER_PROGRAMS: Edits = (("reject.h", r"#define REPLY_TTL 64", "#define REPLY_TTL 63"),)
OTHER_LAYOUT: Edits = (
    *OTHER_PROGRAMS,
    # struct flow: a member more in front of all others, one moved to the end and wider, one less
    ("abi.h", r"\t__u16 zone;\s+/\* kept[^\n]*\n", ""),
    (
        "abi.h",
        r"\nstruct flow \{\n(.*?)\t__u32 seen;[^\n]*\n(.*?)\n\};",
        r"\nstruct flow {\n\t__u64 is_new;\n\1\2\n\t__u64 seen;\n};",
    ),
    # one verdict more, in front of others, whose numbers change
    ("abi.h", r"\tDROP_MOVING = (\d+),", r"\tDROP_NEWER = \1,\n\tDROP_MOVING,"),
    ("abi.h", r"\tDROP_INTERNAL = \d+,", r"\tDROP_INTERNAL,"),
    ("abi.h", r"\tVERDICT_COUNT = \d+,", r"\tVERDICT_COUNT,"),
)


@dataclass(frozen=True, slots=True)
class Versions:
    """Object folders: of another build, and of another layout too."""

    programs: Path
    layout: Path


def built(directory: Path, edits: Edits) -> Path:
    """The folder of the object files."""
    shutil.copytree(ROOT / "bpf", directory / "bpf")
    shutil.copy(ROOT / "Makefile", directory)
    for name, pattern, wanted in edits:
        file = directory / "bpf" / name
        changed, times = re.subn(pattern, wanted, file.read_text(), flags=re.DOTALL)
        assert times == 1, (name, pattern)
        file.write_text(changed)
    objects = [f"build/{x}.bpf.o" for x in ("tc", "xdp", "age")]
    subprocess.run(["make", "-s", "-C", directory, *objects], check=True, timeout=300)
    return directory / "build"
