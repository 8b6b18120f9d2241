"""What routers and ends on either side say about packets of a flow reaches whom it concerns.

A router behind the client leads to a further client, `far`; it and the node can have hops that are too narrow.
"""

from __future__ import annotations

import pytest

from lab.gateway import Gateway
from lab.netns import Namespace
from lab.topology import CLIENT, GATEWAY, NODE, backend_addresses
from lab.traffic.ask import associate
from tests.net.paths import FAR, FAR_ROUTER, NARROW, forget_paths, hop, moves, narrow, path_mtu
from tests.net.world import NOBODY, PODS


def test_a_narrow_hop_towards_the_backend(gateway: Gateway, family: int) -> None:
    """The node says so to the client; what it quotes is rewritten, or the client would not know its own segment."""
    lab = gateway.lab
    pod = backend_addresses(PODS["a"])[family]
    way = lab.node.run("ip", "route", "get", str(pod)).stdout.split()
    with narrow(lab.node, pod, "dev", way[way.index("dev") + 1]):
        moves(lab.client, family)
        assert path_mtu(lab.client, GATEWAY[family]) == NARROW
    forget_paths(lab.client)


def test_a_narrow_hop_towards_the_client(gateway: Gateway, far: Namespace, family: int) -> None:
    """A router far from the node says so to the gateway, and the backend learns it."""
    lab = gateway.lab
    with narrow(lab.client, FAR[family], "dev", "far0"):
        moves(far, family)
        assert path_mtu(lab.backends["a"], FAR[family]) == NARROW


def test_a_closed_port_of_the_backend(gateway: Gateway, family: int) -> None:
    """The backend says so, and to the client it was the gateway."""
    with associate(gateway.lab.client, GATEWAY[family], NOBODY) as endpoint:
        endpoint.send(b"is anybody there?")
        with pytest.raises(ConnectionRefusedError):
            endpoint.recv(2048)


def test_traceroute_sees_each_hop(gateway: Gateway, far: Namespace, family: int) -> None:
    """The router, the node, and the gateway in place of the backend."""
    seen = [hop(far, family, hops) for hops in (1, 2, 3)]
    assert seen == [FAR_ROUTER[family], NODE[family], GATEWAY[family]]
    assert CLIENT[family] not in seen
