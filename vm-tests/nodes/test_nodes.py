"""Two nodes with a kernel each, behind a router that spreads clients over them; one loses power.

What tests/net/test_two_nodes.py has in namespaces of one kernel, as far as a kernel of one's own can make a difference:
the seeds, clocks and caches of one are not those of the other. Backends see the node's address.
"""

import contextlib
import itertools
from collections.abc import Iterator

import pytest

from lab.netns import Namespace
from lab.servers.witness import PORT, STREAM_PORT
from lab.topology import FAMILIES, GATEWAY
from lab.traffic.ask import abort_on_close, ask, associate, connect, outcomes
from lab.traffic.stream import PATIENCE
from lab.traffic.transfer import Transfer
from lab.wait import until
from nodes.node import Image, Node, started
from tests.net.two_nodes import BACKENDS, CLIENT, Network, Sees, network

KINDS = list(itertools.product(FAMILIES, ("TCP", "UDP")))
TUPLES = 12
QUEUES = 4
RATE, MOVED = 50_000, 25_000


Two = tuple[Network, dict[int, Node]]


@pytest.fixture(scope="module")
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    image = Image(request.config.rootpath, "6.1", tmp_path_factory.mktemp("nodes"))
    with network(Sees.NODE) as around, started(image, around.labs, queues=QUEUES) as nodes:
        yield around, nodes


_unused = itertools.count(10_000)  # ports of the client


def served(client: Namespace, family: int, protocol: str, own_port: int) -> str:
    """Who answers a flow from that port."""
    if protocol == "UDP":
        with associate(client, GATEWAY[family], PORT, str(CLIENT[family]), own_port) as flow:
            return ask(flow).backend
    with connect(client, GATEWAY[family], PORT, (str(CLIENT[family]), own_port)) as flow:
        abort_on_close(flow)
        return ask(flow).backend


def test_both_choose_the_same_backend(two: Two) -> None:
    around, nodes = two
    chosen: set[str] = set()
    for family, protocol in KINDS:
        own_ports = [next(_unused) for _ in range(TUPLES)]
        seen = []
        for number, node in nodes.items():
            around.lead(number)
            before = node.connections()
            seen.append({x: served(around.client, family, protocol, x) for x in own_ports})
            assert node.connections() - before == TUPLES
        assert seen[0] == seen[1], (family, protocol)
        chosen.update(seen[0].values())
    assert chosen == set(BACKENDS)


def test_one_loses_power(two: Two) -> None:
    """Its connections are reset, the other's go on, and whoever comes is served."""
    around, nodes = two
    around.lead(*nodes)
    before = {number: node.connections() for number, node in nodes.items()}
    transfers: list[Transfer] = []
    with contextlib.ExitStack() as stack:

        def shares() -> dict[int, int]:
            return {number: node.connections() - before[number] for number, node in nodes.items()}

        def both_have_some() -> bool:
            transfers.extend(
                stack.enter_context(Transfer(around.client, GATEWAY[family], STREAM_PORT, octets_per_second=RATE))
                for family in FAMILIES
                for _ in range(4)
            )
            return all(shares().values())

        until(both_have_some, "both have connections")
        lost, kept = shares()[1], shares()[2]
        nodes[1].lose_power()
        around.cut(1)
        around.lead(2)
        for family, protocol in KINDS:
            assert outcomes(around.client, GATEWAY[family], PORT, protocol, 10).keys() <= set(BACKENDS)
        for moved in [x.further(MOVED) for x in transfers]:
            until(moved, "a connection goes on, or breaks", patience=PATIENCE)
        ended = [x.finish() for x in transfers]
    whole = [x for x in ended if x.whole]
    reset = [x for x in ended if x.received.reset or "ConnectionResetError" in x.problem]
    assert (len(reset), len(whole)) == (lost, kept), ended
