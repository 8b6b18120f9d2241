"""Is a path on a BPF filesystem? Pins can live nowhere else, and elsewhere they would vanish unnoticed.

Rules: asked of the nearest parent that exists, by the filesystem's magic number (statfs(2)); never by the mount table,
which a container may not see. Must never mount anything.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from loader.errors import NoBpffs, PermissionDenied, from_errno
from loader.libbpf import ffi, libc, scratch

_BPF_FS_MAGIC = 0xCAFE4A11  # linux/magic.h
_USUAL = Path("/sys/fs/bpf")


def require(path: Path) -> None:
    """Raises NoBpffs, with the command that mounts one, unless `path` is or would be on a BPF filesystem."""
    there = path
    while not there.exists():
        there = there.parent
    if _magic(there) != _BPF_FS_MAGIC:
        mount = _USUAL if path.is_relative_to(_USUAL) else path
        raise NoBpffs(
            f"{path} is not on a BPF filesystem: mount -t bpf bpf {mount} (under `ip netns exec`, which mounts a /sys "
            "of its own, it never is: use `nsenter --net=/run/netns/NAME`)"
        )


def make_directory(path: Path) -> None:
    """`path` and its parents, for root only, on a BPF filesystem."""
    require(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except PermissionError as error:
        raise PermissionDenied(f"making {path}: permission denied (root is needed)") from error


def _magic(path: Path) -> int:
    buffer = scratch(512)  # struct statfs is 120 octets on 64-bit Linux; f_type is its first long
    if libc().statfs(os.fsencode(path), buffer):
        raise from_errno(ffi.errno, f"asking for the filesystem of {path}")
    return int(struct.unpack_from("=q", ffi.buffer(buffer, 8))[0]) & 0xFFFFFFFF
