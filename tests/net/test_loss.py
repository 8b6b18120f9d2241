"""A wire that loses packets, the same ones in every run, costs time and nothing else."""

from __future__ import annotations

from lab.gateway import Gateway
from lab.loss import lossy_clients
from lab.topology import GATEWAY
from lab.traffic.ask import outcomes
from lab.traffic.transfer import Transfer
from tests.net.world import STREAM, TO_A


def test_streams_arrive_whole_and_no_connection_fails(gateway: Gateway, family: int) -> None:
    with lossy_clients(gateway.lab, per_thousand=10, seed=family) as loss:
        with Transfer(gateway.lab.client, GATEWAY[family], STREAM, octets_per_second=0) as transfer:
            transfer.until_moved(5_000_000)
            assert transfer.finish().whole
        assert outcomes(gateway.lab.client, GATEWAY[family], TO_A, "TCP", 50) == {"a": 50}
        assert loss.lost() > 0
