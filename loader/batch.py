"""Many entries of a map in one system call (kernel 5.6; per-CPU arrays 5.13), else one by one.

Rules: a chunk is about a mebibyte, so that neither side allocates much at once. A hash is read bucket by bucket: the
kernel returns ENOSPC when a bucket does not fit, and the chunk is doubled. An update stops at the first refusal and
says how far it came; a delete passes over keys that are not there.
Must never: know types (octets in, octets out).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loader.errors import ENOTSUPP, from_errno
from loader.libbpf import checked, ffi, lib, scratch

Buffer: TypeAlias = bytes | NDArray[np.uint8]
"""Octets, one behind the other."""

_CHUNK_OCTETS = 1 << 20
_NONE_OF_IT = frozenset({errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP})


def chunk_entries(entry_octets: int) -> int:
    """Entries of that size that one call takes."""
    return max(16, _CHUNK_OCTETS // entry_octets)


def lookup(
    fd: int, key_size: int, width: int, max_entries: int, *, in_buckets: bool
) -> Iterator[tuple[memoryview, memoryview]]:
    """All entries, as pairs (keys, values) of joined octets, `width` octets a value. The memory is valid until the
    next pair is asked for. `in_buckets`: the map is a hash, whose cursor is four octets and not a key."""
    room = min(max_entries, chunk_entries(key_size + width))
    cursor, following = (ffi.new("char[]", 4 if in_buckets else key_size) for _ in range(2))
    keys, values, count = _room(key_size, width, room)
    begun = False
    while True:
        count[0] = room
        result = lib().bpf_map_lookup_batch(fd, cursor if begun else ffi.NULL, following, keys, values, count, ffi.NULL)
        if result == -errno.ENOSPC and room < max_entries:
            room = min(max_entries, 2 * room)
            keys, values, count = _room(key_size, width, room)
            continue
        if -result in _NONE_OF_IT and not begun:
            yield from _lookup_singly(fd, key_size, width, room)
            return
        if result not in (0, -errno.ENOENT):
            raise from_errno(-result, "reading a map")
        if count[0]:
            n = count[0]
            yield memoryview(ffi.buffer(keys, n * key_size)), memoryview(ffi.buffer(values, n * width))
        if result:
            return
        cursor, following, begun = following, cursor, True


def update(fd: int, keys: Sequence[bytes], values: Sequence[bytes]) -> tuple[int, int]:
    """Stores entries in order. (number stored, errno that stopped it or 0)."""
    return update_joined(fd, b"".join(keys), b"".join(values), len(keys))


def update_joined(fd: int, keys: Buffer, values: Buffer, entries: int) -> tuple[int, int]:
    """`update` of keys that stand one behind the other, and values."""
    count = ffi.new("uint32_t *", entries)
    opts = ffi.new("struct batch_opts *", {"sz": ffi.sizeof("struct batch_opts")})
    first_key, first_value = ffi.from_buffer("char[]", keys), ffi.from_buffer("char[]", values)
    result = lib().bpf_map_update_batch(fd, first_key, first_value, count, opts)
    if result == 0:
        return entries, 0
    if -result not in _NONE_OF_IT:
        return int(count[0]), -result
    key_size, width = len(first_key) // entries, len(first_value) // entries
    for i in range(entries):
        result = lib().bpf_map_update_elem(fd, first_key + i * key_size, first_value + i * width, 0)
        if result:
            return i, -result
    return entries, 0


def push(fd: int, values: Buffer, size: int) -> tuple[int, int]:
    """Puts values of that size at the tail of a queue, in order. (number put, errno that stopped it or 0)."""
    first = ffi.from_buffer("char[]", values)
    put, update_elem = len(first) // size, lib().bpf_map_update_elem
    for i in range(put):
        result = update_elem(fd, ffi.NULL, first + i * size, 0)
        if result:
            return i, -result
    return put, 0


def delete(fd: int, keys: Sequence[bytes]) -> tuple[int, int]:
    """Removes entries. (number removed, errno that stopped it or 0)."""
    opts = ffi.new("struct batch_opts *", {"sz": ffi.sizeof("struct batch_opts")})
    joined = b"".join(keys)
    start, key_size = ffi.from_buffer("char[]", joined), len(keys[0])
    at = deleted = 0
    while at < len(keys):
        count = ffi.new("uint32_t *", len(keys) - at)
        result = lib().bpf_map_delete_batch(fd, start + at * key_size, count, opts)
        if -result in _NONE_OF_IT:
            return _delete_singly(fd, keys[at:], deleted)
        deleted += count[0]
        at += count[0]
        if result == -errno.ENOENT:
            at += 1
        elif result:
            return deleted, -result
    return deleted, 0


def _room(key_size: int, width: int, entries: int) -> tuple[Any, Any, Any]:
    return scratch(entries * key_size), scratch(entries * width), ffi.new("uint32_t *")


def _delete_singly(fd: int, keys: Sequence[bytes], deleted: int) -> tuple[int, int]:
    for key in keys:
        result = lib().bpf_map_delete_elem(fd, key)
        if result not in (0, -errno.ENOENT):
            return deleted, -result
        deleted += result == 0
    return deleted, 0


def _lookup_singly(fd: int, key_size: int, width: int, room: int) -> Iterator[tuple[memoryview, memoryview]]:
    key, value = ffi.new("char[]", key_size), scratch(width)
    result = lib().bpf_map_get_next_key(fd, ffi.NULL, key)
    while result == 0:
        keys, values = bytearray(), bytearray()
        while result == 0 and len(keys) < room * key_size:
            found = lib().bpf_map_lookup_elem(fd, key, value)
            if found == 0:
                keys += ffi.buffer(key)
                values += ffi.buffer(value)
            elif found != -errno.ENOENT:  # ENOENT: removed since
                checked(found, "reading a map")
            result = lib().bpf_map_get_next_key(fd, key, key)
        yield memoryview(keys), memoryview(values)
    if result != -errno.ENOENT:
        checked(result, "walking a map")
