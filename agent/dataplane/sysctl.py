"""Reading and setting sysctls of the network namespace this thread is in.

Rules: a name is spelled with slashes below /proc/sys/net ("ipv4/ip_forward"), since interface names may hold dots. What
is not there (a kernel without IPv6, an interface that has just gone) reads as None and cannot be set.
"""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/proc/sys/net")


def read(name: str) -> int | None:
    """The number a sysctl holds, None where there is no such sysctl."""
    try:
        return int((_ROOT / name).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_range(name: str) -> tuple[int, int] | None:
    """The two numbers a sysctl holds, None where there is no such sysctl."""
    try:
        first, last = (_ROOT / name).read_text().split()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return int(first), int(last)


def write(name: str, value: int) -> bool:
    """Set a sysctl that holds another number. False where there is no such sysctl. Raises OSError (EPERM, EROFS)."""
    held = read(name)
    if held is not None and held != value:
        (_ROOT / name).write_text(str(value))
    return held is not None


def ipv6_enabled() -> bool:
    """Whether this node speaks IPv6 at all: the kernel has it and it is not switched off for all interfaces."""
    return read("ipv6/conf/all/disable_ipv6") == 0


def strict_reverse_path(interface: str) -> bool:
    """Whether rp_filter is strict on an interface: the kernel takes the larger of `all` and the interface's own."""
    return max(read("ipv4/conf/all/rp_filter") or 0, read(f"ipv4/conf/{interface}/rp_filter") or 0) == 1
