"""What a wire loses its sender must not learn of: the kernel would send it again at once, or give its connection up."""

from __future__ import annotations

import socket

import pytest

from lab.loss import lossy
from lab.servers.witness import PORT, witness
from lab.topology import FAMILIES, Lab, Shape
from lab.traffic.ask import ask, associate

NAME = "loss"

# From include/uapi/linux/in.h and in6.h; with them a datagram that the queue did not take is an error (ip(7)).
RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_packet_that_is_lost_on_its_way_out_counts_as_sent(family: int) -> None:
    with (
        Lab(NAME, Shape({"a": 11})) as lab,
        witness(lab, "a"),
        associate(lab.client, lab.address("a", family), PORT) as endpoint,
    ):
        endpoint.setsockopt(*RECVERR[family], 1)
        ask(endpoint)  # the neighbour is known: nothing waits for it
        with lossy(lab, lab.client, seed=1, lose=1000) as wire:
            assert endpoint.send(b"lost") == 4
            assert wire.lost() > 0
