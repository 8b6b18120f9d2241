"""What a policy says of flows that begin: who may, which backend they get and how long they may be silent."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.inet import UDP as UDPHeader
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from .ageing import start_ageing, wait_until
from .answers import ask, rst, unreachable
from .clients import Client
from .conftest import BOTH_BUILDS, OpenRig
from .exchange import answered, dropped
from .objects import (
    DENIED,
    FORWARDED,
    NO_FLOW,
    REFUSED_DENIED,
    REPLIED,
    UPLINK_INGRESS,
)
from .policies import AFFINITY, ALLOW_ONLY, IN_USE, POLICY, REJECT, SOURCES, policy
from .rig import Rig
from .services import FLOW_TABLES, SERVED, SERVICES, SPLIT, TCP, UDP
from .story import CLIENT_PORT, After, Story, backend, between, client, wait
from .world import V4, V6, Net

pytestmark = BOTH_BUILDS

# Networks that the client is in, from wide to narrow, and one that it is not in.
ALL, WIDE, NARROW, SELF, OTHER = range(5)


def networks(net: Net) -> tuple[str, ...]:
    own = ip_network(net.client)
    widths = (0, 8, 24, 32) if net is V4 else (0, 32, 64, 128)
    return (*(str(own.supernet(new_prefix=x)) for x in widths), "203.0.113.0/24" if net is V4 else "2001:db8:f::/48")


def begin(net: Net, protocol: int) -> Packet:
    header = TCPHeader(flags="S", seq=100) if protocol == TCP else UDPHeader()
    header.sport, header.dport = CLIENT_PORT, SERVED
    return ask(net, header)


# flags beside IN_USE and SOURCES, (which network, whether it is denied), is the client denied?
RULES: dict[str, tuple[int, tuple[tuple[int, bool], ...], bool]] = {
    "denied itself": (0, ((SELF, True),), True),
    "another is denied": (0, ((OTHER, True),), False),
    "allowed itself": (ALLOW_ONLY, ((SELF, False),), False),
    "another is allowed": (ALLOW_ONLY, ((OTHER, False),), True),
    "all are denied": (0, ((ALL, True),), True),
    "all are allowed": (ALLOW_ONLY, ((ALL, False),), False),
    "nobody is allowed": (ALLOW_ONLY, (), True),
    "an exception of those denied": (0, ((WIDE, True), (NARROW, False)), False),
    "an exception of those allowed": (ALLOW_ONLY, ((WIDE, False), (NARROW, True)), True),
    "an exception of the exception": (0, ((ALL, True), (NARROW, False), (SELF, True)), True),
    "an exception elsewhere": (0, ((WIDE, True), (OTHER, False)), True),
}


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
@pytest.mark.parametrize("case", RULES)
def test_the_longest_prefix_decides(open_rig: OpenRig, net: Net, protocol: int, case: str) -> None:
    rig = open_rig()
    flags, which, is_denied = RULES[case]
    ranges = [("!" if denied else "") + networks(net)[x] for x, denied in which]
    with policy(rig, net, IN_USE | SOURCES | flags, *ranges, protocol=protocol):
        if is_denied:
            dropped(rig, UPLINK_INGRESS, begin(net, protocol), DENIED)
            assert {rig.entries(x) for x in FLOW_TABLES} == {0}
        else:
            assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, begin(net, protocol))).verdict == FORWARDED
    counted = rig.counted("listener_counts").get(SERVICES[net, SERVED, protocol].listener_id, {"denied": 0})
    assert counted["denied"] == is_denied


def test_tcp_is_answered_if_it_is_to_be(rig: Rig, net: Net) -> None:
    with policy(rig, net, IN_USE | SOURCES | REJECT, "!" + networks(net)[SELF]):
        answered(rig, UPLINK_INGRESS, begin(net, TCP), REFUSED_DENIED, rst(net, SERVED, ("RA", 0, 101)))


def test_udp_is_answered_if_it_is_to_be(rig: Rig, net: Net) -> None:
    with policy(rig, net, IN_USE | SOURCES | REJECT, "!" + networks(net)[SELF], protocol=UDP):
        sent = begin(net, UDP)
        answered(rig, UPLINK_INGRESS, sent, REFUSED_DENIED, unreachable(net, sent))


def test_what_cannot_be_answered_is_dropped_as_denied(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(reply_rate_limit=0)
    with policy(rig, net, IN_USE | SOURCES | REJECT, "!" + networks(net)[SELF]):
        dropped(rig, UPLINK_INGRESS, begin(net, TCP), DENIED)


def test_a_stray_rst_is_none_of_a_policys_business(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    with policy(rig, net, IN_USE | SOURCES, "!" + networks(net)[SELF]):
        dropped(rig, UPLINK_INGRESS, ask(net, TCPHeader(sport=CLIENT_PORT, dport=SERVED, flags="R")), NO_FLOW)
    assert rig.counted("listener_counts") == {}


def test_a_policy_that_is_gone_denies_without_an_answer(open_rig: OpenRig, net: Net) -> None:
    """A packet that found its listener just before it was switched: it is sent again, and meets the new policy."""
    rig = open_rig()
    with policy(rig, net, 0):
        dropped(rig, UPLINK_INGRESS, begin(net, TCP), DENIED)


def test_ranges_are_those_of_one_policy_and_family(open_rig: OpenRig) -> None:
    rig = open_rig()
    with policy(rig, V6, IN_USE | SOURCES, "!::/0"), policy(rig, V4, IN_USE | SOURCES | ALLOW_ONLY, number=POLICY + 1):
        dropped(rig, UPLINK_INGRESS, begin(V6, TCP), DENIED)
        dropped(rig, UPLINK_INGRESS, begin(V4, TCP), DENIED)
    with policy(rig, V6, IN_USE | SOURCES, "!::/0"), policy(rig, V4, IN_USE | SOURCES, number=POLICY):
        assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, begin(V4, TCP))).verdict == FORWARDED


def test_a_flow_that_has_begun_goes_on_when_its_source_is_denied(rig: Rig, net: Net) -> None:
    story = Story(rig, net, TCP)
    story.play(client("S", 100), FORWARDED)
    with policy(rig, net, IN_USE | SOURCES, "!" + networks(net)[ALL]):
        story.play(backend("SA", 300, 101), REPLIED)
        story.play(client("A", 101, 301), FORWARDED)
        story.play(client("PA", 101, 301, b"more"), FORWARDED)
        story.check(After(connections=1, established=1))


# ---- idle limits


@pytest.mark.parametrize("idle", [5, 600], ids=["shorter", "longer"])
def test_a_udp_flow_is_chosen_again_after_its_policys_limit(open_rig: OpenRig, net: Net, idle: int) -> None:
    rig = open_rig(limit_udp=60)
    with policy(rig, net, IN_USE, protocol=UDP, idle_udp=idle):
        story = established(rig, net, UDP)
    generation = story.halves()[0][2]["generation"]
    wait(idle - 2)(story)
    story.play(client(), FORWARDED)
    assert story.halves()[0][2]["generation"] == generation
    wait(idle + 2)(story)
    story.play(client(), FORWARDED)
    assert story.halves()[0][2]["generation"] != generation


def test_a_tcp_flow_is_forgotten_after_its_policys_limit(open_rig: OpenRig) -> None:
    """The one that began before the policy keeps the node's limit."""
    rig = open_rig(limit_tcp_established=100_000)
    limited, other = (Client(rig, V4, TCP, port) for port in (1001, 1002))
    other.connect()
    with policy(rig, V4, IN_USE, idle_tcp=2):
        limited.connect()
    start_ageing(rig)
    wait_until(lambda: not limited.halves())
    assert other.halves() == 2
    rig.reset()


