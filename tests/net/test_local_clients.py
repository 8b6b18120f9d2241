"""The node itself and its pods are clients like any other, a pod even of itself."""

from __future__ import annotations

from lab.gateway import Gateway
from lab.shares import wrong_shares
from lab.topology import GATEWAY
from lab.traffic.ask import REFUSED, outcomes
from lab.traffic.transfer import Transfer
from tests.net.world import SPLIT, SPLIT_WEIGHTS, STREAM, TO_A, UNHEARD


def test_node_is_served_by_weight(gateway: Gateway, family: int, protocol: str) -> None:
    seen = outcomes(gateway.lab.node, GATEWAY[family], SPLIT, protocol, 300)
    assert wrong_shares(seen, SPLIT_WEIGHTS) == []


def test_pod_is_served_by_weight(gateway: Gateway, family: int, protocol: str) -> None:
    seen = outcomes(gateway.lab.backends["c"], GATEWAY[family], SPLIT, protocol, 300)
    assert wrong_shares(seen, SPLIT_WEIGHTS) == []


def test_pod_reaches_itself_through_the_gateway(gateway: Gateway, family: int, protocol: str) -> None:
    seen = outcomes(gateway.lab.backends["a"], GATEWAY[family], TO_A, protocol, 20)
    assert seen == {"a": 20}


def test_port_without_a_listener_is_refused(gateway: Gateway, family: int, protocol: str) -> None:
    for namespace in (gateway.lab.node, gateway.lab.backends["c"]):
        assert outcomes(namespace, GATEWAY[family], UNHEARD, protocol, 5) == {REFUSED: 5}


def test_long_streams_of_the_node_and_of_a_pod_arrive_whole(gateway: Gateway, family: int) -> None:
    for namespace in (gateway.lab.node, gateway.lab.backends["c"]):
        with Transfer(namespace, GATEWAY[family], STREAM, octets_per_second=0) as transfer:
            transfer.until_moved(10_000_000)
            assert transfer.finish().whole
