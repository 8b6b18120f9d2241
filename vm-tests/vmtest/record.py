"""What was last seen on each kernel, part by part: files of the repository, from which docs/kernels.md is made.

Decides: where they are (vm-tests/seen/KERNEL/PART.json), so that parts can be run on different days.
Rules: a part without a verdict replaces the one that had one. Each file tells of which commit its tests were.
"""

import dataclasses
import json
import subprocess
from pathlib import Path

from . import kernels
from .errors import VmError
from .result import Counts, Result

_SEEN = Path("vm-tests") / "seen"
_TABLE = Path("docs") / "kernels.md"


def put(root: Path, name: str, part: str, result: Result) -> None:
    """What came of that part on the kernel that `name` means."""
    _write(root, name, part, {**dataclasses.asdict(result), "commit": _commit(root)})


def put_trouble(root: Path, name: str, part: str, trouble: str) -> None:
    """Why that part has no verdict there."""
    _write(root, name, part, {"trouble": trouble})


def get(root: Path, name: str, part: str) -> Result | None:
    """The last result of that part there; None if it was never tried. Raises VmError when it had no verdict."""
    try:
        told = json.loads(_file(root, name, part).read_text())
    except FileNotFoundError:
        return None
    if "trouble" in told:
        raise VmError(told["trouble"])
    told["files"] = {path: Counts(**counts) for path, counts in told["files"].items()}
    return Result(**{**told, "failures": tuple(told["failures"])})


def _file(root: Path, name: str, part: str) -> Path:
    return root / _SEEN / kernels.label(name) / f"{part}.json"


def _write(root: Path, name: str, part: str, told: dict[str, object]) -> None:
    file = _file(root, name, part)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told, indent=1) + "\n")


def _commit(root: Path) -> str:
    """As git names it, and whether anything else than what was seen was changed since; "" where there is no git."""
    name = _git(root, "rev-parse", "--short", "HEAD")
    outcomes = [f":(exclude){path}" for path in (_SEEN, _TABLE)]
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *outcomes)
    return f"{name}-dirty" if changed else name


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], check=False, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()
