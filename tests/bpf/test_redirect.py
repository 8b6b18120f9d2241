"""Redirect delivery: requests straight into the pod's namespace, replies straight out of the uplink.

Both take one off the hop limit, which the stack would have done; whatever cannot go that way goes by the stack.
"""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP as TCPHeader
from scapy.packet import Packet, Raw

from .conftest import OpenRig
from .exchange import STACK, Way, carried, passed
from .kernel import Checksums
from .loading import now
from .objects import (
    CLOSED,
    DELIVERY_REDIRECT,
    ESTABLISHED,
    FLOW_REDIRECT,
    FORWARDED,
    INTERFACE_POD,
    POD_INGRESS,
    REDIRECT,
    REPLIED,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
)
from .rig import Rig
from .services import BACKEND_PORT, SERVED, TCP, UDP, UNHOOKED, Json, interface
from .story import CLIENT_PORT, REDIRECT_MARK, between, ip
from .world import CLIENT_MAC, V4, Net

INTO_POD = Way(action=REDIRECT, hops=1, dmac="02:00:00:00:03:02", smac="02:00:00:00:03:01")
OUT = Way(action=REDIRECT, mark=REDIRECT_MARK, hops=1, dmac=CLIENT_MAC, smac="02:00:00:00:01:01")
BY_NEIGHBOUR = Way(action=REDIRECT, mark=REDIRECT_MARK, hops=1)

PROTOCOLS = pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])


@pytest.fixture
def rig(open_rig: OpenRig, checksums: Checksums) -> Rig:
    made = open_rig(delivery=DELIVERY_REDIRECT)
    made.checksums = checksums
    return made


class Flow:
    """One client's flow to the pod, and the ends that its packets get."""

    def __init__(self, rig: Rig, net: Net, protocol: int, port: int = SERVED) -> None:
        self.rig, self.net, self.protocol = rig, net, protocol
        self.far, self.near = (net.client, CLIENT_PORT), (net.gateway, port)
        self.pod = (net.pod if port == SERVED else net.unhooked, BACKEND_PORT)

    def asks(self, flags: str = "S", *, hops: int = 64, seq: int = 100, ack: int = 0, data: bytes = b"") -> Packet:
        packet = between(self.net, self.protocol, self.far, self.near, flags, seq=seq, ack=ack, data=data)
        return with_hops(packet, hops)

    def answers(
        self, flags: str = "SA", *, hops: int = 64, seq: int = 500, ack: int = 101, data: bytes = b""
    ) -> Packet:
        packet = between(self.net, self.protocol, self.pod, self.far, flags, seq=seq, ack=ack, data=data)
        return with_hops(packet, hops)

    def request(self, packet: Packet, way: Way, *, gso_size: int = 0, gso_segs: int = 0) -> None:
        ends = (self.far, self.pod)
        carried(self.rig, UPLINK_INGRESS, packet, FORWARDED, ends, way=way, gso_size=gso_size, gso_segs=gso_segs)

    def reply(self, packet: Packet, way: Way, *, hook: int = POD_INGRESS, gso_size: int = 0, gso_segs: int = 0) -> None:
        ends = (self.near, self.far)
        carried(self.rig, hook, packet, REPLIED, ends, way=way, gso_size=gso_size, gso_segs=gso_segs)

    def half(self) -> Json:
        found = self.rig.entry(self.net, self.rig.key(self.net, self.protocol, self.far, self.near))
        assert found is not None
        return found[1]

    def next_hops_expire(self, when: int) -> None:
        """Of both halves, so that no second of the clock can come between two packets."""
        for name in self.rig.tables(self.protocol, self.net):
            for key, entry in list(self.rig.map(name).items()):
                entry["nexthop"]["expires"] = when
                self.rig.map(name).set(key, entry)


def with_hops(packet: Packet, hops: int) -> Packet:
    setattr(packet, "ttl" if "ttl" in packet.fields else "hlim", hops)
    return packet


@PROTOCOLS
def test_both_directions_go_past_the_stack(rig: Rig, net: Net, protocol: int) -> None:
    flow = Flow(rig, net, protocol)
    flow.request(flow.asks(), INTO_POD)
    assert flow.half()["flags"] & FLOW_REDIRECT
    flow.reply(flow.answers(), BY_NEIGHBOUR)
    flow.next_hops_expire(now() + 100)
    flow.reply(flow.answers(), OUT)
    flow.request(flow.asks("A", seq=101, ack=501), INTO_POD)
    flow.next_hops_expire(now())
    flow.reply(flow.answers("A", seq=501, ack=101), BY_NEIGHBOUR)  # asks the kernel, which keeps its neighbour fresh
    flow.request(flow.asks("A", seq=101, ack=501), INTO_POD)


def test_the_pods_hook_follows_the_connection(rig: Rig, net: Net) -> None:
    flow = Flow(rig, net, TCP)
    flow.request(flow.asks("S", seq=100), INTO_POD)
    flow.reply(flow.answers("SA", seq=500, ack=101), BY_NEIGHBOUR)
    flow.request(flow.asks("A", seq=101, ack=501), INTO_POD)
    assert flow.half()["state"] == ESTABLISHED
    flow.next_hops_expire(now() + 100)
    flow.reply(flow.answers("FA", seq=501, ack=101), OUT)
    flow.request(flow.asks("FA", seq=101, ack=502), INTO_POD)
    assert flow.half()["state"] == CLOSED


