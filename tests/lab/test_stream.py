"""A checked stream notices everything that can befall a stream."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable

import pytest

from lab.traffic import stream
from lab.traffic.ask import abort_on_close

SIZE = 1_000_000


def sent() -> bytes:
    """A whole stream, as it is on the wire."""
    progress = stream.Progress()
    near, far = socket.socketpair()
    with near, far:
        whole = bytearray()

        def collect() -> None:
            while part := far.recv(1 << 16):
                whole.extend(part)

        collector = threading.Thread(target=collect)
        collector.start()
        stream.send(near, seed=1, octets_per_second=0, finished=lambda: progress.octets >= SIZE, progress=progress)
        near.shutdown(socket.SHUT_WR)
        collector.join()
    return bytes(whole)


def received(wire: bytes) -> stream.Received:
    """What a receiver says of these octets followed by the connection's end."""
    near, far = socket.socketpair()
    with near, far:

        def feed() -> None:
            near.sendall(wire)
            near.shutdown(socket.SHUT_WR)

        feeder = threading.Thread(target=feed)
        feeder.start()
        result = stream.receive(far, stream.Progress())
        feeder.join()
    return result


def test_a_stream_that_arrives_as_it_was_sent_is_intact() -> None:
    result = received(sent())
    assert result.intact
    assert result.octets >= SIZE


def test_a_rate_below_a_frame_for_each_look_is_kept() -> None:
    """Of one octet a second the first frame is enough for as long as anybody looks."""
    looks = itertools.count()
    near, far = socket.socketpair()
    with near, far:
        stream.send(near, seed=1, octets_per_second=1, finished=lambda: next(looks) >= 5, progress=stream.Progress())
        near.shutdown(socket.SHUT_WR)
        length = stream.LENGTH.unpack(far.recv(stream.LENGTH.size, socket.MSG_WAITALL))[0]
        far.recv(length, socket.MSG_WAITALL)
        assert stream.LENGTH.unpack(far.recv(stream.LENGTH.size, socket.MSG_WAITALL)) == (0,)


@pytest.mark.parametrize(
    "harm",
    [
        lambda wire: wire[:500] + bytes([wire[500] ^ 1]) + wire[501:],
        lambda wire: wire[:-1],
        lambda wire: wire[:100_000] + wire[100_000 + 1_448 :],
        lambda wire: wire[:100_000] + wire[98_552:100_000] + wire[100_000:],
    ],
    ids=["one bit changed", "the end is missing", "a segment is missing", "a segment came twice"],
)
def test_a_stream_that_was_harmed_is_not(harm: Callable[[bytes], bytes]) -> None:
    result = received(harm(sent()))
    assert not result.intact
    assert not result.reset
    assert result.error


def test_a_reset_is_told_apart_from_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        with far:
            abort_on_close(near)
            near.close()
            result = stream.receive(far, stream.Progress())
    assert result.reset
