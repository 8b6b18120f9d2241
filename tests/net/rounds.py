"""Mixed traffic in rounds: every way in which a flow begins and ends, each told by how it has to come out.

Decides: what a round is. Rules: each flow that a backend gets is entered in the tally by who served it; whatever comes
out otherwise ends the client with an error. Flows of STRANGERS never get an answer back: theirs stay half-open,
unanswered or incomplete. Must never: hurry; the pace bounds how many ports of the node's are in use at a time.
"""

from __future__ import annotations

import itertools
import socket
import threading
from collections import Counter

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from lab.flood import CLIENTS as STRANGERS
from lab.manifests import CLOSED_PORT, Listener
from lab.netns import Namespace
from lab.servers.witness import PORT
from lab.topology import FAMILIES, GATEWAY
from lab.traffic.ask import ask, associate, connect
from lab.wait import until
from tests.net.endings import backend_ends, backend_resets, client_ends, client_resets

PACE = 0.1
LARGE = bytes(x * 31 % 251 for x in range(5000))
PIECE = 1024
WHOLE, FIRST_NEVER_COMES, LAST_NEVER_COMES = range(3)
"""What becomes of a stranger's datagram, by its number modulo 4."""

TO_A, TO_REMOTE, CLOSED, CLOSED_REMOTE = 7012, 7010, 7020, 7021
LISTENERS = (
    *(Listener(protocol, TO_A, {"a": 1}) for protocol in ("TCP", "UDP")),
    *(Listener(protocol, TO_REMOTE, {"remote": 1}) for protocol in ("TCP", "UDP")),
    Listener("UDP", CLOSED, {"a": 1}, target=CLOSED_PORT),
    Listener("UDP", CLOSED_REMOTE, {"remote": 1}, target=CLOSED_PORT),
)
"""What mixed clients ask besides PORT, which may lead to several backends."""

Served = tuple[str, int, str]  # protocol, port, backend


class Client(threading.Thread):
    """Rounds from one namespace in one family until it is told to end.

    `ports` lead, TCP and UDP, to more than one backend or to one; `single` to one each, by name; `closed`, UDP, to a
    port that nobody has open at that backend. `strangers`: also what only a raw socket sends.
    """

    def __init__(
        self,
        namespace: Namespace,
        family: int,
        *,
        ports: tuple[int, ...],
        single: dict[int, str],
        closed: dict[int, str],
        strangers: bool,
    ) -> None:
        super().__init__(daemon=True)
        self.namespace, self.family, self.gateway = namespace, family, GATEWAY[family]
        self.ports, self.single, self.closed, self.strangers = ports, single, closed, strangers
        self.tally: Counter[Served] = Counter()
        self.rounds = 0
        self.error: BaseException | None = None
        self._ending = threading.Event()
        self._numbers = itertools.count(1)

    def run(self) -> None:
        try:
            while not self._ending.wait(PACE):
                self._round()
                self.rounds += 1
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        """End after the round that it is in; raises what went wrong."""
        self._ending.set()
        self.join()
        self.must_run()

    def must_run(self) -> None:
        if self.error:
            raise self.error

    def _round(self) -> None:
        for port in self.ports:
            for end in (client_ends, backend_ends, client_resets, backend_resets):
                with connect(self.namespace, self.gateway, port) as connection:
                    self.tally["TCP", port, ask(connection).backend] += 1
                    end(connection)
            self._datagrams(port)
        for port, backend in self.single.items():
            with associate(self.namespace, self.gateway, port) as endpoint:
                endpoint.send(b"nobody hears the answer\n")
            self.tally["UDP", port, backend] += 1
        for port, backend in self.closed.items():
            with associate(self.namespace, self.gateway, port) as endpoint:
                endpoint.send(b"nobody is there\n")
                self.tally["UDP", port, backend] += 1
                try:
                    endpoint.recv(1)
                except ConnectionRefusedError:
                    continue
                raise AssertionError("a closed port answered")
        if self.strangers:
            self._strangers()

    def _datagrams(self, port: int) -> None:
        with associate(self.namespace, self.gateway, port) as endpoint:
            backend = ask(endpoint).backend
            self.tally["UDP", port, backend] += 1
            endpoint.send(LARGE)
            assert endpoint.recv(65_535).partition(b"\n")[2] == LARGE

    def _strangers(self) -> None:
        for port, backend in self.single.items():
            number = next(self._numbers)
            own = 1024 + number % 60_000
            self._send(TCP(sport=own, dport=port, flags="S", seq=number))
            whole = self._datagram(own, port)
            pieces = [whole[x : x + PIECE] for x in range(0, len(whole), PIECE)]
            last = len(pieces) - 1
            for index in reversed(range(len(pieces))):
                self._send_piece(4 * number + WHOLE, pieces, index)
            self._send_piece(4 * number + FIRST_NEVER_COMES, pieces, last)
            self._send_piece(4 * number + LAST_NEVER_COMES, pieces, 0)  # of the same flow
            self.tally["UDP", port, backend] += 1

    def _datagram(self, own: int, port: int) -> bytes:
        """A whole UDP datagram from STRANGERS, with its checksum."""
        stranger, gateway = str(STRANGERS[self.family]), str(self.gateway)
        layer = IP(src=stranger, dst=gateway) if self.family == 4 else IPv6(src=stranger, dst=gateway)
        return bytes(bytes(layer / UDP(sport=own, dport=port) / Raw(LARGE[:3000]))[20 if self.family == 4 else 40 :])

    def _send_piece(self, number: int, pieces: list[bytes], index: int) -> None:
        at, more = index * PIECE // 8, index < len(pieces) - 1
        if self.family == 4:
            self._send(Raw(pieces[index]), id=number % 65_536, frag=at, flags="MF" if more else 0, proto=17)
        else:
            self._send(IPv6ExtHdrFragment(nh=17, offset=at, m=int(more), id=number) / Raw(pieces[index]))

    def _send(self, what: TCP | Raw | IPv6ExtHdrFragment, **header: int | str) -> None:
        layer = IP(**header) if self.family == 4 else IPv6()
        layer.src, layer.dst = str(STRANGERS[self.family]), str(self.gateway)
        with self.namespace.inside():
            kind = socket.AF_INET if self.family == 4 else socket.AF_INET6
            with socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW) as wire:
                wire.sendto(bytes(layer / what), (str(self.gateway), 0))


def mixed_clients(*namespaces: Namespace, stranger: Namespace | None = None) -> list[Client]:
    """Of PORT and LISTENERS, in both families in each namespace; at `stranger` also what only a raw socket sends."""
    return [
        Client(
            namespace,
            family,
            ports=(PORT, TO_REMOTE),
            single={TO_A: "a", TO_REMOTE: "remote"},
            closed={CLOSED: "a", CLOSED_REMOTE: "remote"},
            strangers=namespace is stranger,
        )
        for namespace in namespaces
        for family in FAMILIES
    ]


def goes_on(clients: list[Client], rounds: int = 2) -> None:
    """Wait until each client went so many more rounds."""
    goal = {client: client.rounds + rounds for client in clients}

    def gone() -> bool:
        for client in clients:
            client.must_run()
        return all(client.rounds >= wanted for client, wanted in goal.items())

    until(gone, "each client goes on", every=0.1)
