"""The server that tells what it sees. `python -m lab.traffic.witness NAME PORT` in a backend's namespace.

Decides: what each port does. TCP PORT: every line is answered with one JSON line {"backend", "peer", "port"}: the
name given, and the client's address and port as seen here; but after the line `end` it closes the connection, and after
`abort` it resets it. UDP PORT: every datagram is answered with such a line and
the datagram's own octets after it. TCP PORT+1: a checked stream (lab.traffic.stream) both ways at once, as fast as the
client says in its first eight octets; a JSON line on standard output tells how each one ended.
Rules: the client ends first, unless it asks for something else; both address families on one socket.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Any

from lab.traffic import stream
from lab.traffic.ask import ABORT, END, abort_on_close
from lab.traffic.datagrams import ROOM, SO_RCVBUFFORCE

RATE = struct.Struct("!Q")


def _who(name: str, peer: tuple[str, int, int, int]) -> bytes:
    address = IPv6Address(peer[0].partition("%")[0])
    shown = str(address.ipv4_mapped or address)
    return json.dumps({"backend": name, "peer": shown, "port": peer[1]}).encode() + b"\n"


def tell(report: Mapping[str, Any]) -> None:
    """A line on standard output, whole: print() writes its end by itself when nothing is buffered (`python -u`)."""
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


class _Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, name: str, port: int, handler: type[socketserver.BaseRequestHandler]) -> None:
        self.name = name
        super().__init__(("::", port), handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is told in one line, not in a traceback."""
        tell({"peer": str(client_address), "error": repr(sys.exception())})


class _Ask(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        for line in self.rfile:
            if line == END:
                return
            if line == ABORT:
                abort_on_close(self.connection)
                os.close(self.connection.detach())  # socketserver would say FIN first
                return
            self.wfile.write(_who(self.server.name, self.client_address))


class _Stream(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.settimeout(stream.PATIENCE)
        header = connection.recv(RATE.size, socket.MSG_WAITALL)
        if not header:
            return  # someone looked whether the port is open
        rate = RATE.unpack(header)[0]
        peer_ended = threading.Event()
        sent, received, problems = stream.Progress(), stream.Progress(), []

        def send() -> None:
            try:
                stream.send(
                    connection,
                    seed=random.getrandbits(32),
                    octets_per_second=rate,
                    finished=peer_ended.is_set,
                    progress=sent,
                )
            except OSError as error:
                problems.append(repr(error))

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        result = stream.receive(connection, received)
        peer_ended.set()
        sender.join()
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        report = {"stream": dataclasses.asdict(result), "sent": sent.octets, "problems": problems}
        tell(report)


def _answer_datagrams(name: str, endpoint: socket.socket) -> None:
    while True:
        payload, peer = endpoint.recvfrom(65_535)
        # A client that closed its socket answers with ICMP; that is its business.
        with contextlib.suppress(ConnectionRefusedError):
            endpoint.sendto(_who(name, peer) + payload, peer)


def main(name: str, port: int) -> None:
    """Serve until killed. The UDP port is there before the TCP ports are, which is what others look for."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as endpoint:
        endpoint.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        endpoint.bind(("::", port))
        servers = [_Server(name, port, _Ask), _Server(name, port + 1, _Stream)]
        for server in servers:
            threading.Thread(target=server.serve_forever).start()
        _answer_datagrams(name, endpoint)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
