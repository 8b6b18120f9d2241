"""Asks the witness who it is: one connection or one datagram, or many of them, each from a port of its own."""

from __future__ import annotations

import json
import socket
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address

from lab.netns import Namespace
from lab.topology import Address

RESET = "reset"
REFUSED = "refused"
SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Answer:
    """Who served (`backend`), and as whom it saw the client. `client`: what the client itself knows to be."""

    backend: str
    peer: tuple[Address, int]
    client: tuple[Address, int]


def _connected(
    namespace: Namespace, address: Address, port: int, kind: socket.SocketKind, source: tuple[str, int] | None
) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with namespace.inside():
        endpoint = socket.socket(family, kind)
        try:
            endpoint.settimeout(5)
            if source is not None:
                endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                endpoint.bind(source)
            endpoint.connect((str(address), port))
        except BaseException:
            endpoint.close()
            raise
    return endpoint


def connect(namespace: Namespace, address: Address, port: int, source: tuple[str, int] | None = None) -> socket.socket:
    """A TCP connection from the namespace; raises OSError as connect(2) does. `source`: local address and port."""
    return _connected(namespace, address, port, socket.SOCK_STREAM, source)


def associate(
    namespace: Namespace, address: Address, port: int, source: tuple[str, int] | None = None
) -> socket.socket:
    """A connected UDP socket in the namespace."""
    return _connected(namespace, address, port, socket.SOCK_DGRAM, source)


def ask(connection: socket.socket) -> Answer:
    """One question over a TCP connection or a UDP socket; raises OSError (refused, reset, timed out)."""
    connection.send(b"who\n")
    line = bytearray()
    while b"\n" not in line:
        part = connection.recv(2048)
        if not part:
            raise ConnectionResetError("the server closed without an answer")
        line += part
    said = json.loads(line.partition(b"\n")[0])
    own = connection.getsockname()
    return Answer(said["backend"], (ip_address(said["peer"]), said["port"]), (ip_address(own[0]), own[1]))


def ask_tcp(namespace: Namespace, address: Address, port: int) -> Answer:
    """One connection, one question."""
    with connect(namespace, address, port) as connection:
        return ask(connection)


def ask_udp(namespace: Namespace, address: Address, port: int) -> Answer:
    """One datagram, one answer."""
    with associate(namespace, address, port) as endpoint:
        return ask(endpoint)


def outcomes(namespace: Namespace, address: Address, port: int, kind: socket.SocketKind, times: int) -> Counter[str]:
    """Ask so many times, from a new port each, and count the backends' names, or RESET, REFUSED, SILENCE."""
    question = ask_tcp if kind is socket.SOCK_STREAM else ask_udp
    counted: Counter[str] = Counter()
    for _ in range(times):
        try:
            counted[question(namespace, address, port).backend] += 1
        except ConnectionRefusedError:
            counted[REFUSED] += 1
        except ConnectionResetError:
            counted[RESET] += 1
        except TimeoutError:
            counted[SILENCE] += 1
    return counted
