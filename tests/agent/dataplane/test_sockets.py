"""Which ports a socket takes."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from agent.dataplane.sockets import UsedPort, used_ports
from routes.plan import Protocol

TCP4, TCP6 = (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_STREAM)
UDP4, UDP6 = (socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_INET6, socket.SOCK_DGRAM)


@pytest.mark.parametrize(
    ("kind", "bound", "asked", "taken"),
    [
        (TCP4, "0.0.0.0", ("10.220.0.1", Protocol.TCP), True),
        (TCP4, "0.0.0.0", ("fd00:220::1", Protocol.TCP), False),
        (TCP4, "0.0.0.0", ("10.220.0.1", Protocol.UDP), False),
        (TCP4, "127.0.0.1", ("10.220.0.1", Protocol.TCP), False),
        (TCP4, "10.220.0.1", ("10.220.0.1", Protocol.TCP), True),
        (UDP4, "0.0.0.0", ("10.220.0.1", Protocol.UDP), True),
        (TCP6, "::", ("fd00:220::1", Protocol.TCP), True),
        (TCP6, "::", ("10.220.0.1", Protocol.TCP), True),
        (TCP6, "fd00:220::1", ("fd00:220::1", Protocol.TCP), True),
        (UDP6, "fd00:220::1", ("fd00:220::2", Protocol.UDP), False),
    ],
)
def test_ports_in_use(node, kind: tuple[int, int], bound: str, asked: tuple[str, Protocol], taken: bool) -> None:
    node.add_veth("eth0", "10.220.0.1/24", "fd00:220::1/64")
    address, protocol = asked
    with socket.socket(*kind) as opened:
        opened.bind((bound, 5353))
        if opened.type == socket.SOCK_STREAM:
            opened.listen()
        assert any(x.takes(ip_address(address), 5353, protocol) for x in used_ports()) is taken
    assert not any(x.port == 5353 for x in used_ports())


def test_an_ipv4_connection_of_an_ipv6_socket_is_told_by_its_ipv4_address(node) -> None:
    with (
        socket.create_server(("::", 5354), family=socket.AF_INET6, dualstack_ipv6=True) as server,
        socket.create_connection(("127.0.0.1", 5354)),
        server.accept()[0],
    ):
        assert UsedPort(ip_address("127.0.0.1"), 5354, Protocol.TCP) in used_ports()
