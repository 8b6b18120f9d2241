"""Asks the witness who it is: one connection or one datagram, or many of them, each from a port of its own."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import selectors
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast

from lab.netns import Namespace
from lab.topology import Address
from lab.wait import SLOWNESS

RESET = "reset"
REFUSED = "refused"
SILENCE = "silence"

END, ABORT = b"end\n", b"abort\n"
"""Lines that have the witness end a connection before its client does: in order, or by a reset."""

PATIENCE = 5.0 * SLOWNESS
"""Seconds that a client waits for each thing if nobody says otherwise. Where packets are lost it is too little: of a
wire that loses one in seven, both ways, one connection in some hundreds has a longer pause; see stream.PATIENCE."""

UNSPECIFIED = {4: "0.0.0.0", 6: "::"}
_ports = itertools.cycle(range(20_000, 60_000))

BATCH = 500
"""Sockets open at once: below the 1024 descriptors that a process has by default."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Who served (`backend`), and as whom it saw the client. `client`: what the client itself knows to be."""

    backend: str
    peer: tuple[Address, int]
    client: tuple[Address, int]


def _connected(
    namespace: Namespace,
    address: Address,
    port: int,
    kind: socket.SocketKind,
    *,
    source: tuple[str, int] | None,
    patience: float = PATIENCE,
) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with namespace.inside():
        endpoint = socket.socket(family, kind)
        try:
            endpoint.settimeout(patience)
            if source is not None:
                if kind is socket.SOCK_STREAM:  # a connection of before may rest in TIME_WAIT
                    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                endpoint.bind(source)
            endpoint.connect((str(address), port))
        except BaseException:
            endpoint.close()
            raise
    return endpoint


def connect(
    namespace: Namespace,
    address: Address,
    port: int,
    source: tuple[str, int] | None = None,
    *,
    patience: float = PATIENCE,
) -> socket.socket:
    """A TCP connection from the namespace; raises OSError as connect(2) does. `source`: local address and port.

    `patience`: seconds for that, and from then on for each of the socket's operations.
    """
    return _connected(namespace, address, port, socket.SOCK_STREAM, source=source, patience=patience)


def associate(
    namespace: Namespace, address: Address, port: int, source: str = "", own_port: int | None = None
) -> socket.socket:
    """A connected UDP socket in the namespace, at a port that was not used before; `source`: its address.

    The kernel would choose at random, and a port that was used a moment ago belongs to a flow that is not new.
    `own_port`: this one all the same.
    """
    if own_port is not None:
        at = (source or UNSPECIFIED[address.version], own_port)
        return _connected(namespace, address, port, socket.SOCK_DGRAM, source=at)
    while True:
        try:
            own = (source or UNSPECIFIED[address.version], next(_ports))
            return _connected(namespace, address, port, socket.SOCK_DGRAM, source=own)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def abort_on_close(connection: socket.socket) -> None:
    """Closing will send a reset instead of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


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


def ask_tcp(namespace: Namespace, address: Address, port: int, patience: float = PATIENCE) -> Answer:
    """One connection, one question."""
    with connect(namespace, address, port, patience=patience) as connection:
        return ask(connection)


def ask_udp(namespace: Namespace, address: Address, port: int) -> Answer:
    """One datagram, one answer."""
    with associate(namespace, address, port) as endpoint:
        return ask(endpoint)


def outcomes_tcp(
    namespace: Namespace, address: Address, port: int, times: int, patience: float = PATIENCE
) -> Counter[str]:
    """Connect and ask so many times, from a new port each; counts names of backends, or RESET, REFUSED, SILENCE.

    `patience`: seconds without a connection, or then without an answer, after which that one counts as SILENCE.
    """
    counted: Counter[str] = Counter()
    for _ in range(times):
        try:
            counted[ask_tcp(namespace, address, port, patience).backend] += 1
        except ConnectionRefusedError:
            counted[REFUSED] += 1
        except ConnectionResetError:
            counted[RESET] += 1
        except TimeoutError:
            counted[SILENCE] += 1
    return counted


def outcomes_udp(
    namespace: Namespace, address: Address, port: int, times: int, patience: float = 2.0 * SLOWNESS
) -> Counter[str]:
    """Send so many datagrams, from a new port each, then collect; counts names of backends, or REFUSED, SILENCE.

    `patience`: seconds without any answer after which the rest counts as SILENCE.
    """
    counted: Counter[str] = Counter()
    for done in range(0, times, BATCH):
        counted += _batch(namespace, address, port, min(BATCH, times - done), patience)
    return counted


def _batch(namespace: Namespace, address: Address, port: int, times: int, patience: float) -> Counter[str]:
    counted: Counter[str] = Counter()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        for _ in range(times):
            endpoint = stack.enter_context(associate(namespace, address, port))
            endpoint.send(b"who\n")
            waiting.register(endpoint, selectors.EVENT_READ)
        while waiting.get_map() and (ready := waiting.select(patience)):
            for key, _ in ready:
                waiting.unregister(key.fileobj)
                endpoint = cast(socket.socket, key.fileobj)
                try:
                    counted[json.loads(endpoint.recv(2048).partition(b"\n")[0])["backend"]] += 1
                except ConnectionRefusedError:
                    counted[REFUSED] += 1
        counted[SILENCE] += len(waiting.get_map())
    return +counted


def outcomes(namespace: Namespace, address: Address, port: int, protocol: str, times: int) -> Counter[str]:
    """`outcomes_tcp` or `outcomes_udp`, by the protocol's name as in a Gateway: `TCP`, `UDP`."""
    return (outcomes_tcp if protocol == "TCP" else outcomes_udp)(namespace, address, port, times)
