"""What is not served is refused, clearly, and never reaches the node's own programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.gateway import Gateway
from lab.servers.witness import witness_in
from lab.shares import wrong_shares
from lab.topology import GATEWAY, NODE
from lab.traffic.ask import REFUSED, SILENCE, outcomes
from tests.net.world import EMPTY, HALF_REJECTED, UNHEARD

NOT_SERVED = {"TCP": REFUSED, "UDP": SILENCE}
"""How a client meets the share of a backendRef that cannot be served: a reset, or nothing (a counted drop)."""


@pytest.fixture
def program_of_the_node(gateway: Gateway) -> Iterator[None]:
    """A program of the node itself that listens at UNHEARD on every address, as sshd or a kubelet does."""
    lab = gateway.lab
    with witness_in(lab, lab.node, "node", NODE.values(), UNHEARD):
        yield


def test_port_without_a_listener_is_refused(gateway: Gateway, family: int, protocol: str) -> None:
    seen = outcomes(gateway.lab.client, GATEWAY[family], UNHEARD, protocol, 10)
    assert seen == {REFUSED: 10}


def test_programs_of_the_node_are_not_reached_through_the_gateway(
    gateway: Gateway, program_of_the_node: None, family: int, protocol: str
) -> None:
    client = gateway.lab.client
    assert outcomes(client, GATEWAY[family], UNHEARD, protocol, 10) == {REFUSED: 10}
    assert outcomes(client, NODE[family], UNHEARD, protocol, 10) == {"node": 10}


def test_a_ref_that_does_not_exist_is_refused_in_its_share(gateway: Gateway, family: int, protocol: str) -> None:
    seen = outcomes(gateway.lab.client, GATEWAY[family], HALF_REJECTED, protocol, 400)
    assert wrong_shares(seen, {"a": 1, NOT_SERVED[protocol]: 1}) == []


def test_a_service_without_pods_is_refused(gateway: Gateway, family: int, protocol: str) -> None:
    seen = outcomes(gateway.lab.client, GATEWAY[family], EMPTY, protocol, 20)
    assert seen == {NOT_SERVED[protocol]: 20}
