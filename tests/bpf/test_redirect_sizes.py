"""Redirect delivery of super-packets: what counts is the segment that the wire will see, not the packet."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP as TCPHeader

from .conftest import OpenRig
from .objects import FORWARDED, PASS, REDIRECT, UPLINK_INGRESS
from .services import SERVED, TCP
from .story import CLIENT_PORT, between
from .world import Net

DELIVERY_REDIRECT = 1
MTU = 1500
TIMESTAMPS = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]


@pytest.mark.parametrize("options", [[], TIMESTAMPS], ids=["no TCP options", "TCP timestamps"])
@pytest.mark.parametrize(("over", "action"), [(0, REDIRECT), (1, PASS)], ids=["fills the MTU", "one octet more"])
def test_a_super_packet_is_judged_by_its_segments(
    open_rig: OpenRig, net: Net, options: list[tuple[str, object]], over: int, action: int
) -> None:
    rig = open_rig(delivery=DELIVERY_REDIRECT)
    near, gateway = (net.client, CLIENT_PORT), (net.gateway, SERVED)
    rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, between(net, TCP, near, gateway, "S", seq=100)))
    headers = (20 if net.words == 4 else 40) + (32 if options else 20)
    size = MTU - headers + over
    data = between(net, TCP, near, gateway, "A", seq=101, ack=501) / (b"x" * 2 * size)
    data[TCPHeader].options = options
    outcome = rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, data), gso_size=size, gso_segs=2)
    assert (outcome.verdict, outcome.action) == (FORWARDED, action)
