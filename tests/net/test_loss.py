"""A wire that loses packets and doubles others, the same ones in every run, costs time and nothing else.

So whoever waits for something that goes over it has patience for what TCP does on its own.
"""

from __future__ import annotations

import pytest

from lab.gateway import Gateway
from lab.loss import lossy
from lab.servers.witness import streams
from lab.topology import FAMILIES, GATEWAY
from lab.traffic.transfer import Transfer
from lab.wait import until
from tests.net.harm import resets, unwanted
from tests.net.lossy import served, until_closed
from tests.net.near_and_far import LISTENERS, Backends
from tests.net.world import STREAM, TO_A

ONE_IN_SEVEN = 143  # of a thousand
OCTETS = 200_000


def test_streams_arrive_whole_and_no_connection_fails(gateway: Gateway, family: int) -> None:
    with lossy(gateway.lab, gateway.lab.client, seed=family, lose=10) as loss:
        with Transfer(gateway.lab.client, GATEWAY[family], STREAM, octets_per_second=0) as transfer:
            transfer.until_moved(5_000_000)
            assert transfer.finish().whole
        assert served(gateway.lab.client, family, TO_A, 50) == {"a": 50}
        assert loss.lost() > 0


@pytest.mark.parametrize("side", ["client", "backend"])
@pytest.mark.parametrize("backend", LISTENERS)
def test_one_packet_in_seven_lost_and_one_doubled_is_no_reset(
    both: tuple[Gateway, Backends], backend: str, side: str
) -> None:
    gateway, backends = both
    client, (serving, process) = gateway.lab.client, backends[backend]
    resets_before, unwanted_before, ended = resets(client, serving), unwanted(gateway), len(streams(process))
    ask_port, stream_port = LISTENERS[backend]
    end = client if side == "client" else serving
    for family in FAMILIES:
        with lossy(gateway.lab, end, seed=family, lose=ONE_IN_SEVEN, double=ONE_IN_SEVEN) as wire:
            with Transfer(client, GATEWAY[family], stream_port, octets_per_second=0) as transfer:
                transfer.until_moved(OCTETS)
                result = transfer.finish()
                assert result.whole, result
            assert served(client, family, ask_port, 5) == {backend: 5}
            until_closed(client, serving)
            assert wire.lost() > 0
            assert wire.doubled() > 0
    until(lambda: len(streams(process)) >= ended + len(FAMILIES), "the streams ended at their server")
    assert [x.intact for x in streams(process)[ended:]] == [True] * len(FAMILIES)
    assert resets(client, serving) == resets_before
    assert unwanted(gateway) == unwanted_before
