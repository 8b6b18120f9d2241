"""Which way packets take through the node: up its stack, or past it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from lab.gateway import Gateway
from lab.process import run
from lab.topology import CLIENT, GATEWAY
from lab.traffic.ask import ask, connect, outcomes
from tests.net.world import TO_A

FORWARDED = {4: "IpForwDatagrams", 6: "Ip6OutForwDatagrams"}
EXCHANGES = 100

# As a firewall of a careful node: what is not known is dropped, and so is half a connection.
FIREWALL = """
table inet careful {
    chain forward {
        type filter hook forward priority filter; policy drop
        ct state invalid drop
        ct state established,related accept
        ip daddr 10.201.0.0/24 ct state new accept
        ip6 daddr fd00:201::/64 ct state new accept
    }
}
"""


@pytest.fixture
def firewall(gateway: Gateway) -> object:
    """The node drops what its connection tracking does not understand."""
    run("nft", "-f", "-", namespace=gateway.lab.node.path, stdin=FIREWALL)
    yield
    gateway.lab.node.run("nft", "delete", "table", "inet", "careful")


# Between the client's own address and the pods, as a network policy of a CNI: the gateway appears in it nowhere.
POLICY = """
table inet banned {
    chain forward {
        type filter hook forward priority filter;
        ip saddr 10.200.0.3 ip daddr 10.201.0.0/24 drop
        ip6 saddr fd00:200::3 ip6 daddr fd00:201::/64 drop
    }
}
"""
BANNED = {4: "10.200.0.3", 6: "fd00:200::3"}


@pytest.fixture
def policy(gateway: Gateway) -> Iterator[None]:
    """A policy against BANNED, which is a second address of the client."""
    client, node = gateway.lab.client, gateway.lab.node
    client.ip(f"addr add {BANNED[4]}/24 dev eth0", f"addr add {BANNED[6]}/64 dev eth0 nodad")
    run("nft", "-f", "-", namespace=node.path, stdin=POLICY)
    yield
    node.run("nft", "delete", "table", "inet", "banned")
    client.ip(f"addr del {BANNED[4]}/24 dev eth0", f"addr del {BANNED[6]}/64 dev eth0")


def test_stack_delivery_obeys_a_policy_on_the_clients_own_address(gateway: Gateway, policy: None, family: int) -> None:
    """... and redirect delivery goes past it, which is what it is for."""
    client, banned = gateway.lab.client, (BANNED[family], 0)
    if gateway.delivery == "stack":
        with pytest.raises(TimeoutError):
            connect(client, GATEWAY[family], TO_A, banned).close()
    else:
        with connect(client, GATEWAY[family], TO_A, banned) as connection:
            assert ask(connection).peer[0] == ip_address(BANNED[family])
    with connect(client, GATEWAY[family], TO_A, (str(CLIENT[family]), 0)) as connection:
        assert ask(connection).backend == "a"


def test_packets_go_the_way_that_was_asked_for(gateway: Gateway, family: int) -> None:
    node = gateway.lab.node
    before = node.counters()[FORWARDED[family]]
    with connect(gateway.lab.client, GATEWAY[family], TO_A) as connection:
        for _ in range(EXCHANGES):
            ask(connection)
    forwarded = node.counters()[FORWARDED[family]] - before
    if gateway.delivery == "stack":
        # A request and an acknowledgement go up the stack for each exchange, or more; so does each reply.
        assert forwarded >= 2 * EXCHANGES
    else:
        assert forwarded == 0


def test_stack_delivery_satisfies_a_firewall_that_tracks_connections(
    gateway: Gateway, firewall: object, family: int, protocol: str
) -> None:
    seen = outcomes(gateway.lab.client, GATEWAY[family], TO_A, protocol, 50)
    assert seen == {"a": 50}
