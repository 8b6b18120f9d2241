"""XDP in the driver of network cards with several queues (virtio_net): put on by itself, and real traffic through it.

Runs inside the virtual machine, whose cards are at the ends of cables (vmtest/cables.py): client and node are joined by
one, node and backend by another.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from vmtest.cables import MAC, QUEUES

from lab.gateway import Gateway
from lab.manifests import write
from lab.netns import Namespace
from lab.process import Argument, Process, run
from lab.servers.witness import PORT, witness_in
from lab.topology import FAMILIES, GATEWAY, Lab, Shape, backend_addresses
from lab.topology import UPLINK as FIRST_UPLINK
from lab.traffic.ask import ask, outcomes
from lab.wait import until
from lab.wires import Cards
from tests.net.accelerated import OPEN, WORLD, asked_for, both_ways, carries, counted, restart
from tests.net.remote import REMOTE, UPLINK, attached
from tests.net.traffic import DATAGRAMS, Traffic
from tests.net.upgrades import SMALL

UPLINKS = (FIRST_UPLINK, UPLINK)
AUTO: tuple[Argument, ...] = (*SMALL, "--uplink", UPLINK)
OFF: tuple[Argument, ...] = (*AUTO, "--xdp", "off")
FORCED: tuple[Argument, ...] = (*AUTO, "--xdp", "force")
_STATISTIC = re.compile(r"^ *rx(?:_queue_)?(?P<queue>\d+)_xdp_(?P<what>\w+): (?P<packets>\d+)$", re.MULTILINE)


@pytest.fixture(params=FAMILIES, ids=lambda x: f"IPv{x}")
def family(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture(params=OPEN)
def protocol(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[Gateway, Namespace, Process]]:
    """A gateway between two cards, the machine behind the second one, and the server there."""
    run("modprobe", "virtio_net")
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("nic", Shape(), Cards([f"{MAC}:{number:02x}" for number in range(4)])))
        remote = attached(lab, stack)
        server = stack.enter_context(witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT))
        manifests = lab.directory / "manifests"
        write(WORLD, manifests)
        yield stack.enter_context(Gateway(lab, manifests, options=AUTO)), remote, server


def of_the_cards(gateway: Gateway) -> Counter[tuple[str, str, int]]:
    """What the drivers count of XDP themselves: interface, what became of the packets, queue."""
    found: Counter[tuple[str, str, int]] = Counter()
    for name in UPLINKS:
        said = gateway.lab.node.run("ethtool", "-S", name).stdout
        found |= {(name, x["what"], int(x["queue"])): int(x["packets"]) for x in _STATISTIC.finditer(said)}
    return found


def test_it_is_put_on_and_says_where(far: tuple[Gateway, Namespace, Process]) -> None:
    gateway, _, _ = far
    restart(gateway, *AUTO)
    # Two for packets, and one for XDP on each processor: the driver counts them all.
    assert gateway.status()["xdp"] == dict.fromkeys(UPLINKS, f"on, virtio_net, {QUEUES} of {QUEUES} queues")
    links = gateway.lab.node.run("ip", "link", "show").stdout
    assert links.count("prog/xdp") == len(UPLINKS)


def test_driver_and_gateway_count_the_same(far: tuple[Gateway, Namespace, Process], family: int, protocol: str) -> None:
    gateway, _, _ = far
    restart(gateway, *AUTO)
    with OPEN[protocol](gateway.lab.client, GATEWAY[family], PORT) as endpoint:
        until(lambda: both_ways(gateway, endpoint), "XDP carries both ways")
        before, cards_before, start = counted(gateway), of_the_cards(gateway), time.monotonic()
        assert {ask(endpoint).backend for _ in range(50)} == {"remote"}
        moved, by_cards = counted(gateway) - before, of_the_cards(gateway) - cards_before
        seconds = time.monotonic() - start
    requests, replies = moved["uplink_xdp", "forwarded"], moved["uplink_xdp", "replied"]
    assert max(moved["uplink_ingress", x] for x in ("forwarded", "replied")) <= asked_for(seconds)
    redirected = {name: sum(by_cards[name, "redirects", x] for x in range(QUEUES)) for name in UPLINKS}
    assert redirected == {FIRST_UPLINK: requests, UPLINK: replies}
    seen = {name: sum(by_cards[name, "packets", x] for x in range(QUEUES)) for name in UPLINKS}
    if protocol == "UDP":
        by_tc = {name: moved["uplink_ingress", name] for name in ("forwarded", "replied")}
        assert requests + by_tc["forwarded"] == replies + by_tc["replied"] == 50
    assert all(seen[name] >= redirected[name] for name in UPLINKS)
    assert not +Counter({x: n for x, n in by_cards.items() if x[1] in ("tx_drops", "drops", "kicks_failed")})


def test_flows_are_carried_from_several_queues(
    far: tuple[Gateway, Namespace, Process], family: int, protocol: str
) -> None:
    gateway, _, _ = far
    restart(gateway, *AUTO)
    before = of_the_cards(gateway)
    with ExitStack() as stack:
        ends = [stack.enter_context(OPEN[protocol](gateway.lab.client, GATEWAY[family], PORT)) for _ in range(32)]
        until(lambda: both_ways(gateway, ends[0]), "XDP carries both ways")
        for _ in range(3):
            assert {ask(x).backend for x in ends} == {"remote"}
    moved = of_the_cards(gateway) - before
    for name in UPLINKS:
        assert len({queue for (card, what, queue) in moved if (card, what) == (name, "redirects")}) > 1


def test_what_it_leaves_to_tc_is_served(far: tuple[Gateway, Namespace, Process], family: int, protocol: str) -> None:
    """Whole connections, from the first packet to the last."""
    gateway, _, _ = far
    restart(gateway, *AUTO)
    assert outcomes(gateway.lab.client, GATEWAY[family], PORT, protocol, 50) == {"remote": 50}


def test_connections_do_not_notice_that_it_comes_and_goes(far: tuple[Gateway, Namespace, Process]) -> None:
    """Nor that its agent dies. (A card stands still for a moment when XDP is put on or taken off: datagrams may go.)"""
    gateway, remote, server = far
    restart(gateway, *OFF)
    with ExitStack() as stack:
        traffic = Traffic(gateway.lab, [server], (remote,))
        traffic.start(stack)
        assert not carries(gateway, traffic)
        for options in (AUTO, OFF, FORCED):
            restart(gateway, *options)
            assert carries(gateway, traffic) == (options != OFF)
        gateway.kill()
        assert carries(gateway, traffic)
        restart(gateway, *AUTO)
        traffic.finish(spare=DATAGRAMS)


@pytest.fixture
def jumbo(far: tuple[Gateway, Namespace, Process]) -> Iterator[Gateway]:
    """The first card has frames of more octets than XDP has room for."""
    gateway, _, _ = far
    gateway.stop()
    gateway.command("down")
    gateway.lab.node.ip(f"link set {FIRST_UPLINK} mtu 9000")
    yield gateway
    gateway.stop()
    gateway.lab.node.ip(f"link set {FIRST_UPLINK} mtu 1500")


def test_frames_that_are_too_large_for_it_keep_it_off(jumbo: Gateway) -> None:
    restart(jumbo, *AUTO)
    said = jumbo.status()["xdp"]
    assert said[FIRST_UPLINK] == "off: MTU 9000 is more than the 3498 that XDP has room for"
    assert said[UPLINK].startswith("on, ")
    assert outcomes(jumbo.lab.client, GATEWAY[4], PORT, "TCP", 5) == {"remote": 5}


def test_forced_it_says_what_the_driver_says(jumbo: Gateway) -> None:
    jumbo.options = FORCED
    jumbo.launch()
    jumbo.until(lambda status: FIRST_UPLINK in status["xdp"], "tells of XDP")
    status = jumbo.status()
    assert not status["ready"]
    assert re.match(r"off: the driver refuses: .*MTU.*9000", status["xdp"][FIRST_UPLINK]), status["xdp"]
