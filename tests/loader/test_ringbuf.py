"""Records from a program to user space."""

from __future__ import annotations

import select

from loader.objects import Object
from loader.ringbuf import RingBuffer


def test_records_come_in_order_and_once(sample: Object) -> None:
    inner = sample.btf.struct("inner")
    with RingBuffer(sample.map("events")) as events:
        assert events.poll() == []
        for length in (60, 70, 80):
            sample.program("report").test_run(bytes(length))
        assert select.select([events], [], [], 5)[0] == [events]
        assert [inner.unpack(x)["mtu"] for x in events.poll(timeout=5)] == [60, 70, 80]
        assert events.poll() == []


def test_a_full_buffer_loses_new_records_and_goes_on(sample: Object) -> None:
    with RingBuffer(sample.map("events")) as events:
        sample.program("report").test_run(bytes(64), repeat=1000)
        first = len(events.poll())
        assert 0 < first < 1000
        sample.program("report").test_run(bytes(64))
        assert len(events.poll(timeout=5)) == 1
