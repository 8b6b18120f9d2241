"""Nobody owns the gateway's addresses, and yet they answer: ARP, NDP and ping."""

from __future__ import annotations

import json

from lab.gateway import Gateway
from lab.topology import GATEWAY, NODE, SECOND_GATEWAY, UPLINK


def mac_of(gateway: Gateway) -> str:
    """The node's own, on the clients' segment."""
    links = json.loads(gateway.lab.node.run("ip", "-j", "link", "show", UPLINK).stdout)
    return str(links[0]["address"])


def test_neighbours_learn_the_nodes_mac_for_every_address(gateway: Gateway, family: int) -> None:
    client = gateway.lab.client
    client.run("ip", "neigh", "flush", "dev", "eth0")
    for address in (GATEWAY[family], SECOND_GATEWAY[family]):
        client.run("ping", "-c", "1", "-W", "5", str(address))
        learnt = json.loads(client.run("ip", "-j", "neigh", "show", str(address)).stdout)
        assert [entry["lladdr"] for entry in learnt] == [mac_of(gateway)]


def test_ping_is_answered_whatever_its_size(gateway: Gateway, family: int) -> None:
    for size in ("0", "56", "57", "1400"):
        gateway.lab.client.run("ping", "-c", "2", "-i", "0.2", "-W", "5", "-s", size, str(GATEWAY[family]))


def test_node_and_pods_can_ping_too(gateway: Gateway, family: int) -> None:
    for namespace in (gateway.lab.node, gateway.lab.backends["c"]):
        namespace.run("ping", "-c", "2", "-i", "0.2", "-W", "5", str(GATEWAY[family]))


def test_nodes_own_address_is_still_the_nodes(gateway: Gateway, family: int) -> None:
    gateway.lab.client.run("ping", "-c", "2", "-i", "0.2", "-W", "5", str(NODE[family]))
