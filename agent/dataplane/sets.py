"""Sets of tables and programs, and which of them is in force.

A set is what is pinned in one folder v<N>: the tables, the links (or marks) of the programs that were loaded with N and
use them, the timer of ageing. Mostly there is one, and a new agent goes on with it. When its tables are of another
layout or size it makes the set N + 1 (succession.py), hooks both, and then writes N + 1 into table `in_force`, which
all sets have in common (bpf/in_force.h): so there is no moment at which half a set acts, and what is not in force by
that table is a leftover of somebody who died, whatever it is.
Rules: only the holder of the lock changes anything here. Must never: take a set apart that is in force.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from loader import xdp
from loader.attach import Mechanism, attachments, detach
from loader.errors import LoaderError
from loader.maps import Map

IN_FORCE = "in_force"
_NAME = re.compile(r"v[0-9]+")


def folders(pin_dir: Path) -> Sequence[Path]:
    """All sets, in force or not, by number."""
    found = [x for x in pin_dir.iterdir() if _NAME.fullmatch(x.name)] if pin_dir.is_dir() else []
    return sorted(found, key=number_of)


def number_of(folder: Path) -> int:
    """N of a folder v<N>."""
    return int(folder.name[1:])


def in_force(pin_dir: Path) -> Path | None:
    """The set that acts; None if there is none. LoaderError if that cannot be told."""
    for folder in folders(pin_dir):
        try:
            with Map.open_pinned(folder / IN_FORCE) as table:
                number = table.get(0)["set"]
        except LoaderError:
            if (folder / IN_FORCE).exists():
                raise
            continue  # half made, or an agent discards it this very moment
        found = pin_dir / f"v{number}"
        return found if number and found.is_dir() else None
    return None


def put_in_force(folder: Path, *, moving_until: int = 0) -> None:
    """From now on the programs of this set act, and no others. `moving_until`: seconds since boot."""
    with Map.open_pinned(folder / IN_FORCE) as table:
        table.set(0, {"set": number_of(folder), "moving_until": moving_until})


def tables_in(folder: Path) -> frozenset[str]:
    """Names of what is pinned in a set, links and marks left out."""
    return frozenset(x.name for x in folder.iterdir() if x.is_file()) if folder.is_dir() else frozenset()


def unhook(folder: Path, *, links_only: bool = False) -> int:
    """Take the programs of a set off; how many there were. `links_only`: not those of this network namespace."""
    found = [x for x in attachments(folder) if not links_only or x.mechanism is Mechanism.TCX]
    accelerated = tuple(xdp.attachments(folder))
    for x in accelerated:
        xdp.detach(x, folder)
    for hook in found:
        detach(hook, folder)
    return len(found) + len(accelerated)


def unpin(path: Path) -> int:
    """Remove a folder of pins, its folders of links and marks included; how many pins there were."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return 1
    pins = sum(map(unpin, sorted(path.iterdir())))
    path.rmdir()
    return pins


def discard(folder: Path) -> None:
    """Remove a set that is not in force, hooks first."""
    unhook(folder)
    unpin(folder)
