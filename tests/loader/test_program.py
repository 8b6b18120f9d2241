"""Running a program on a packet that no interface ever saw."""

from __future__ import annotations

import os
import struct

import pytest

from loader.errors import KernelError, NotSupported
from loader.objects import Object

FRAME = bytes(range(64))
_MARK = 8  # offset in struct __sk_buff; the struct is 192 octets long


def test_return_value_packet_and_context_come_back(sample: Object) -> None:
    cpu = max(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    context = bytearray(192)
    struct.pack_into("=I", context, _MARK, 6)
    result = sample.program("tell_cpu").test_run(FRAME, ctx=bytes(context), cpu=cpu)
    assert result.retval == cpu
    assert result.data == bytes([cpu]) + FRAME[1:]
    assert struct.unpack_from("=I", result.ctx, _MARK) == (7,)
    assert os.sched_getaffinity(0) == before


def test_without_context_none_comes_back(sample: Object) -> None:
    assert sample.program("count_first").test_run(FRAME).ctx == b""


def test_repeat_runs_it_so_many_times(sample: Object) -> None:
    sample.program("count_second").test_run(FRAME, repeat=1000)
    assert sum(sample.map("counts").get(1)) == 1000


def test_a_flag_that_the_kernel_does_not_know_is_not_supported(sample: Object) -> None:
    with pytest.raises(NotSupported, match="0x80000000"):
        sample.program("count_first").test_run(FRAME, flags=1 << 31)


def test_a_frame_too_short_for_ethernet_is_refused(sample: Object) -> None:
    with pytest.raises(KernelError):
        sample.program("count_first").test_run(b"short")
