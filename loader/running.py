"""What a program that is in the kernel was loaded with, whoever loaded it.

Rules: variables are found by name through the BTF that the kernel keeps with the program, not through any file, which
may have been built anew since. Reads only; but a program array that is opened here keeps the programs in it until it is
closed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from loader.btf import Btf, kernel_btf
from loader.codec import octets_codec
from loader.errors import LoaderError
from loader.libbpf import checked, ffi, info, lib, name_of
from loader.maps import Map, MapType
from loader.rodata import SECTION

_INDEX = octets_codec(4)


def constants(program_id: int) -> Mapping[str, int]:
    """The numbers among a program's `const volatile` variables, by name. LoaderError if they cannot be read."""
    with _open(lib().bpf_prog_get_fd_by_id(program_id), f"opening program {program_id}") as program:
        for number in _maps_of(program):
            with _open(lib().bpf_map_get_fd_by_id(number), f"opening map {number}") as fd:
                about = info("map_info", fd)[0]
                if about.btf_id and name_of(about.name).endswith(SECTION):
                    image = Map(fd, SECTION, _INDEX, octets_codec(about.value_size)).get_raw(bytes(4)) or b""
                    return _numbers(image, about.btf_id)
    raise LoaderError(f"program {program_id} has no constants with BTF")


def program_array(program_id: int, name: str) -> Map | None:
    """A program's program array of that name, None if it has none; the caller closes it. LoaderError."""
    with _open(lib().bpf_prog_get_fd_by_id(program_id), f"opening program {program_id}") as program:
        for number in _maps_of(program):
            fd = checked(lib().bpf_map_get_fd_by_id(number), f"opening map {number}")
            about = info("map_info", fd)
            if about.type == MapType.PROG_ARRAY and name_of(about.name) == name:
                return Map.owning(fd, name)
            os.close(fd)
    return None


def tag(program_id: int) -> bytes:
    """The kernel's digest of a program's instructions, eight octets: the same for two that were built from the same."""
    with _open(lib().bpf_prog_get_fd_by_id(program_id), f"opening program {program_id}") as program:
        return bytes(info("prog_info", program).tag)


def types(program_id: int) -> Btf:
    """The types that a program was built with. LoaderError if it came without."""
    with _open(lib().bpf_prog_get_fd_by_id(program_id), f"opening program {program_id}") as program:
        number = int(info("prog_info", program).btf_id)
    if not number:
        raise LoaderError(f"program {program_id} has no BTF")
    return kernel_btf(number)


def _numbers(image: bytes, btf_id: int) -> Mapping[str, int]:
    btf = kernel_btf(btf_id)
    values = {
        name: btf.codec(x.type_id).unpack(image[x.offset : x.offset + x.size])
        for name, x in btf.section(SECTION).items()
    }
    return {name: x for name, x in values.items() if isinstance(x, int)}


def _maps_of(program: int) -> list[int]:
    count = int(info("prog_info", program).nr_map_ids)
    ids = ffi.new("uint32_t[]", max(count, 1))
    info("prog_info", program, nr_map_ids=count, map_ids=int(ffi.cast("uint64_t", ids)))
    return [int(ids[i]) for i in range(count)]


@contextlib.contextmanager
def _open(fd: int, what: str) -> Iterator[int]:
    checked(fd, what)
    try:
        yield fd
    finally:
        os.close(fd)
