"""What this kernel can be asked for in a test run; what it cannot is no test here, rather than a skipped one."""

from __future__ import annotations

from enum import Enum

from loader.features import probe
from loader.program import TEST_SKB_CHECKSUM_COMPLETE


class Checksums(Enum):
    """How the packet's checksum stands when the program sees it (linux/skbuff.h, ip_summed)."""

    NONE = 0
    COMPLETE = TEST_SKB_CHECKSUM_COMPLETE


def checksum_modes() -> tuple[Checksums, ...]:
    """The states of a packet's checksum that a test run can make here. The third, PARTIAL, takes a tap."""
    return tuple(Checksums) if probe().test_run_checksum else (Checksums.NONE,)