def test_a_limit_is_of_its_protocol_alone(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(limit_tcp_established=60, limit_udp=60)
    with policy(rig, net, IN_USE, idle_udp=5):
        story = established(rig, net, TCP)
    assert [x["idle_limit"] for _, _, x in story.halves()] == [0, 0]


def established(rig: Rig, net: Net, protocol: int) -> Story:
    """A flow that both ends have spoken in."""
    story = Story(rig, net, protocol)
    if protocol == UDP:
        story.play(client(), FORWARDED)
        story.play(backend(), REPLIED)
        return story
    story.play(client("S", 100), FORWARDED)
    story.play(backend("SA", 300, 101), REPLIED)
    story.play(client("A", 101, 301), FORWARDED)
    return story


# ---- affinity


def chosen(rig: Rig, net: Net, source: str, port: int, protocol: int) -> str:
    """The backend of a new flow."""
    sent = between(net, protocol, (source, port), (net.gateway, SPLIT), seq=100)
    outcome = rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, sent))
    assert outcome.verdict == FORWARDED
    found: str = Ether(outcome.packet).payload.dst
    return found


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_one_source_has_one_backend(open_rig: OpenRig, net: Net, protocol: int) -> None:
    rig = open_rig()
    service = SERVICES[net, SPLIT, protocol]
    rig.fill_pool(service, service.backends)
    ports = range(20_000, 20_032)
    assert len({chosen(rig, net, net.client, x, protocol) for x in ports}) == 2
    rig.reset()
    with policy(rig, net, IN_USE | AFFINITY, protocol=protocol, port=SPLIT, affinity4=32, affinity6=128):
        assert len({chosen(rig, net, net.client, x, protocol) for x in ports}) == 1
        neighbours = [str(ip_address(net.client) + i) for i in range(1, 33)]
        assert len({chosen(rig, net, x, 20_000, protocol) for x in neighbours}) == 2


def test_a_network_is_one_source_if_it_is_to_be(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    service = SERVICES[net, SPLIT, TCP]
    rig.fill_pool(service, service.backends)
    neighbours = [str(ip_address(net.client) + i) for i in range(32)]
    apart = [str(ip_address(net.client) + (i << (8 if net is V4 else 64))) for i in range(1, 33)]
    with policy(rig, net, IN_USE | AFFINITY, port=SPLIT, affinity4=24, affinity6=64):
        assert len({chosen(rig, net, x, 20_000 + i, TCP) for i, x in enumerate(neighbours)}) == 1
        assert len({chosen(rig, net, x, 20_000, TCP) for x in apart}) == 2
