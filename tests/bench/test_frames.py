"""A frame that is injected continues the flow of a real socket, and what was lost on the way is said."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench.frames import report
from bench.frames.shot import FRAME, MARK, frame_of
from bench.frames.site import Sample
from bench.frames.ways import PROTOCOLS, WAYS

FAMILIES = {4: (socket.AF_INET, "127.0.0.1"), 6: (socket.AF_INET6, "::1")}
KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
MACS = "02:00:00:00:00:01", "02:00:00:00:00:02"
ETHERNET = 14


@pytest.fixture
def ends(family: int, protocol: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's socket and its server's, which have talked."""
    number, address = FAMILIES[family]
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket(number, KINDS[protocol]))
        listening.bind((address, 0))
        client = stack.enter_context(socket.socket(number, KINDS[protocol]))
        if protocol == "TCP":
            listening.listen()
            client.connect(listening.getsockname())
            server, _ = listening.accept()
            stack.enter_context(server)
        else:
            client.connect(listening.getsockname())
            server = listening
        server.settimeout(5)
        client.sendall(b"first")
        assert server.recv(100) == b"first"
        yield client, server


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_frame_is_what_the_server_would_get_next(
    ends: tuple[socket.socket, socket.socket], family: int, protocol: str
) -> None:
    client, server = ends
    frame = frame_of(client, *MACS)
    assert len(frame) == FRAME
    number, address = FAMILIES[family]
    with socket.socket(number, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(frame[ETHERNET:], (address, 0))
    got = server.recv(FRAME)
    assert got.endswith(MARK)
    assert frame.endswith(got)


@pytest.mark.parametrize(
    ("arrived", "shown"),
    [
        pytest.param(1000, "**1.00** (1.00–1.00)", id="all came"),
        pytest.param(990, "**0.99** (0.99–0.99)", id="a few did not"),
        pytest.param(900, "**0.90** (0.90–0.90) *10% lost*", id="many did not, and it says so"),
        pytest.param(0, "nothing came", id="none came"),
    ],
)
def test_what_was_lost_is_said(arrived: int, shown: str) -> None:
    samples = {(way, protocol): [Sample(1000, 1000, 1.0)] for way in WAYS for protocol in PROTOCOLS}
    control = WAYS[1]
    samples[control, "TCP"] = [Sample(1000, arrived, 1.0)]
    run = report.Run(WAYS, samples, family=4, cpu=1, machine="", load=0)
    (row,) = (x for x in list(report.tables(run))[:10] if control.title in x)
    assert row.split(" | ")[1] == shown
