"""Flows whose backend sees the gateway's address: clients on the node, backends on the clients' side."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.l2 import Ether

from .conftest import OpenRig
from .exchange import Way, answered, carried, dropped, out_to
from .kernel import Checksums
from .loading import now
from .objects import (
    COLLISION,
    ESTABLISHED,
    FLOW_REPLY,
    FLOW_SNAT,
    FORWARDED,
    LOCAL_EGRESS,
    NO_FLOW,
    REDIRECT,
    REFUSED_COLLISION,
    REFUSED_MIDSTREAM,
    REPLIED,
    SYN_ACK,
    UPLINK_INGRESS,
    FlowState,
)
from .rig import Rig
from .services import BACKEND_PORT, HAIRPIN, SERVED, SERVICES, SPLIT, TCP, UDP, Json
from .story import CLIENT_PORT, between, ip
from .world import CLIENT_MAC, NEIGHBOUR_MAC, V4, Net

# Rewritten packets enter the stack through the gateway's own interface, where the gateway's address is no martian.
BY_LOCAL = Way(action=REDIRECT)
PENSTOCK0 = "02:00:00:00:02:01"
BY_LOCAL_FROM_UPLINK = Way(action=REDIRECT, dmac=PENSTOCK0)

SNAT_PORTS = range(1024, 65536)


def request(
    rig: Rig, net: Net, source: tuple[str, int], *, protocol: int = TCP, port: int = SERVED, hook: int = LOCAL_EGRESS
) -> Json:
    """Runs the first packet of a flow and returns its request half; the packet itself is judged by the caller."""
    frame = rig.frame(hook, between(net, protocol, source, (net.gateway, port)))
    outcome = rig.run(hook, frame)
    assert outcome.verdict == FORWARDED
    found = rig.entry(net, rig.key(net, protocol, source, (net.gateway, port)))
    assert found is not None
    return found[1]


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
@pytest.mark.parametrize("client", ["node", "pod2", "unhooked"])
def test_a_client_on_the_node_keeps_its_port(rig: Rig, net: Net, client: str, protocol: int) -> None:
    near = (getattr(net, client), CLIENT_PORT)
    gateway, seen, pod = (net.gateway, SERVED), (net.gateway, CLIENT_PORT), (net.pod, BACKEND_PORT)
    asks = between(net, protocol, near, (net.gateway, SERVED), "S", seq=100)
    carried(rig, LOCAL_EGRESS, asks, FORWARDED, (seen, pod), way=BY_LOCAL)
    answers = between(net, protocol, (net.pod, BACKEND_PORT), (net.gateway, CLIENT_PORT), "SA", seq=500, ack=101)
    carried(rig, LOCAL_EGRESS, answers, REPLIED, (gateway, near), way=BY_LOCAL)
    goes_on = between(net, protocol, near, (net.gateway, SERVED), "A", seq=101, ack=501)
    carried(rig, LOCAL_EGRESS, goes_on, FORWARDED, (seen, pod), way=BY_LOCAL)
    found = rig.entry(net, rig.key(net, protocol, near, gateway))
    assert found is not None
    table, half = found
    assert table == rig.tables(protocol, net)[0]
    assert half["flags"] & (FLOW_SNAT | FLOW_REPLY) == FLOW_SNAT
    assert FlowState(half["state"]) == (ESTABLISHED if protocol == TCP else FlowState["FLOW_UDP"])
    count = rig.counted("backend_counts")[SERVICES[net, SERVED, protocol].backends[0]]
    assert (count["connections"], count["request_packets"], count["reply_packets"]) == (1, 2, 1)


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_a_privileged_port_is_not_kept(rig: Rig, net: Net, protocol: int) -> None:
    half = request(rig, net, (net.node, 1023), protocol=protocol)
    assert half["to_saddr"]["octets"][: net.words] == net.octets(net.gateway)
    assert half["to_sport"] in SNAT_PORTS


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_a_taken_port_is_not_kept_and_the_flow_that_has_it_is_left_alone(rig: Rig, net: Net, protocol: int) -> None:
    first = request(rig, net, (net.node, CLIENT_PORT), protocol=protocol)
    second = request(rig, net, (net.unhooked, CLIENT_PORT), protocol=protocol)
    assert (first["to_sport"], second["to_sport"] in SNAT_PORTS) == (CLIENT_PORT, True)
    assert second["to_sport"] != CLIENT_PORT
    for half, client in ((first, net.node), (second, net.unhooked)):
        answers = between(net, protocol, (net.pod, BACKEND_PORT), (net.gateway, half["to_sport"]), "SA", seq=500, ack=1)
        carried(rig, LOCAL_EGRESS, answers, REPLIED, ((net.gateway, SERVED), (client, CLIENT_PORT)), way=BY_LOCAL)


def test_the_same_port_serves_towards_another_backend(rig: Rig, net: Net) -> None:
    service = SERVICES[net, SPLIT, TCP]
    rig.fill_pool(service, service.backends[1:])
    ports = {request(rig, net, (net.node, CLIENT_PORT), port=port)["to_sport"] for port in (SERVED, SPLIT)}
    assert ports == {CLIENT_PORT}


def taken_ports(rig: Rig, net: Net) -> list[tuple[bytes, bytes]]:
    """Live pairs of another client that hold every port towards the pod, as octets of either TCP table."""
    table = rig.map(rig.tables(TCP, net)[1])
    request_half = {**request(rig, net, (net.node, CLIENT_PORT)), "seen": now() + 600}
    key = rig.key(net, TCP, (net.node, CLIENT_PORT), (net.gateway, SERVED))
    reply_half = {**table.get(rig.twin(net, key, request_half)), "seen": now() + 600}
    reply_half["to_daddr"] = {"octets": net.octets(net.unhooked).ljust(16, b"\0")}
    halves = []
    for port in SNAT_PORTS:
        asks = rig.key(net, TCP, (net.unhooked, port), (net.gateway, SERVED))
        answers = rig.key(net, TCP, (net.pod, BACKEND_PORT), (net.gateway, port))
        halves.append((asks, request_half | {"to_sport": port, "key_check": rig.key_check(asks)}))
        halves.append((answers, reply_half | {"to_dport": port, "key_check": rig.key_check(answers)}))
    return [(table.key.pack(key), table.value.pack(half)) for key, half in halves]


def test_without_any_free_port_a_new_flow_is_refused(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(sizes={f"{x}{family}": 1 << 18 for x in ("tcp_flows", "half_open") for family in "46"})
    taken = taken_ports(rig, net)
    sent = between(net, TCP, (net.node, CLIENT_PORT), (net.gateway, SERVED), "S", seq=100)
    fields = {"id": 0, "flags": "DF"} if net is V4 else {}
    rst = TCPHeader(sport=SERVED, dport=CLIENT_PORT, flags="RA", seq=0, ack=101, window=0)
    for name in rig.tables(TCP, net):  # a port is taken by an established flow, or by a half-open one
        rig.reset()
        rig.map(name).set_many_raw(taken)
        answered(rig, LOCAL_EGRESS, sent, REFUSED_COLLISION, ip(net, net.gateway, net.node, **fields) / rst)
        assert rig.counted("listener_counts")[SERVICES[net, SERVED, TCP].listener_id]["refused"] == 1
        assert rig.entries(name) == len(taken)


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_one_client_port_to_two_listeners_with_one_backend(rig: Rig, net: Net, protocol: int) -> None:
    """The replies would be the same tuple: the second flow gets the gateway's address, and both are told apart."""
    service = SERVICES[net, SPLIT, protocol]
    rig.fill_pool(service, service.backends[:1])
    far, pod = (net.client, CLIENT_PORT), (net.pod, BACKEND_PORT)
    first = between(net, protocol, (net.client, CLIENT_PORT), (net.gateway, SERVED))
    carried(rig, UPLINK_INGRESS, first, FORWARDED, (far, pod))
    carried(
        rig,
        UPLINK_INGRESS,
        between(net, protocol, (net.client, CLIENT_PORT), (net.gateway, SPLIT)),
        FORWARDED,
        ((net.gateway, CLIENT_PORT), pod),
        way=BY_LOCAL_FROM_UPLINK,
    )
    answers = between(net, protocol, (net.pod, BACKEND_PORT), (net.gateway, CLIENT_PORT), "SA", seq=500, ack=1)
    carried(rig, LOCAL_EGRESS, answers, REPLIED, ((net.gateway, SPLIT), far), way=out_to(CLIENT_MAC))


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_on_the_nodes_own_address_such_a_flow_is_refused(rig: Rig, net: Net, protocol: int) -> None:
    """The stack takes no packet from outside whose source is the node's own address."""
    service = SERVICES[net, SPLIT, protocol]
    rig.fill_pool(service, service.backends[:1])
    far, pod = (net.client, CLIENT_PORT), (net.pod, BACKEND_PORT)
    first = between(net, protocol, (net.client, CLIENT_PORT), (net.node, SERVED))
    carried(rig, UPLINK_INGRESS, first, FORWARDED, (far, pod))
    second = between(net, protocol, (net.client, CLIENT_PORT), (net.node, SPLIT), "S", seq=100)
    if protocol == UDP:
        dropped(rig, UPLINK_INGRESS, second, COLLISION)
    else:
        fields = {"id": 0, "flags": "DF"} if net is V4 else {}
        rst = TCPHeader(sport=SPLIT, dport=CLIENT_PORT, flags="RA", seq=0, ack=101, window=0)
        answered(rig, UPLINK_INGRESS, second, REFUSED_COLLISION, ip(net, net.node, net.client, **fields) / rst)
    assert rig.counted("listener_counts")[service.listener_id]["refused"] == 1


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_a_backend_on_the_clients_side_sees_the_gateway_and_its_replies_come_in(
    rig: Rig, net: Net, protocol: int
) -> None:
    far, seen, backend = (net.client, CLIENT_PORT), (net.gateway, CLIENT_PORT), (net.neighbour, BACKEND_PORT)
    asks = between(net, protocol, (net.client, CLIENT_PORT), (net.gateway, HAIRPIN), "S", seq=100)
    carried(rig, UPLINK_INGRESS, asks, FORWARDED, (seen, backend), way=out_to(NEIGHBOUR_MAC))
    answers = between(net, protocol, (net.neighbour, BACKEND_PORT), (net.gateway, CLIENT_PORT), "SA", seq=500, ack=101)
    carried(rig, UPLINK_INGRESS, answers, REPLIED, ((net.gateway, HAIRPIN), far), way=out_to(CLIENT_MAC))
    goes_on = between(net, protocol, (net.client, CLIENT_PORT), (net.gateway, HAIRPIN), "A", seq=101, ack=501)
    carried(rig, UPLINK_INGRESS, goes_on, FORWARDED, (seen, backend), way=out_to(NEIGHBOUR_MAC))
    carried(rig, UPLINK_INGRESS, answers, REPLIED, ((net.gateway, HAIRPIN), far), way=out_to(CLIENT_MAC))


