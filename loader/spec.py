"""What is to be loaded, as plain data. Must never hold anything of the kernel's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """A compiled BPF object and what is set in it before it is loaded.

    `path`: the ELF file. `rodata`: `const volatile` variable -> value. `max_entries`: map -> number of entries.
    A name that the object does not have is an error (UnknownName), not a wish.
    """

    path: Path
    rodata: Mapping[str, int] = field(default_factory=dict)
    max_entries: Mapping[str, int] = field(default_factory=dict)
