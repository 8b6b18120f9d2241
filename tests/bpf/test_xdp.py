"""XDP, in front of TC: what it takes itself it treats as TC would; what it passes is as it came, and is not counted.

The tables of the other modules meet it as well (BOTH_BUILDS): there it may change nothing. Here: what it takes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest
from scapy.layers.inet import IP, IPOption_NOP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from lab.wait import until

from .conftest import OpenRig
from .exchange import carried, dropped, out_to, passed
from .loading import now
from .objects import (
    BACKEND_ABSENT,
    BACKEND_GONE,
    CLOSING,
    DENIED,
    FORWARDED,
    INTERFACE_POD,
    INTERFACE_UPLINK,
    LIMITED,
    MOVING,
    NOT_OURS,
    RATE_LIMITED,
    REFUSED_DENIED,
    REPLIED,
    TABLE_FULL,
    UPLINK_INGRESS,
    UPLINK_XDP,
)
from .policies import IN_USE, REJECT, SOURCES, policy
from .remote import IN_RANGE, lend
from .rig import Outcome, Rig, command
from .services import (
    BACKEND_PORT,
    CLOSED_PORT,
    FAR,
    REJECTED,
    SERVED,
    SERVICES,
    TCP,
    UDP,
    UNHOOKED,
    Json,
    address,
    interface,
)
from .spoilt import can_be_run, mutated
from .story import between, ip
from .world import CLIENT_MAC, NETS, ROUTER_MAC, V4, Net

FOR_EVER = 2**32 - 1
AT_TC, AT_XDP = False, True
Reshape = Callable[[Packet], Packet]


@pytest.fixture
def accelerated() -> bool:
    return True


@pytest.fixture(params=[TCP, UDP], ids=["TCP", "UDP"])
def protocol(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture
def lent(open_rig: OpenRig, net: Net) -> Iterator[Rig]:
    """The node's address is lent to backends out there."""
    rig = open_rig()
    lend(rig, net, [net.node])
    yield rig
    lend(rig, net, [])


@dataclass(frozen=True, slots=True)
class Flow:
    """To the backend out there, by SNAT under the client's own port."""

    net: Net
    protocol: int

    def request(self, flags: str = "PA", data: bytes = b"how are you", **numbers: int) -> Packet:
        numbers = {"seq": 101, "ack": 501, **numbers} if self.protocol == TCP else {}
        source, destination = (self.net.client, IN_RANGE), (self.net.gateway, FAR)
        return between(self.net, self.protocol, source, destination, flags, data=data, **numbers)

    def reply(self, flags: str = "PA", data: bytes = b"well", **numbers: int) -> Packet:
        numbers = {"seq": 501, "ack": 112, **numbers} if self.protocol == TCP else {}
        source, destination = (self.net.far, BACKEND_PORT), (self.net.node, IN_RANGE)
        return between(self.net, self.protocol, source, destination, flags, data=data, **numbers)


def begin(rig: Rig, net: Net, protocol: int) -> Flow:
    """Established, and every packet of it has a next hop that does not expire."""
    flow = Flow(net, protocol)
    packets = [flow.request("S", b"", seq=100, ack=0), flow.reply("SA", b"", seq=500, ack=101), flow.request("A", b"")]
    for packet, verdict in zip(packets, (FORWARDED, REPLIED, FORWARDED), strict=True):
        assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, packet)).verdict == verdict
    assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, flow.reply())).verdict == REPLIED
    expire(rig, net, protocol, FOR_EVER >> 1)
    return flow


def halves(rig: Rig, net: Net, protocol: int) -> dict[bytes, Json]:
    table = rig.map(rig.tables(protocol, net)[0])
    return {table.key.pack(key): dict(entry) for key, entry in table.items()}


def change(rig: Rig, net: Net, protocol: int, change_it: Callable[[Json], None]) -> None:
    """Both halves of the flow."""
    table = rig.map(rig.tables(protocol, net)[0])
    for key, entry in list(table.items()):
        change_it(entry)
        table.set(key, entry)