def test_the_late_syn_ack_of_a_forgotten_handshake_is_dropped(rig: Rig, net: Net) -> None:
    """Its sender must not be told to give up: it asks again, and meets the client's next SYN."""
    half = request(rig, net, (net.client, CLIENT_PORT), port=HAIRPIN, hook=UPLINK_INGRESS)
    rig.reset()
    late = between(net, TCP, (net.neighbour, BACKEND_PORT), (net.gateway, half["to_sport"]), "SA", seq=500, ack=101)
    dropped(rig, UPLINK_INGRESS, late, NO_FLOW)


def test_a_reply_half_alone_is_no_flow(rig: Rig, net: Net) -> None:
    half = request(rig, net, (net.node, CLIENT_PORT))
    assert rig.map(rig.tables(TCP, net)[1]).delete(rig.key(net, TCP, (net.node, CLIENT_PORT), (net.gateway, SERVED)))
    late = between(net, TCP, (net.pod, BACKEND_PORT), (net.gateway, half["to_sport"]), "SA", seq=500, ack=1)
    dropped(rig, LOCAL_EGRESS, late, NO_FLOW)
    assert SYN_ACK not in {x["state"] for _, x in rig.map(rig.tables(TCP, net)[1]).items()}


@pytest.mark.parametrize("flags", ["A", "PA", "FA"])
def test_a_stream_met_in_the_middle_is_reset_since_nobody_remembers_its_port(rig: Rig, net: Net, flags: str) -> None:
    sent = between(net, TCP, (net.node, CLIENT_PORT), (net.gateway, SERVED), flags, seq=5000, ack=9000)
    outcome = rig.run(LOCAL_EGRESS, rig.frame(LOCAL_EGRESS, sent), checksums=Checksums.NONE)
    assert outcome.verdict == REFUSED_MIDSTREAM
    assert Ether(outcome.packet)[TCPHeader].flags == "R"
    assert Ether(outcome.packet)[TCPHeader].seq == 9000
    assert not rig.entries(rig.tables(TCP, net)[0])
