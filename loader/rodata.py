"""Sets `const volatile` variables of an object before it is loaded; the verifier then drops the branches not taken.

Rules: a variable is found by its name through BTF, and packed by its type. Valid only between open and load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loader.btf import Btf
from loader.errors import UnknownName
from loader.libbpf import ffi, lib

SECTION = ".rodata"


def write(image: Any, btf: Btf, values: Mapping[str, int]) -> None:
    """Writes `values` into `image`, libbpf's map of the section (None if the object has none)."""
    variables = btf.section(SECTION)
    for name, value in values.items():
        if name not in variables or image is None:
            raise UnknownName(f"no variable {name} in {SECTION}")
        variable = variables[name]
        size = ffi.new("size_t *")
        start = ffi.cast("char *", lib().bpf_map__initial_value(image, size))
        octets = btf.codec(variable.type_id).pack(value)
        ffi.memmove(start + variable.offset, octets, variable.size)
