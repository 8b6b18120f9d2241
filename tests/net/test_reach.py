"""A client reaches a backend through the gateway's address, as itself, and the weights decide which backend."""

from __future__ import annotations

from lab.gateway import Gateway
from lab.shares import wrong_shares
from lab.topology import CLIENT, GATEWAY, SECOND_GATEWAY
from lab.traffic.ask import abort_on_close, ask, associate, connect, outcomes
from lab.traffic.datagrams import Datagrams
from lab.traffic.transfer import Transfer
from tests.net.world import SPLIT, SPLIT_WEIGHTS, STREAM, TO_A

OPEN = {"TCP": connect, "UDP": associate}


def test_backend_sees_the_clients_own_address_and_port(gateway: Gateway, family: int, protocol: str) -> None:
    with OPEN[protocol](gateway.lab.client, GATEWAY[family], TO_A) as endpoint:
        answer = ask(endpoint)
    assert answer.backend == "a"
    assert answer.peer == answer.client
    assert answer.peer[0] == CLIENT[family]


def test_one_flow_stays_with_one_backend(gateway: Gateway, family: int, protocol: str) -> None:
    with OPEN[protocol](gateway.lab.client, GATEWAY[family], SPLIT) as endpoint:
        assert len({ask(endpoint).backend for _ in range(50)}) == 1


def test_new_flows_are_split_by_weight(gateway: Gateway, family: int, protocol: str) -> None:
    seen = outcomes(gateway.lab.client, GATEWAY[family], SPLIT, protocol, 600)
    assert wrong_shares(seen, SPLIT_WEIGHTS) == []


def test_second_address_of_the_gateway_serves_too(gateway: Gateway, family: int, protocol: str) -> None:
    seen = outcomes(gateway.lab.client, SECOND_GATEWAY[family], TO_A, protocol, 20)
    assert seen == {"a": 20}


def test_port_of_a_reset_connection_can_be_used_again_at_once(gateway: Gateway, family: int) -> None:
    source = (str(CLIENT[family]), 15_000)  # the kernel gives it to nobody else
    for _ in range(30):
        with connect(gateway.lab.client, GATEWAY[family], SPLIT, source) as connection:
            assert ask(connection).client[1] == source[1]
            abort_on_close(connection)


def test_long_streams_arrive_whole_both_ways(gateway: Gateway, family: int) -> None:
    with Transfer(gateway.lab.client, GATEWAY[family], STREAM, octets_per_second=0) as transfer:
        transfer.until_moved(40_000_000)
        assert transfer.finish().whole


def test_no_datagram_is_lost_or_doubled(gateway: Gateway, family: int) -> None:
    with Datagrams(gateway.lab.client, GATEWAY[family], TO_A, per_second=1000, size=1200) as datagrams:
        datagrams.until_answered(1000)
        exchanged = datagrams.finish()
    assert (exchanged.lost, exchanged.doubled, exchanged.refused) == (0, 0, 0)
