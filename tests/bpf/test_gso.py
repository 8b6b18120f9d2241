"""Super-packets: one skb that the wire will see as many packets. Counted as those, rewritten as one."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from .exchange import carried
from .kernel import Checksums
from .objects import FORWARDED, REDIRECT, REJECTED_RST, REPLIED, UPLINK_EGRESS, UPLINK_INGRESS
from .rig import Rig
from .services import BACKEND_PORT, CLOSED_PORT, SERVED, SERVICES, TCP, UDP
from .story import CLIENT_PORT, Story, backend, between, client, ip
from .wire import l4_checksum_is_right, layout
from .world import Net

SEGMENT, COUNT = 700, 4
PAYLOAD = bytes(range(256)) * (SEGMENT * COUNT // 256) + bytes(SEGMENT * COUNT % 256)


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_a_super_packet_is_rewritten_as_one_and_counted_as_many(rig: Rig, net: Net, protocol: int) -> None:
    far, near, pod = (net.client, CLIENT_PORT), (net.gateway, SERVED), (net.pod, BACKEND_PORT)
    story = Story(rig, net, protocol)
    story.play(client("S", seq=100), FORWARDED)
    story.play(backend("SA", seq=500, ack=101), REPLIED)
    before = rig.counted("backend_counts")[SERVICES[net, SERVED, protocol].backends[0]]
    numbers = {"seq": 101, "ack": 501, "data": PAYLOAD}
    asks = between(net, protocol, far, near, "PA", **numbers)
    carried(rig, UPLINK_INGRESS, asks, FORWARDED, (far, pod), gso_size=SEGMENT, gso_segs=COUNT)
    answers = between(net, protocol, pod, far, "PA", **numbers)
    carried(rig, UPLINK_EGRESS, answers, REPLIED, (near, far), gso_size=SEGMENT, gso_segs=COUNT)
    after = rig.counted("backend_counts")[SERVICES[net, SERVED, protocol].backends[0]]
    moved = {name: after[name] - before[name] for name in after if name != "connections"}
    octets = len(bytes(asks))
    assert moved == {
        "request_packets": COUNT,
        "request_bytes": octets,
        "reply_packets": COUNT,
        "reply_bytes": octets,
    }
    _, _, request = story.halves()[0]
    assert (request["packets"], request["bytes"]) == (1 + COUNT, before["request_bytes"] + octets)


def test_a_super_packet_without_a_flow_is_answered_by_one_small_rst(rig: Rig, net: Net) -> None:
    header = TCPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT, flags="S", seq=100)
    frame = rig.frame(UPLINK_INGRESS, ip(net, net.client, net.gateway) / header / Raw(PAYLOAD))
    outcome = rig.run(UPLINK_INGRESS, frame, gso_size=SEGMENT, gso_segs=COUNT, checksums=Checksums.NONE)
    assert (outcome.verdict, outcome.action) == (REJECTED_RST, REDIRECT)
    at = layout(outcome.packet)
    assert at is not None
    assert l4_checksum_is_right(outcome.packet, at)
    answer = Ether(outcome.packet)[TCPHeader]
    assert (answer.flags, answer.seq, answer.ack, len(outcome.packet)) == ("RA", 0, 101 + len(PAYLOAD), at.l4 + 20)