def expire(rig: Rig, net: Net, protocol: int, at: int) -> None:
    def changed(entry: Json) -> None:
        entry["nexthop"]["expires"] = at

    change(rig, net, protocol, changed)


def by_xdp(rig: Rig, packet: Packet | bytes) -> Outcome | None:
    return rig.run_xdp(packet if isinstance(packet, bytes) else rig.frame(UPLINK_INGRESS, packet))


def looked_up(rig: Rig, net: Net, protocol: int, flow: Flow) -> Outcome | None:
    """A request's, whose next hop has expired."""
    expire(rig, net, protocol, 0)
    return by_xdp(rig, flow.request())


# ---- What leaves by a NIC


def test_both_directions_of_an_established_flow(lent: Rig, net: Net, protocol: int) -> None:
    flow = begin(lent, net, protocol)
    ends = ((net.node, IN_RANGE), (net.far, BACKEND_PORT))
    back = ((net.gateway, FAR), (net.client, IN_RANGE))
    before = lent.taken
    carried(lent, UPLINK_INGRESS, flow.request(), FORWARDED, ends, way=out_to(ROUTER_MAC))
    carried(lent, UPLINK_INGRESS, flow.reply(), REPLIED, back, way=out_to(CLIENT_MAC))
    carried(lent, UPLINK_INGRESS, flow.request("A", b""), FORWARDED, ends, way=out_to(ROUTER_MAC))
    assert lent.taken == before + 3


@pytest.mark.parametrize("is_reply", [False, True], ids=["request", "reply"])
def test_the_flow_is_left_as_tc_leaves_it(lent: Rig, net: Net, protocol: int, is_reply: bool) -> None:
    """Counted at the flow and at its backend, seen, and acknowledged up to there."""
    became = []
    for accelerated in (AT_TC, AT_XDP):
        lent.reset()
        flow = begin(lent, net, protocol)
        lent.accelerated = accelerated
        zero = halves(lent, net, protocol)
        packet = flow.reply(ack=110) if is_reply else flow.request(ack=510)
        change(lent, net, protocol, lambda entry: entry.update(seen=now() - 5))
        taken = lent.taken
        outcome = lent.run(UPLINK_INGRESS, lent.frame(UPLINK_INGRESS, packet))
        assert lent.taken - taken == accelerated
        after = halves(lent, net, protocol)
        assert after.keys() == zero.keys()
        for entry in after.values():
            entry["seen"] = entry["seen"] >= now() - 2
            del entry["generation"]
        became.append((outcome, after, lent.counted("backend_counts"), lent.counted("listener_counts")))
    assert became[0] == became[1]


def test_a_datagram_without_a_checksum_stays_without(lent: Rig, net: Net) -> None:
    flow = begin(lent, net, UDP)
    packet = flow.request()
    packet.getlayer("UDP").chksum = 0
    outcome = by_xdp(lent, packet)
    assert outcome is not None
    assert Ether(outcome.packet).getlayer("UDP").chksum == 0


def test_a_checksum_that_becomes_zero_is_written_as_ones(lent: Rig, net: Net) -> None:
    """RFC 768: 0 says that there is none. Of 65536 datagrams that differ in two octets one has it."""
    flow = begin(lent, net, UDP)
    outcome = by_xdp(lent, flow.request(data=bytes(2)))
    assert outcome is not None
    field = Ether(outcome.packet).getlayer("UDP").chksum
    # What is added to the data comes off the checksum.
    outcome = by_xdp(lent, flow.request(data=field.to_bytes(2)))
    assert outcome is not None
    assert Ether(outcome.packet).getlayer("UDP").chksum == 0xFFFF


