"""Other versions of the programs, made from a copy of bpf/ with some lines changed, by the Makefile's own rules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

Edits = Sequence[tuple[str, str, str]]
"""File, what stands in it, what shall stand there."""

OTHER_PROGRAMS: Edits = (("reject.h", "#define REPLY_TTL 64", "#define REPLY_TTL 63"),)
OTHER_LAYOUT: Edits = (
    *OTHER_PROGRAMS,
    # struct flow: one member more in front of all others, one moved to the end and wider, one less
    ("abi.h", "struct flow {\n", "struct flow {\n\t__u64 is_new;\n"),
    ("abi.h", "\t__u32 seen; /* seconds since boot, of the last packet of this direction */\n", ""),
    ("abi.h", "\t__u32 policy;\t       /* kept for limits of a route's own */\n", ""),
    ("abi.h", "\t__u64 bytes;\n};\n\n/* ageing_tcp4", "\t__u64 bytes;\n\t__u64 seen;\n};\n\n/* ageing_tcp4"),
    # one verdict more, before the others of its kind, so that their numbers are others
    ("abi.h", "\tDROP_MOVING = 23,", "\tDROP_NEWER = 23,\n\tDROP_MOVING = 24,"),
    ("abi.h", "\tDROP_INTERNAL = 24,", "\tDROP_INTERNAL = 25,"),
    ("abi.h", "\tVERDICT_COUNT = 25,", "\tVERDICT_COUNT = 26,"),
)


def built(directory: Path, edits: Edits) -> Path:
    """The folder of the object files."""
    shutil.copytree(ROOT / "bpf", directory / "bpf")
    shutil.copy(ROOT / "Makefile", directory)
    for name, old, new in edits:
        file = directory / "bpf" / name
        text = file.read_text()
        assert text.count(old) == 1, (name, old)
        file.write_text(text.replace(old, new))
    objects = [f"build/{x}.bpf.o" for x in ("tc", "age")]
    subprocess.run(["make", "-s", "-C", directory, *objects], check=True, timeout=300)
    return directory / "build"
