"""Where segments overtake each other and datagrams are lost, a stream is whole and a flow has one backend."""

from __future__ import annotations

import contextlib
import json
from contextlib import ExitStack

import pytest

from lab.gateway import Gateway
from lab.loss import lossy
from lab.netns import Namespace
from lab.servers.witness import streams
from lab.topology import GATEWAY
from lab.traffic.ask import associate
from lab.traffic.transfer import Transfer
from lab.wait import until
from tests.net.harm import resets, unwanted
from tests.net.lossy import served
from tests.net.near_and_far import EITHER, LISTENERS, Backends

ONE_IN_TEN, ONE_IN_SEVEN = 100, 143  # of a thousand
FLOWS, QUESTIONS = 30, 4


def out_of_order(end: Namespace) -> int:
    """Segments that the end got before others that were sent before them."""
    return end.counters()["TcpExtTCPOFOQueue"]


@pytest.mark.parametrize("backend", LISTENERS)
def test_segments_that_overtake_each_other_are_one_whole_stream(
    both: tuple[Gateway, Backends], backend: str, family: int
) -> None:
    gateway, backends = both
    client, (serving, process) = gateway.lab.client, backends[backend]
    ask_port, stream_port = LISTENERS[backend]
    resets_before, unwanted_before, ended = resets(client), unwanted(gateway), len(streams(process))
    disordered = out_of_order(client), out_of_order(serving)
    with (
        lossy(gateway.lab, client, seed=family, late=ONE_IN_TEN) as there,
        lossy(gateway.lab, serving, seed=family, late=ONE_IN_TEN) as back,
    ):
        with Transfer(client, GATEWAY[family], stream_port, octets_per_second=0) as transfer:
            transfer.until_moved(1_000_000)
            result = transfer.finish()
            assert result.whole, result
        assert served(client, family, ask_port, 10) == {backend: 10}
        assert min(there.late(), back.late()) > 10
    until(lambda: len(streams(process)) > ended, "the stream ended at its server")
    assert [x.intact for x in streams(process)[ended:]] == [True]
    assert out_of_order(client) > disordered[0]
    assert out_of_order(serving) > disordered[1]
    assert resets(client) == resets_before
    assert unwanted(gateway) == unwanted_before


def answers(namespace: Namespace, family: int, port: int, flow: int) -> set[str]:
    """Who answers the questions of one flow, each asked until an answer to it comes; every answer that comes counts."""
    seen = set()
    with associate(namespace, GATEWAY[family], port) as endpoint:
        endpoint.settimeout(0.1)
        for number in range(QUESTIONS):
            question = f"{flow}/{number}".encode()
            answer = b""
            while answer != question:
                endpoint.send(question)
                with contextlib.suppress(TimeoutError):
                    who, _, answer = endpoint.recv(2048).partition(b"\n")
                    assert answer.startswith(f"{flow}/".encode())
                    seen.add(json.loads(who)["backend"])
    return seen


@pytest.mark.parametrize("side", ["client", "backends"])
def test_datagrams_of_which_one_in_seven_is_lost_stay_at_their_backend(
    both: tuple[Gateway, Backends], side: str, family: int
) -> None:
    gateway, backends = both
    lab = gateway.lab
    with ExitStack() as stack:
        ends = [lab.client] if side == "client" else [namespace for namespace, _ in backends.values()]
        wires = [stack.enter_context(lossy(lab, x, seed=family, lose=ONE_IN_SEVEN, double=ONE_IN_SEVEN)) for x in ends]
        for backend, (port, _) in LISTENERS.items():
            assert answers(lab.client, family, port, 0) == {backend}
        served = [answers(lab.client, family, EITHER, flow) for flow in range(1, FLOWS)]
        assert all(len(x) == 1 for x in served)
        assert set().union(*served) == {"a", "remote"}
        assert all(x.lost() and x.doubled() for x in wires)
