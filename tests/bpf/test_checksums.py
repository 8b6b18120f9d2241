"""Checksums at their edges. Everywhere else they are checked in passing: every expected packet is made from scratch."""

from __future__ import annotations

import pytest
from scapy.layers.inet import UDP as UDPHeader
from scapy.packet import Raw

from .exchange import carried
from .objects import FORWARDED, REPLIED, UPLINK_EGRESS, UPLINK_INGRESS
from .rig import Rig
from .services import BACKEND_PORT, SERVED, TCP, UDP
from .story import CLIENT_PORT, between, ip
from .wire import layout, ones_sum, translated, with_checksums
from .world import V4, Net


def test_no_udp_checksum_stays_none(rig: Rig) -> None:
    """RFC 768: 0 says that none was made."""
    far, near, pod = (V4.client, CLIENT_PORT), (V4.gateway, SERVED), (V4.pod, BACKEND_PORT)
    asks = ip(V4, far[0], near[0]) / UDPHeader(sport=far[1], dport=near[1], chksum=0) / Raw(b"unsummed")
    answers = ip(V4, pod[0], far[0]) / UDPHeader(sport=pod[1], dport=far[1], chksum=0) / Raw(b"unsummed, too")
    carried(rig, UPLINK_INGRESS, asks, FORWARDED, (far, pod))
    carried(rig, UPLINK_EGRESS, answers, REPLIED, (near, far))


def test_a_udp_checksum_that_comes_out_as_0_is_written_as_its_other_zero(rig: Rig, net: Net) -> None:
    far, pod = (net.client, CLIENT_PORT), (net.pod, BACKEND_PORT)
    asks = between(net, UDP, far, (net.gateway, SERVED), data=bytes(8))
    after = translated(rig.frame(UPLINK_INGRESS, asks), far, pod)
    at = layout(after)
    assert at is not None
    # The payload's last word takes what the checksum of the rewritten packet would have been.
    check = int.from_bytes(after[at.l4 + 6 : at.l4 + 8])
    asks = between(net, UDP, far, (net.gateway, SERVED), data=bytes(6) + check.to_bytes(2))
    carried(rig, UPLINK_INGRESS, asks, FORWARDED, (far, pod))
    outcome = rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, asks))
    assert outcome.packet[at.l4 + 6 : at.l4 + 8] == b"\xff\xff"


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_a_wrong_checksum_stays_wrong(rig: Rig, net: Net, protocol: int) -> None:
    """What was spoilt on its way must not arrive as whole."""
    far, pod = (net.client, CLIENT_PORT), (net.pod, BACKEND_PORT)
    frame = bytearray(rig.frame(UPLINK_INGRESS, between(net, protocol, far, (net.gateway, SERVED), data=b"sp0ilt")))
    frame[-1] ^= 0x40
    outcome = rig.run(UPLINK_INGRESS, bytes(frame))
    assert outcome.verdict == FORWARDED
    assert outcome.packet != with_checksums(outcome.packet)
    assert outcome.packet[-1:] == bytes(frame[-1:])
    # ... and by as much as it was.
    right = translated(bytes(frame), far, pod)
    assert ones_sum(outcome.packet[14:]) != ones_sum(right[14:])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 1399])
@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_odd_and_even_payloads(rig: Rig, net: Net, protocol: int, size: int) -> None:
    far, pod = (net.client, CLIENT_PORT), (net.pod, BACKEND_PORT)
    data = bytes(0xFF - i % 251 for i in range(size))
    asks = between(net, protocol, far, (net.gateway, SERVED), data=data)
    carried(rig, UPLINK_INGRESS, asks, FORWARDED, (far, pod))