@pytest.mark.parametrize("has_xdp", [False, True])
def test_out_of_another_interface_only_if_it_takes_frames(lent: Rig, net: Net, protocol: int, has_xdp: bool) -> None:
    """A driver that has no XDP program loses what it is given, and says nothing."""
    device = lent.world.device["pod1"]
    mac = bytes.fromhex(device.mac.replace(":", ""))
    interfaces, sources = lent.map("interfaces"), lent.map("snat_sources")
    key = {"ifindex": device.ifindex, "family": int(net.family), "number": 0}
    sources.set(key, address(net, net.node))
    interfaces.set(
        device.ifindex, interface(INTERFACE_UPLINK, mac, sources4=net is V4, sources6=net is not V4, has_xdp=has_xdp)
    )
    client, near, seen, backend = (
        (net.client, IN_RANGE),
        (net.gateway, UNHOOKED),
        (net.node, IN_RANGE),
        (net.unhooked, BACKEND_PORT),
    )
    rows = (
        (client, near, "S", 100, 0),
        (backend, seen, "SA", 500, 101),
        (client, near, "A", 101, 501),
    )
    try:
        for source, destination, flags, seq, ack in rows:
            frame = lent.frame(UPLINK_INGRESS, between(net, protocol, source, destination, flags, seq=seq, ack=ack))
            assert lent.run(UPLINK_INGRESS, frame).verdict in (FORWARDED, REPLIED)
        expire(lent, net, protocol, FOR_EVER >> 1)
        outcome = by_xdp(lent, between(net, protocol, client, near, "A", seq=101, ack=501, data=b"x"))
        assert (outcome is not None) == has_xdp
        if outcome is not None:
            assert outcome.packet[6:12] == mac
    finally:
        interfaces.delete(device.ifindex)
        sources.delete(key)


# ---- Next hops


def test_of_all_packets_to_a_neighbour_one_in_some_seconds_has_it_asked_for(lent: Rig, net: Net, protocol: int) -> None:
    """By TC, for XDP cannot; and that one alone, although the next hop expires each second."""
    flow = begin(lent, net, protocol)
    # Not the first, perhaps: another test may have asked for the same neighbour. Again on a machine that was too slow.
    until(lambda: all([looked_up(lent, net, protocol, flow) for _ in range(4)][1:]), "one of four at most goes by TC")
    other = f"02:00:00:00:{protocol:02x}:{net.words:02x}"
    lent.world.node.ip(f"neigh replace {_router(net)} lladdr {other} dev uplink")
    try:
        outcome = until(lambda: looked_up(lent, net, protocol, flow), "XDP carries it")
        assert outcome.packet[:6].hex(":") == other  # and is looked up, all the same
        assert looked_up(lent, net, protocol, flow) is None  # nobody has asked for this one yet
    finally:
        lent.world.node.ip(f"neigh replace {_router(net)} lladdr {ROUTER_MAC} dev uplink")


def test_neighbours_that_share_a_mac_are_asked_for_each(open_rig: OpenRig, protocol: int) -> None:
    """A router's addresses of both families, and those that move from router to router, are not one neighbour."""
    rig, mac = open_rig(), f"02:00:00:01:00:{protocol:02x}"
    for net in NETS:
        rig.world.node.ip(f"neigh replace {_router(net)} lladdr {mac} dev uplink")
    try:
        for net in NETS:
            lend(rig, net, [net.node])
            flow = begin(rig, net, protocol)
            assert looked_up(rig, net, protocol, flow) is None, net.name
            until(partial(looked_up, rig, net, protocol, flow), "XDP carries it")
    finally:
        for net in NETS:
            rig.world.node.ip(f"neigh replace {_router(net)} lladdr {ROUTER_MAC} dev uplink")
            lend(rig, net, [])


def test_a_neighbour_that_nobody_knows_is_for_tc(lent: Rig, net: Net, protocol: int) -> None:
    flow = begin(lent, net, protocol)
    lent.world.node.ip(f"neigh delete {_router(net)} dev uplink")
    try:
        for _ in range(2):
            assert looked_up(lent, net, protocol, flow) is None
    finally:
        lent.world.node.ip(f"neigh replace {_router(net)} lladdr {ROUTER_MAC} dev uplink")


def _router(net: Net) -> str:
    return "10.231.0.254" if net is V4 else "fd00:231::fe"


