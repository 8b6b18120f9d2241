"""Where the files are that are no Python: in the tree that this runs from, or where the wheel was installed.

Rules: pyproject.toml says what a wheel puts there. Must never: be asked for a file that an operator may name otherwise.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_TREE: Final = Path(__file__).resolve().parents[1]
_ROOT: Final = _TREE if (_TREE / "bpf" / "abi.h").is_file() else Path(sys.prefix) / "share" / "penstock"

OBJECTS: Final = _ROOT / "build"
"""BPF object files."""
SOURCES: Final = _ROOT / "bpf"
"""What the tracer is compiled from."""
