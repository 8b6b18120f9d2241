"""What a node must not hold is left out, with its reason, and nothing else is."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest

from agent.compile.image import (
    GATEWAY_NODE_ADDRESS,
    POOL_SLOTS,
    BackendEntry,
    BackendState,
    ListenerEntry,
    ListenerKey,
    MapImage,
    Names,
)
from agent.dataplane.guards import NodeFacts, admit
from agent.dataplane.sockets import UsedPort
from routes.plan import Protocol

NODE, GATEWAY, GATEWAY6, BACKEND = (ip_address(x) for x in ("10.0.0.1", "10.9.0.1", "fd00:9::1", "10.1.0.5"))
SLOTS = struct.Struct(f"={POOL_SLOTS}I")
FACTS = NodeFacts(frozenset({NODE}), frozenset(), ipv6=True)
ENTRY = BackendEntry(BACKEND, 80, 1, BackendState.ACTIVE, 1, 0)


def image(*addresses) -> MapImage:
    return MapImage(
        gateways={x: GATEWAY_NODE_ADDRESS if x == NODE else 0 for x in addresses},
        listeners={ListenerKey(x, 80, Protocol.TCP): ListenerEntry(1, 1) for x in addresses},
        pools={1: SLOTS.pack(*(2 + i % 2 for i in range(POOL_SLOTS)))},
        backends={2: ENTRY, 3: replace(ENTRY, ref=1)},
        names=Names(),
    )


def test_what_is_right_passes_untouched() -> None:
    wanted = image(NODE, GATEWAY, GATEWAY6)
    admitted, refused = admit(wanted, FACTS, held=())
    assert admitted is wanted
    assert not refused


@pytest.mark.parametrize(
    ("address", "node", "reason"),
    [
        (GATEWAY6, replace(FACTS, ipv6=False), "IPv6 is disabled on this node"),
        (ip_address("fd00::"), FACTS, "cannot tell it from an IPv4 address"),
    ],
)
def test_a_gateway_address_that_cannot_be_served(address, node: NodeFacts, reason: str) -> None:
    admitted, refused = admit(image(GATEWAY, address), node, held=())
    assert admitted == image(GATEWAY)
    assert reason in refused.gateways[address]
    assert reason in refused.listeners[ListenerKey(address, 80, Protocol.TCP)]


@pytest.mark.parametrize(
    ("address", "socket", "held", "refused"),
    [
        (NODE, UsedPort(NODE, 80, Protocol.TCP), False, True),
        (NODE, UsedPort(ip_address("0.0.0.0"), 80, Protocol.TCP), False, True),
        (NODE, UsedPort(ip_address("::"), 80, Protocol.TCP), False, True),
        (NODE, UsedPort(NODE, 80, Protocol.UDP), False, False),
        (NODE, UsedPort(NODE, 81, Protocol.TCP), False, False),
        (NODE, UsedPort(NODE, 80, Protocol.TCP), True, False),  # the socket came later: flows go on
        (GATEWAY, UsedPort(ip_address("0.0.0.0"), 80, Protocol.TCP), False, False),  # not the node's own address
    ],
)
def test_a_port_of_the_node_that_a_socket_has(address, socket: UsedPort, held: bool, refused: bool) -> None:
    key = ListenerKey(address, 80, Protocol.TCP)
    admitted, refusals = admit(image(address), replace(FACTS, used_ports=[socket]), held=[key] if held else [])
    assert (key in refusals.listeners) is refused
    assert (key not in admitted.listeners) is refused
    assert admitted.gateways == image(address).gateways


def test_reasons_are_sentences() -> None:
    _, refused = admit(image(GATEWAY, GATEWAY6), replace(FACTS, ipv6=False), held=())
    assert refused.reasons() == (
        "gateway address fd00:9::1: IPv6 is disabled on this node",
        "listener fd00:9::1 port 80/TCP: IPv6 is disabled on this node",
    )