def test_a_way_that_leads_to_a_pod_is_for_tc(lent: Rig, net: Net, protocol: int) -> None:
    device = lent.device(UPLINK_INGRESS)
    mac = bytes.fromhex(device.mac.replace(":", ""))
    flow = begin(lent, net, protocol)
    lent.map("interfaces").set(device.ifindex, interface(INTERFACE_POD, mac))
    assert by_xdp(lent, flow.request()) is None


# ---- What is passed


def _tagged(packet: Packet) -> Packet:
    return Dot1Q(vlan=7) / packet


def _with_options(packet: Packet) -> Packet:
    if isinstance(packet, IP):
        return IP(src=packet.src, dst=packet.dst, options=[IPOption_NOP()] * 4) / packet.payload
    return ip_again(packet) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / packet.payload


def _fragment(packet: Packet) -> Packet:
    if isinstance(packet, IP):
        packet.flags = "MF"
        return packet
    return ip_again(packet) / IPv6ExtHdrFragment(id=1, m=1) / packet.payload


def _hops_spent(packet: Packet) -> Packet:
    setattr(packet, "ttl" if isinstance(packet, IP) else "hlim", 1)
    return packet


def ip_again(packet: Packet) -> Packet:
    made = packet.copy()
    made.remove_payload()
    del made.nh
    return made


RESHAPED: dict[str, Reshape] = {
    "tagged": _tagged,
    "options": _with_options,
    "a fragment": _fragment,
    "hops spent": _hops_spent,
}


@pytest.mark.parametrize("how", RESHAPED)
def test_what_is_not_a_plain_packet(lent: Rig, net: Net, protocol: int, how: str) -> None:
    flow = begin(lent, net, protocol)
    assert by_xdp(lent, RESHAPED[how](flow.request())) is None


@pytest.mark.parametrize("flags", ["S", "SA", "FA", "R", "RA", "SF"])
def test_segments_that_change_a_state(lent: Rig, net: Net, flags: str) -> None:
    flow = begin(lent, net, TCP)
    assert by_xdp(lent, flow.request(flags, b"")) is None
    assert by_xdp(lent, flow.reply(flags, b"")) is None


def test_a_flow_that_is_not_plainly_established(lent: Rig, net: Net) -> None:
    flow = begin(lent, net, TCP)
    change(lent, net, TCP, lambda entry: entry.update(state=CLOSING))
    assert by_xdp(lent, flow.request()) is None


@pytest.mark.parametrize("size", [1501, 2000])
def test_what_is_larger_than_the_way_out(lent: Rig, net: Net, protocol: int, size: int) -> None:
    flow = begin(lent, net, protocol)
    rest = size - len(bytes(flow.request(data=b"")))
    assert by_xdp(lent, flow.request(data=bytes(rest))) is None
    assert by_xdp(lent, flow.request(data=bytes(rest - (size - 1500)))) is not None


