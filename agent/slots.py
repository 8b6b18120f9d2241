"""Which slot of its pool a new flow falls on: bpf/choose.h once more, so that it can be shown. Pure.

Rules: never decides anything; what the programs chose is read from them, and a test compares the two.
"""

from __future__ import annotations

import struct
from ipaddress import ip_network

from agent.packet import Tuple

_WORD = 0xFFFFFFFF


def slot_of(flow: Tuple, seed: int, slots: int, affinity: int = 0) -> int:
    """The slot, of so many, of a tuple; `seed` is `hash_seed` of bpf/settings.h; `affinity`: the leading bits of the
    source that choose, 0: the whole tuple does.
    """
    return (source_hash(flow, seed, affinity) if affinity else tuple_hash(flow, seed)) % slots


def tuple_hash(flow: Tuple, seed: int) -> int:
    """murmur3 of addresses, ports and protocol."""
    value = seed
    addresses = flow.source.packed + flow.destination.packed
    for word in (
        *(x for (x,) in struct.iter_unpack("=I", addresses)),  # as the machine loads them
        flow.sport << 16 | flow.dport,
        flow.protocol,
    ):
        value = _mixed(value, word)
    return _finished(value)


def source_hash(flow: Tuple, seed: int, prefix: int) -> int:
    """murmur3 of the leading bits of the source."""
    value = seed
    for (word,) in struct.iter_unpack("=I", ip_network((flow.source, prefix), strict=False).network_address.packed):
        value = _mixed(value, word)
    return _finished(value)


def _mixed(value: int, word: int) -> int:
    word = word * 0xCC9E2D51 & _WORD
    word = (word << 15 | word >> 17) & _WORD
    value ^= word * 0x1B873593 & _WORD
    value = (value << 13 | value >> 19) & _WORD
    return (value * 5 + 0xE6546B64) & _WORD


def _finished(value: int) -> int:
    value = (value ^ value >> 16) * 0x85EBCA6B & _WORD
    value = (value ^ value >> 13) * 0xC2B2AE35 & _WORD
    return value ^ value >> 16
