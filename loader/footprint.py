"""How much memory the kernel will take for a map, from its shape alone.

Decides: octets, by the kernel's own reckoning (kernel/bpf: hashtab.c, arraymap.c, queue_stack_maps.c). Rules: a hash
has all its elements from the beginning, each with a header, and a power of two of buckets; values of arrays and hashes
are rounded up to 8 octets. What a map takes as it fills (BPF_F_NO_PREALLOC), and what is the same for all, is left out.
"""

from __future__ import annotations

from typing import Final

from loader.maps import PER_CPU, MapType, possible_cpus
from loader.pins import MapShape

_ELEMENT: Final = 48  # struct htab_elem
_BUCKET: Final = 16
_POINTER: Final = 8
_NO_PREALLOC: Final = 1  # BPF_F_NO_PREALLOC


def footprint(shape: MapShape) -> int:
    """Octets, on this machine."""
    copies = possible_cpus() if shape.type in PER_CPU else 1
    value = copies * _rounded(shape.value.size)
    if shape.type in PER_CPU:
        value += _POINTER
    if shape.flags & _NO_PREALLOC:
        return 0
    match shape.type:
        case MapType.HASH | MapType.PERCPU_HASH | MapType.LRU_HASH | MapType.LRU_PERCPU_HASH:
            buckets = 1 << (shape.max_entries - 1).bit_length()
            return shape.max_entries * (_ELEMENT + _rounded(shape.key.size) + value) + buckets * _BUCKET
        case MapType.ARRAY | MapType.PERCPU_ARRAY:
            return shape.max_entries * value
        case MapType.QUEUE:
            return shape.max_entries * shape.value.size
    return 0


def _rounded(size: int) -> int:
    return -(-size // 8) * 8