@pytest.mark.parametrize("mac", ["02:00:00:00:01:77", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"])
def test_frames_for_others(lent: Rig, net: Net, protocol: int, mac: str) -> None:
    flow = begin(lent, net, protocol)
    frame = lent.frame(UPLINK_INGRESS, flow.request())
    assert by_xdp(lent, frame) is not None
    assert by_xdp(lent, bytes.fromhex(mac.replace(":", "")) + frame[6:]) is None


def test_a_backend_that_has_gone_is_for_tc(lent: Rig, net: Net, protocol: int) -> None:
    """TC resets the client, or chooses again."""
    flow = begin(lent, net, protocol)
    states = {BACKEND_GONE: (True, True), BACKEND_ABSENT: (False, protocol == UDP)}
    for state, (is_tcs_for_both, is_tcs) in states.items():
        lent.set_backend(SERVICES[net, FAR, protocol], state=state)
        assert (by_xdp(lent, flow.request()) is None) == (is_tcs_for_both or is_tcs)
        assert by_xdp(lent, flow.reply()) is not None


def test_a_flow_to_a_pod_on_the_node(lent: Rig, net: Net, protocol: int) -> None:
    rows = (("S", 100, 0), ("A", 101, 501))
    for flags, seq, ack in rows:
        sent = between(net, protocol, (net.client, IN_RANGE), (net.gateway, SERVED), flags, seq=seq, ack=ack)
        assert by_xdp(lent, sent) is None
        lent.run(UPLINK_INGRESS, lent.frame(UPLINK_INGRESS, sent))


def test_a_set_that_is_not_in_force_passes_all(lent: Rig, net: Net, protocol: int) -> None:
    flow = begin(lent, net, protocol)
    lent.map("in_force").set(0, {"set": 7, "moving_until": 0})
    assert by_xdp(lent, flow.request()) is None
    lent.map("in_force").set(0, {"set": 0, "moving_until": FOR_EVER})
    assert by_xdp(lent, flow.request()) is not None  # while flows move, those that are established go on


# ---- Floods

STRANGER = 33_333


def denied(net: Net) -> str:
    """The client alone is, to a policy."""
    return f"!{net.client}/{32 if net is V4 else 128}"


def syn(net: Net, port: int, protocol: int = TCP) -> Packet:
    return between(net, protocol, (net.client, STRANGER), (net.gateway, port), "S", seq=100)


@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["no answer is left", "answers are left"])
@pytest.mark.parametrize("case", ["no listener", "share of REJECT", "no room", "denied", "denied aloud", "too many"])
def test_what_is_refused_is_dropped_early_if_nobody_would_be_told(
    open_rig: OpenRig, net: Net, case: str, limit: int
) -> None:
    """What can be answered is answered by TC, and so no more of a flood gets there than there are answers."""
    rig = open_rig(reply_rate_limit=limit)
    port = {"no listener": CLOSED_PORT, "share of REJECT": REJECTED}.get(case, SERVED)
    service = SERVICES.get((net, port, TCP))
    flags, ranges, says = {
        "denied": (SOURCES, (denied(net),), {}),
        "denied aloud": (SOURCES | REJECT, (denied(net),), {}),
        "too many": (0, (), {"per_listener": 1}),
    }.get(case, (0, (), {}))
    if case == "no room":
        rig.map("flow_usage").set(0, {**rig.usage(), "tcp4": 1 << 30, "tcp6": 1 << 30})
    verdict, counted = {
        "no listener": (RATE_LIMITED, None),
        "share of REJECT": (RATE_LIMITED, "rejected"),
        "no room": (TABLE_FULL, "refused"),
        "denied": (DENIED, "denied"),
        "denied aloud": (DENIED, "denied"),
        "too many": (LIMITED, "limited"),
    }[case]
    with policy(rig, net, IN_USE | flags, *ranges, port=SERVED, **says):
        if case == "too many" and service is not None:
            rig.map("listener_connections").set(service.listener_id, {"open": 1})
        taken = rig.taken
        if limit and case != "denied":
            assert by_xdp(rig, syn(net, port)) is None
            return
        dropped(rig, UPLINK_INGRESS, syn(net, port), verdict)
        assert rig.taken == taken + 1
        if service is not None and counted:
            assert rig.counted("listener_counts")[service.listener_id][counted] == 1


def test_datagrams_are_dropped_early_too(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(reply_rate_limit=0)
    dropped(rig, UPLINK_INGRESS, syn(net, CLOSED_PORT, UDP), RATE_LIMITED)
    with policy(rig, net, IN_USE | SOURCES, denied(net), protocol=UDP):
        dropped(rig, UPLINK_INGRESS, syn(net, SERVED, UDP), DENIED)
    assert rig.taken == 2


def test_as_many_are_answered_as_may_be(open_rig: OpenRig, net: Net) -> None:
    """The limit is TC's and XDP's together."""
    rig = open_rig(reply_rate_limit=3)
    frame = rig.frame(UPLINK_INGRESS, syn(net, SERVED))
    second = -1
    with policy(rig, net, IN_USE | SOURCES | REJECT, denied(net)):
        while second != now():  # again, if a new second began meanwhile
            second = now()
            rig.reset()
            became = [rig.run(UPLINK_INGRESS, frame).verdict for _ in range(6)]
    assert became == [REFUSED_DENIED] * 3 + [DENIED] * 3
    assert rig.taken == 3


def test_who_has_begun_is_not_asked_again(open_rig: OpenRig, net: Net) -> None:
    """A SYN that is sent again is of a handshake that is known; what is sent to the node itself may be the node's; and
    while flows move, nobody is denied anything for good.
    """
    rig = open_rig(reply_rate_limit=0)
    again = rig.frame(UPLINK_INGRESS, syn(net, SERVED))
    assert rig.run(UPLINK_INGRESS, again).verdict == FORWARDED
    with policy(rig, net, IN_USE | SOURCES, denied(net)):
        assert by_xdp(rig, again) is None
        fresh = between(net, TCP, (net.client, STRANGER + 1), (net.gateway, SERVED), "S", seq=1)
        rig.map("in_force").set(0, {"set": 0, "moving_until": FOR_EVER})
        dropped(rig, UPLINK_INGRESS, fresh, MOVING)  # at TC, which says so
        rig.map("in_force").set(0, {"set": 0, "moving_until": 0})
        dropped(rig, UPLINK_INGRESS, fresh, DENIED)
        own = between(net, UDP, (net.client, STRANGER), (net.node, SERVED))
        assert by_xdp(rig, own) is None
        passed(rig, UPLINK_INGRESS, between(net, TCP, (net.client, STRANGER), (net.node, CLOSED_PORT), "S", seq=1))


# ---- Whatever comes

PACKETS = 4000


def test_what_xdp_takes_tc_would_have_treated_the_same(open_rig: OpenRig, net: Net) -> None:
    """Spoilt packets of every kind: each that XDP takes is run through TC as well."""
    rig = open_rig(reply_rate_limit=0)
    lend(rig, net, [net.node])
    try:
        flows = [begin(rig, net, protocol) for protocol in (TCP, UDP)]
        packets = [x for flow in flows for x in (flow.request(), flow.reply(), flow.request("A", b""))]
        packets += [syn(net, port, x) for port in (CLOSED_PORT, REJECTED, FAR) for x in (TCP, UDP)]
        packets.append(ip(net, net.client, net.gateway) / b"neither")
        frames = [rig.frame(UPLINK_INGRESS, x) for x in packets]
        dice = random.Random(net.name)
        rig.accelerated = False
        verdicts = set()
        for number in range(PACKETS):
            frame = mutated(dice, dice.choice(frames))
            if not can_be_run(frame):
                continue
            taken = rig.run_xdp(frame)
            if taken is None:
                continue
            verdicts.add(taken.verdict)
            outcome = rig.run(UPLINK_INGRESS, frame)
            assert (outcome.verdict, outcome.action, outcome.mark) == (taken.verdict, taken.action, taken.mark), (
                f"packet {number}: {command(frame)}"
            )
            assert outcome.packet == taken.packet, f"packet {number}: {command(frame)}"
        assert verdicts == {FORWARDED, REPLIED, RATE_LIMITED}
    finally:
        lend(rig, net, [])


def test_nothing_is_counted_under_xdp_but_what_it_ended(lent: Rig, net: Net) -> None:
    flow = begin(lent, net, TCP)
    before, taken = lent.verdicts(), lent.taken
    for packet in (flow.request(), flow.reply(), flow.request("FA", b"")):
        lent.run(UPLINK_INGRESS, lent.frame(UPLINK_INGRESS, packet))
    after = lent.verdicts()
    moved = {key: after[key] - before[key] for key in after if after[key] != before[key]}
    assert moved == {(UPLINK_XDP, FORWARDED): 1, (UPLINK_XDP, REPLIED): 1, (UPLINK_INGRESS, FORWARDED): 1}
    assert lent.taken == taken + 2
    assert not any(after[UPLINK_XDP, x] for x in (NOT_OURS,))
