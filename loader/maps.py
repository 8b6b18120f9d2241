"""A map of the kernel with typed keys and values.

Decides: how a map is opened, read and written, and which error a refusal is. Rules: values are those of codec.py; a
per-CPU map gives and takes a list with one value per possible CPU; whole-map and many-entry operations go through
batch.py. A reader sees each entry as it was at some moment, never the map as a whole.
Must never: assume a layout that BTF does not give; write on a read.
"""

from __future__ import annotations

import enum
import errno
import functools
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from loader import batch
from loader.btf import kernel_btf
from loader.codec import Codec, Value, octets_codec
from loader.convert import Octets
from loader.errors import EntryExists, LoaderError, MapFull, from_errno
from loader.libbpf import ffi, info, lib, pinned_fd, scratch

ANY, NOEXIST = 0, 1  # linux/bpf.h: BPF_ANY, BPF_NOEXIST


class MapType(enum.IntEnum):
    """enum bpf_map_type, as far as it is used here; others are plain numbers."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    DEVMAP = 14
    QUEUE = 22
    DEVMAP_HASH = 25


PER_CPU = frozenset({MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH})
_HASHES = frozenset({MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH})


class Map:
    """One map. `key` and `value` are its codecs (bytes where the map has no BTF).

    A Map from `Object.map` is valid while that Object is open; one that was opened here until its own `close`.
    """

    def __init__(self, fd: int, name: str, key: Codec | None = None, value: Codec | None = None) -> None:
        about = info("map_info", fd)[0]
        btf = kernel_btf(about.btf_id) if about.btf_id else None
        self.fd = fd
        self.name = name
        self.id = int(about.id)
        self.type = int(about.type)
        self.max_entries = int(about.max_entries)
        self.flags = int(about.map_flags)
        self.key = key or (
            btf.codec(about.btf_key_type_id) if btf and about.btf_key_type_id else octets_codec(about.key_size)
        )
        self.value = value or (
            btf.codec(about.btf_value_type_id) if btf and about.btf_value_type_id else octets_codec(about.value_size)
        )
        self._per_cpu = self.type in PER_CPU
        self._stride = -(-self.value.size // 8) * 8 if self._per_cpu else self.value.size
        self._width = self._stride * self.values_per_key
        self._owned = False

    @classmethod
    def open_pinned(cls, path: Path) -> Map:
        """The map pinned at `path`; its name is the file's. LoaderError if there is none."""
        fd = pinned_fd(path, "map")
        if fd is None:
            raise LoaderError(f"no map is pinned at {path}")
        return cls.owning(fd, path.name)

    @classmethod
    def owning(cls, fd: int, name: str) -> Self:
        """The map behind `fd`, which is the Map's own from now on."""
        opened = cls(fd, name)
        opened._owned = True
        return opened

    def close(self) -> None:
        """Gives the fd back if this Map owns it. The map itself lives on while it is pinned or used."""
        if self._owned:
            self._owned = False
            os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def values_per_key(self) -> int:
        """One, or one for each CPU."""
        return possible_cpus() if self._per_cpu else 1

    @property
    def memory_bytes(self) -> int:
        """Kernel memory charged for the map, as /proc/self/fdinfo shows it (memlock)."""
        for line in Path(f"/proc/self/fdinfo/{self.fd}").read_text().splitlines():
            if line.startswith("memlock:"):
                return int(line.split()[1])
        raise LoaderError(f"map {self.name}: the kernel does not tell its memory")

    # ---- one entry

    def get(self, key: Value) -> Value:
        """The value at `key`, None if there is none."""
        octets = self.get_raw(self.key.pack(key))
        return None if octets is None else self._unpack(octets)

    def set(self, key: Value, value: Value, *, create_only: bool = False) -> None:
        """Stores `value`. MapFull if there is no room; EntryExists if `create_only` and the key is there."""
        self.set_raw(self.key.pack(key), self._pack(value), create_only=create_only)

    def delete(self, key: Value) -> bool:
        """Removes the entry; False if there was none."""
        result = lib().bpf_map_delete_elem(self.fd, self.key.pack(key))
        if result == -errno.ENOENT:
            return False
        self._check(result)
        return True

    def get_raw(self, key: bytes) -> bytes | None:
        """The octets at `key`; of a per-CPU map all CPUs', each padded to eight."""
        self._expect(key, self.key.size)
        out = scratch(self._width)
        result = lib().bpf_map_lookup_elem(self.fd, key, out)
        if result == -errno.ENOENT:
            return None
        self._check(result)
        return bytes(ffi.buffer(out))

    def set_raw(self, key: bytes, value: bytes, *, create_only: bool = False) -> None:
        """Stores octets, of exactly the map's sizes."""
        self._expect(key, self.key.size)
        self._expect(value, self._width)
        self._check(lib().bpf_map_update_elem(self.fd, key, value, NOEXIST if create_only else ANY))

    def pop(self) -> Value:
        """The head of a queue, taken out of it; None if it is empty."""
        out = scratch(self._width)
        result = lib().bpf_map_lookup_and_delete_elem(self.fd, ffi.NULL, out)
        if result == -errno.ENOENT:
            return None
        self._check(result)
        return self._unpack(bytes(ffi.buffer(out)))

    def push(self, value: Value) -> None:
        """Puts `value` at the tail of a queue. MapFull if there is no room."""
        self._check(lib().bpf_map_update_elem(self.fd, ffi.NULL, self._pack(value), ANY))

    # ---- many entries

    def items(self) -> Iterator[tuple[Value, Value]]:
        """All entries. Entries added or removed meanwhile may or may not be seen; of a hash, none is seen twice
        where the kernel has batch operations."""
        for keys, values in self._chunks():
            yield from zip(self.key.unpack_many(keys, self.key.size), self._unpack_many(values), strict=True)

    def raw_items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries as octets."""
        size, width = self.key.size, self._width
        for keys, values in self._chunks():
            for i in range(len(keys) // size):
                yield bytes(keys[i * size : (i + 1) * size]), bytes(values[i * width : (i + 1) * width])

    def chunks(self) -> Iterator[tuple[Octets, Octets]]:
        """All entries, many at a time: rows of keys and rows of values, those of a per-CPU map one for each CPU, padded
        to eight octets. Valid until the next are asked for."""
        for keys, values in self._chunks():
            rows = np.frombuffer(values, np.uint8).reshape(-1, self._stride)
            yield np.frombuffer(keys, np.uint8).reshape(-1, self.key.size), rows

    def set_chunk(self, keys: Octets, values: Octets) -> None:
        """Stores rows as `chunks` gives them. MapFull tells how many were stored before there was no more room."""
        if len(keys):
            written, number = batch.update_joined(
                self.fd, np.ascontiguousarray(keys), np.ascontiguousarray(values), len(keys)
            )
            if number:
                self._check(-number, written)

    def push_chunk(self, values: Octets) -> None:
        """Puts rows at the tail of a queue, in order. MapFull tells how many were put before there was no more room."""
        written, number = batch.push(self.fd, np.ascontiguousarray(values), self.value.size)
        if number:
            self._check(-number, written)

    def set_many(self, items: Iterable[tuple[Value, Value]]) -> None:
        """Stores all, in order. MapFull tells how many were stored before there was no more room."""
        self.set_many_raw((self.key.pack(k), self._pack(v)) for k, v in items)

    def set_many_raw(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """`set_many` of octets."""
        written, left = 0, iter(items)
        while chunk := list(itertools.islice(left, self._chunk)):
            for key, value in chunk:
                self._expect(key, self.key.size)
                self._expect(value, self._width)
            done, number = batch.update(self.fd, [k for k, _ in chunk], [v for _, v in chunk])
            written += done
            if number:
                self._check(-number, written)

    def delete_many(self, keys: Iterable[Value]) -> int:
        """Removes the entries that are there; how many those were."""
        deleted, left = 0, map(self.key.pack, keys)
        while chunk := list(itertools.islice(left, self._chunk)):
            done, number = batch.delete(self.fd, chunk)
            deleted += done
            if number:
                self._check(-number)
        return deleted

    @property
    def _chunk(self) -> int:
        return batch.chunk_entries(self.key.size + self._width)

    def _chunks(self) -> Iterator[tuple[memoryview, memoryview]]:
        return batch.lookup(self.fd, self.key.size, self._width, self.max_entries, in_buckets=self.type in _HASHES)

    def _pack(self, value: Value) -> bytes:
        if not self._per_cpu:
            return self.value.pack(value)
        if len(value) != possible_cpus():
            raise LoaderError(f"map {self.name}: {len(value)} values for {possible_cpus()} CPUs")
        return b"".join(self.value.pack(x).ljust(self._stride, b"\0") for x in value)

    def _unpack(self, octets: bytes) -> Value:
        return list(self.value.unpack_many(octets, self._stride)) if self._per_cpu else self.value.unpack(octets)

    def _unpack_many(self, octets: memoryview) -> Iterator[Value]:
        values = self.value.unpack_many(octets, self._stride)
        if not self._per_cpu:
            return values
        return (list(x) for x in zip(*[values] * possible_cpus(), strict=True))

    def _expect(self, octets: bytes, size: int) -> None:
        if len(octets) != size:
            raise LoaderError(f"map {self.name}: {len(octets)} octets where {size} are needed")

    def _check(self, result: int, written: int = 0) -> None:
        if result >= 0:
            return
        if result == -errno.E2BIG:
            raise MapFull(self.name, self.max_entries, written)
        if result == -errno.EEXIST:
            raise EntryExists(f"map {self.name}: the key is there already")
        raise from_errno(-result, f"map {self.name}")


@functools.cache
def possible_cpus() -> int:
    """CPUs that could ever be online: how many values an entry of a per-CPU map has."""
    return int(lib().libbpf_num_possible_cpus())
