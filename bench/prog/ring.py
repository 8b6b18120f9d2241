"""A ring of very many flows: a packet that is run again and again is another flow's each time.

Each flow rewrites its packet to the destination of the next one's, as far as a million flows go round:

    client -> 10.210.0.0:1   becomes   client -> 10.214.2.7:8   becomes   client -> 10.211.9.1:3 ...

Decides: the order. It is random, and another than that in which the entries were made, so neither the key nor where
the kernel put the entry tells where the next one is.
Rules: every entry is a copy of one that the programs made (way.py), with other destinations; the other halves are there
too, so the table is as full as with so many real flows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.prog import frames
from bench.prog.cases import client, gateway
from bench.prog.frames import Hook
from bench.prog.way import DataPath
from lab.topology import Address
from loader.codec import Codec
from loader.maps import Map

PORTS: Final = 8
_FIRST: Final = {4: ip_address("10.210.0.0"), 6: ip_address("fd00:210::")}
_SEED: Final = 1
_LOOK_UP_KEY: Final = np.dtype(
    [("saddr", ">u4", 4), ("daddr", ">u4", 4), ("sport", ">u2"), ("dport", ">u2"), ("protocol", "u1"), ("pad", "u1", 3)]
)
_LOOK_UP_VALUE: Final = np.dtype([("daddr", ">u4"), ("dport", ">u2"), ("pad", "u2"), ("seen", "u8")])
_AT_ONCE: Final = 1 << 16


def lay(path: DataPath, family: int) -> bytes:
    """Makes a ring of `path.setup.flows` in table tcp_flows of the family; the frame of one of its packets, a request.

    The flow of the case "TCP, established, request" is there already.
    """
    flows = path.setup.flows
    table = path.object.map(f"tcp_flows{family}")
    halves = _halves(path, family)
    for here, following in _rounds(flows):
        for half in halves:
            table.set_many_raw(half.entries(here, following))
    return _frame(path, family)


def lay_looked_up(path: DataPath, table: Map) -> bytes:
    """The same ring, of IPv4, in `look_up_table` (bench/floor.bpf.c); the frame of one of its packets."""
    source, port = client(4)
    for here, following in _rounds(path.setup.flows):
        keys, values = np.zeros(len(here), _LOOK_UP_KEY), np.zeros(len(here), _LOOK_UP_VALUE)
        keys["saddr"][:, 0], keys["sport"], keys["protocol"] = int(source), port, 6
        for rows, address, numbers in ((keys, keys["daddr"][:, 0], here), (values, values["daddr"], following)):
            address[:] = int(_FIRST[4]) + numbers // PORTS
            rows["dport"] = 1 + numbers % PORTS
        table.set_many_raw([(x.tobytes(), y.tobytes()) for x, y in zip(keys, values, strict=True)])
    return _frame(path, 4)


def _rounds(flows: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Some numbers of flows each, and those of the flows after them."""
    here, following = np.arange(flows), np.empty(flows, np.int64)
    order = np.random.default_rng(_SEED).permutation(flows)
    following[order] = np.roll(order, -1)
    for at in range(0, flows, _AT_ONCE):
        yield here[at : at + _AT_ONCE], following[at : at + _AT_ONCE]


def _frame(path: DataPath, family: int) -> bytes:
    return frames.tcp(path.interfaces[Hook.UPLINK_INGRESS], client(family), _destination(family, 0))


class _Half:
    """One direction's entries, made of one of the programs' own. `mine`, `next`: what of key and value says where the
    client sends its packets, and where they are rewritten to."""

    def __init__(self, family: int, key: Codec, value: Codec, entry: tuple[bytes, bytes], *, is_reply: bool) -> None:
        self._family = family
        self._key, self._value = key, value
        self._entry = entry
        self._mine = ("daddr", "dport", "key") if not is_reply else ("to_saddr.octets", "to_sport", "value")
        self._next = ("to_daddr.octets", "to_dport", "value") if not is_reply else ("saddr", "sport", "key")

    def entries(self, here: NDArray[np.int64], following: NDArray[np.int64]) -> list[tuple[bytes, bytes]]:
        """Of the flows with these numbers, each with that of the one after it."""
        arrays = {
            "key": np.tile(np.frombuffer(self._entry[0], np.uint8), (len(here), 1)),
            "value": np.tile(np.frombuffer(self._entry[1], np.uint8), (len(here), 1)),
        }
        for numbers, (address, port, where) in ((here, self._mine), (following, self._next)):
            codec = self._key if where == "key" else self._value
            self._write(arrays[where], codec, address, (numbers // PORTS).astype(">u4").view(np.uint8).reshape(-1, 4))
            ports = (1 + numbers % PORTS).astype(np.uint16).view(np.uint8).reshape(-1, 2)
            self._write(arrays[where], codec, port, ports)
        check = _key_check(arrays["key"]).view(np.uint8).reshape(-1, 4)
        self._write(arrays["value"], self._value, "key_check", check)
        return [(x.tobytes(), y.tobytes()) for x, y in zip(arrays["key"], arrays["value"], strict=True)]

    def _write(self, entries: NDArray[np.uint8], codec: Codec, name: str, octets: NDArray[np.uint8]) -> None:
        field = next(x for x in codec.fields if x.path == name)
        end = field.offset + (octets.shape[1] if field.size < 16 else _FIRST[self._family].max_prefixlen // 8)
        entries[:, end - octets.shape[1] : end] |= octets


def _halves(path: DataPath, family: int) -> tuple[_Half, _Half]:
    """The request and the reply half that the programs made, with the destinations taken out."""
    table = path.object.map(f"tcp_flows{family}")
    here, there, backend = client(family), gateway("a", family), gateway("b", family)
    request, reply = _tuple(here, there), _tuple(backend, here)
    first = _octets(_FIRST[family])
    of_request = table.get(request) | {"to_daddr": {"octets": first}, "to_dport": 0, "key_check": 0}
    of_reply = table.get(reply) | {"to_saddr": {"octets": first}, "to_sport": 0, "key_check": 0}
    request |= {"daddr": _FIRST[family].packed, "dport": 0}
    reply |= {"saddr": _FIRST[family].packed, "sport": 0}
    return (
        _Half(family, table.key, table.value, (table.key.pack(request), table.value.pack(of_request)), is_reply=False),
        _Half(family, table.key, table.value, (table.key.pack(reply), table.value.pack(of_reply)), is_reply=True),
    )


def _tuple(source: frames.End, destination: frames.End) -> dict[str, Any]:
    addresses = {"saddr": source[0].packed, "daddr": destination[0].packed}
    return {**addresses, "sport": source[1], "dport": destination[1], "protocol": 6, "zone": 0}


def _octets(address: Address) -> bytes:
    return address.packed.ljust(16, b"\0")


def _destination(family: int, number: int) -> frames.End:
    return _FIRST[family] + number // PORTS, 1 + number % PORTS


def _key_check(keys: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """key_check() of bpf/flow.h: the mix of all words of a key but the last, and the protocol."""
    assert sys.byteorder == "little"
    words = keys.view(np.uint32)
    mixed = np.zeros(len(keys), np.uint32)
    for column in range(words.shape[1] - 1):
        mixed = mixed * np.uint32(31) + words[:, column]
    return mixed + (words[:, -1] & np.uint32(0xFF))
