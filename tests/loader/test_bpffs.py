"""Which paths may hold pins."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from loader import bpffs as module
from loader.errors import NoBpffs


def test_a_bpffs_and_what_would_be_on_it_are_accepted(bpffs: Path) -> None:
    module.require(bpffs)
    module.require(bpffs / "not" / "made" / "yet")


@pytest.mark.parametrize("path", ["/", "/proc/penstock", "/sys/kernel/not/made/yet"])
def test_other_filesystems_are_refused_with_the_command(path: str) -> None:
    with pytest.raises(NoBpffs, match=f"mount -t bpf bpf {path}"):
        module.require(Path(path))


def test_a_directory_of_pins_is_for_root_only(bpffs: Path) -> None:
    module.make_directory(bpffs / "a" / "b")
    module.make_directory(bpffs / "a" / "b")
    assert stat.S_IMODE((bpffs / "a" / "b").stat().st_mode) == 0o700
