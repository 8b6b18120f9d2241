"""What is kept between runs: kernels and images, each a folder that is either whole or not there.

Rules:
  - An entry is made in a folder beside its place and renamed into it when it is complete, so that a download or a
    build that was interrupted never looks like an entry.
  - Its seal lists every file and its size. An entry whose files do not match (a disk that was full, a file that
    somebody cut) is thrown away with a word, and made again.
  - One run at a time makes entries; the others wait. Entries that nobody used for KEEP_DAYS go.
Must never: be inside the repository, or remove an entry that a running machine may just have been given.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEEP_DAYS = 30
SEAL = "seal.json"
UNFINISHED = "unfinished-"


def default_folder() -> Path:
    """~/.cache/penstock/vm, or where XDG_CACHE_HOME says (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "penstock" / "vm"


def recipe(*ingredients: str) -> str:
    """A short name for exactly these ingredients, to put into an entry's name: other ingredients, other entry."""
    return hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:12]


class Cache:
    """Entries under one folder, by name. Hold `locked()` while calling `entry`."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self._say = say

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other run makes entries, then keep others from it. The lock dies with the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._remove_leftovers()
            yield

    def entry(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of that entry; where it is not there whole, `make(folder)` fills a new one first."""
        place = self.folder / name
        if place.exists():
            if _matches_seal(place):
                os.utime(place)
                return place
            self._say(f"{place} is incomplete; making it again")
            shutil.rmtree(place)
        self._say(f"making {name}, to be kept in {self.folder}")
        unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.folder))
        make(unfinished)
        (unfinished / SEAL).write_text(json.dumps(_sizes(unfinished), indent=1))
        unfinished.rename(place)
        return place

    def _remove_leftovers(self) -> None:
        oldest = time.time() - KEEP_DAYS * 86400
        for place in self.folder.iterdir():
            if place.name.startswith(UNFINISHED) or (place.is_dir() and place.stat().st_mtime < oldest):
                shutil.rmtree(place, ignore_errors=True)


def _sizes(folder: Path) -> dict[str, int]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SEAL)
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


def _matches_seal(folder: Path) -> bool:
    try:
        sealed = json.loads((folder / SEAL).read_text())
    except (OSError, ValueError):
        return False
    return bool(sealed == _sizes(folder))
