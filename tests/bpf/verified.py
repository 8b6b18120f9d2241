"""What the verifier of this kernel says that each program of an object costs it.

Rules: the object as it comes, all settings as they stand in the file (others move the figures by one per cent), with
the rig's small tables. Instructions are those that the verifier walked (it gives up at 1,000,000); the stack is that of
the deepest chain of calls, each frame rounded up to 32 octets as the kernel does (it refuses more than 512). A callback
counts as called where it is handed over; of a timer's that is more than the kernel counts.
Must never: pin, attach.
"""

from __future__ import annotations

import bisect
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from loader.libbpf import checked, ffi, info, lib, name_of

from .services import SIZES

ffi.cdef(
    """
    int bpf_program__set_log_buf(void *program, char *log, size_t size);
    int bpf_program__set_log_level(void *program, uint32_t level);
    """
)

_LOG_STATISTICS = 4  # BPF_LOG_STATS: the last lines alone
_LOG_SIZE = 1 << 20
_INSTRUCTION = struct.Struct("=BBhi")
_CALL = (0x85, 1)  # BPF_PSEUDO_CALL
_FUNCTION = (0x18, 4)  # a function's address: BPF_PSEUDO_FUNC
_FRAME = 32
_EACH_DEPTH = re.compile(r"^subprog \d+ .* stack (\d+)", re.MULTILINE)

_Instruction: TypeAlias = tuple[int, int, int, int]
"""Operation, registers, offset, immediate."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one program."""

    instructions: int
    stack: int


class Refused(Exception):
    """The verifier did not take one of the programs; the message is the end of what it said."""


def costs(path: Path) -> dict[str, Cost]:
    """Of each program in the object file. Raises Refused."""
    handle = lib().bpf_object__open_file(str(path).encode(), ffi.NULL)
    assert handle != ffi.NULL, path
    try:
        for image in _each(handle, lib().bpf_object__next_map):
            if entries := SIZES.get(name_of(lib().bpf_map__name(image))):
                checked(lib().bpf_map__set_max_entries(image, entries), "sizing a map")
        logs = {}
        for program in _each(handle, lib().bpf_object__next_program):
            log = logs[name_of(lib().bpf_program__name(program))] = ffi.new("char[]", _LOG_SIZE)
            checked(lib().bpf_program__set_log_buf(program, log, _LOG_SIZE), "taking the log")
            checked(lib().bpf_program__set_log_level(program, _LOG_STATISTICS), "asking for statistics")
        if lib().bpf_object__load(handle) < 0:
            raise Refused("\n".join(f"{name}: {name_of(log)[-2000:]}" for name, log in logs.items() if name_of(log)))
        return {
            name: _cost(name_of(logs[name]), *_kept(lib().bpf_program__fd(program)))
            for program in _each(handle, lib().bpf_object__next_program)
            for name in (name_of(lib().bpf_program__name(program)),)
        }
    finally:
        lib().bpf_object__close(handle)


def deepest(depths: Sequence[int], calls: Sequence[set[int]], function: int = 0) -> int:
    """Octets of stack of the deepest chain that begins with `function`: each one's depth, and whom it calls."""
    frame = -(-max(depths[function], 1) // _FRAME) * _FRAME
    return frame + max((deepest(depths, calls, callee) for callee in calls[function]), default=0)


def _each(handle: Any, following: Any) -> Iterator[Any]:
    item = following(handle, ffi.NULL)
    while item != ffi.NULL:
        yield item
        item = following(handle, item)


def _cost(log: str, code: Sequence[_Instruction], starts: Sequence[int]) -> Cost:
    walked = re.search(r"processed (\d+) insns", log)
    assert walked is not None, log
    # One line of sums; since 7.3 at the latest a line for each function.
    together = re.search(r"stack depth ([\d+]+)", log)
    depths = [int(x) for x in (together[1].split("+") if together else _EACH_DEPTH.findall(log))]
    assert len(starts) == len(depths), (starts, depths)
    calls: list[set[int]] = [set() for _ in starts]
    for at, (operation, registers, offset, immediate) in enumerate(code):
        kind = (operation, registers >> 4)
        if kind in (_CALL, _FUNCTION):
            # What a call said before it was bound to an address stands in its offset.
            target = at + 1 + (offset if kind == _CALL else immediate)
            calls[bisect.bisect_right(starts, at) - 1].add(starts.index(target))
    return Cost(int(walked[1]), deepest(depths, calls))


def _kept(fd: int) -> tuple[list[_Instruction], list[int]]:
    """The program as the kernel keeps it, without functions that are never reached: code, where functions begin."""
    sizes = info("prog_info", fd)
    code = ffi.new("char[]", sizes.xlated_prog_len)
    functions = ffi.new("uint32_t[]", 2 * sizes.nr_func_info)  # struct bpf_func_info: offset, type
    info(
        "prog_info",
        fd,
        xlated_prog_len=sizes.xlated_prog_len,
        xlated_prog_insns=_address(code),
        nr_func_info=sizes.nr_func_info,
        func_info_rec_size=8,
        func_info=_address(functions),
    )
    return list(_INSTRUCTION.iter_unpack(ffi.buffer(code)[:])), list(functions)[::2]


def _address(memory: Any) -> int:
    return int(ffi.cast("uintptr_t", memory))