@PROTOCOLS
def test_the_last_hop_is_the_stacks_to_refuse(rig: Rig, net: Net, protocol: int) -> None:
    flow = Flow(rig, net, protocol)
    flow.request(flow.asks(hops=1), STACK)
    flow.request(flow.asks(hops=2), INTO_POD)
    reply = flow.answers(hops=1)
    passed(rig, POD_INGRESS, reply)
    flow.reply(reply, STACK, hook=UPLINK_EGRESS)
    flow.reply(flow.answers(hops=2), BY_NEIGHBOUR)


@PROTOCOLS
def test_what_is_too_large_for_the_way_out_is_the_stacks_to_refuse(rig: Rig, net: Net, protocol: int) -> None:
    flow = Flow(rig, net, protocol)
    headers = (20 if net is V4 else 40) + (20 if protocol == TCP else 8)
    flow.request(flow.asks(), INTO_POD)
    flow.reply(flow.answers(), BY_NEIGHBOUR)
    flow.next_hops_expire(now() + 100)
    for size, way in ((1500, INTO_POD), (1501, STACK)):
        flow.request(flow.asks("A", seq=101, ack=501, data=bytes(size - headers)), way)
    flow.reply(flow.answers("A", seq=501, ack=101, data=bytes(1500 - headers)), OUT)
    large = flow.answers("A", seq=501, ack=101, data=bytes(1501 - headers))
    passed(rig, POD_INGRESS, large)
    flow.reply(large, STACK, hook=UPLINK_EGRESS)


@pytest.mark.parametrize("options", [0, 12, 40])
def test_a_super_packet_is_as_large_as_its_segments(rig: Rig, net: Net, options: int) -> None:
    """Segments that just fit go past the stack, whatever the packet's own length."""
    flow = Flow(rig, net, TCP)
    flow.request(flow.asks(), INTO_POD)
    flow.reply(flow.answers(), BY_NEIGHBOUR)
    flow.next_hops_expire(now() + 100)
    segment = 1500 - (20 if net is V4 else 40) - 20 - options
    header = TCPHeader(flags="A", seq=101, ack=501, options=[("NOP", None)] * options)
    for gso_size, way in ((segment, INTO_POD), (segment + 1, STACK)):
        request = header.copy()
        request.sport, request.dport = CLIENT_PORT, SERVED
        packet = ip(net, net.client, net.gateway) / request / Raw(bytes(2 * gso_size))
        flow.request(packet, way, gso_size=gso_size, gso_segs=2)
    reply = header.copy()
    reply.sport, reply.dport = BACKEND_PORT, CLIENT_PORT
    packet = ip(net, net.pod, net.client) / reply / Raw(bytes(2 * segment))
    flow.reply(packet, OUT, gso_size=segment, gso_segs=2)


@PROTOCOLS
def test_a_pod_whose_interface_has_no_hook_is_reached_through_the_stack(rig: Rig, net: Net, protocol: int) -> None:
    flow = Flow(rig, net, protocol, UNHOOKED)
    flow.request(flow.asks(), STACK)
    flow.reply(flow.answers(), STACK, hook=UPLINK_EGRESS)
    assert not flow.half()["flags"] & FLOW_REDIRECT


@PROTOCOLS
def test_a_flow_survives_the_loss_of_the_pods_hook(rig: Rig, net: Net, protocol: int) -> None:
    flow = Flow(rig, net, protocol)
    flow.request(flow.asks(), INTO_POD)
    device = rig.world.device["pod0"]
    interfaces = rig.map("interfaces")
    assert interfaces.delete(device.ifindex)
    try:
        flow.next_hops_expire(now())
        flow.request(flow.asks("A"), STACK)
        flow.reply(flow.answers(), STACK, hook=UPLINK_EGRESS)
    finally:
        mac = bytes.fromhex(device.mac.replace(":", ""))
        interfaces.set(device.ifindex, interface(INTERFACE_POD, mac))
    flow.next_hops_expire(now())
    flow.request(flow.asks("A"), INTO_POD)


@PROTOCOLS
def test_without_its_neighbour_known_the_kernel_is_asked_each_time(rig: Rig, net: Net, protocol: int) -> None:
    """bpf_redirect_neigh queues the packet until the neighbour has answered."""
    stranger = "10.231.0.77" if net is V4 else "fd00:231::77"
    flow = Flow(rig, net, protocol)
    flow.far = (stranger, CLIENT_PORT)
    flow.request(flow.asks(), INTO_POD)
    flow.reply(flow.answers(), BY_NEIGHBOUR)
    flow.next_hops_expire(now() + 100)
    flow.reply(flow.answers(), BY_NEIGHBOUR)


@PROTOCOLS
def test_flows_of_stack_delivery_are_none_of_the_pods_hook(open_rig: OpenRig, net: Net, protocol: int) -> None:
    flow = Flow(open_rig(), net, protocol)
    flow.request(flow.asks(), STACK)
    passed(flow.rig, POD_INGRESS, flow.answers())
