"""A numbered stream of datagrams, each answered by the witness: counts what was lost, doubled, or served by whom."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

from lab.netns import Namespace
from lab.topology import Address
from lab.traffic.ask import associate
from lab.wait import SLOWNESS, TookTooLong, until

NUMBER = struct.Struct("!Q")

SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module does not have it
ROOM = 16 << 20
"""Octets that wait for a receiver which the machine lets wait: what it loses itself is no loss on the way."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """How a stream of datagrams ended. `refused`: sends or receives that an ICMP error answered. `gaps`: the first and
    the last number of each run of datagrams that no answer came for."""

    sent: int
    answered: int
    gaps: tuple[tuple[int, int], ...]
    doubled: int
    refused: int
    backends: Counter[str]

    @property
    def lost(self) -> int:
        """Datagrams that no answer came for."""
        return self.sent - self.answered


class Datagrams:
    """One UDP flow to a witness that goes on until `finish`. A context manager."""

    def __init__(
        self, namespace: Namespace, address: Address, port: int, *, per_second: int = 300, size: int = 200
    ) -> None:
        self._endpoint = associate(namespace, address, port)
        self._endpoint.settimeout(0.2)
        self._endpoint.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        self._ending, self._closed = threading.Event(), threading.Event()
        self._interval, self._filling = 1 / per_second, bytes(size - NUMBER.size)
        self._sent, self._refused, self._doubled = 0, 0, 0
        self._answered: set[int] = set()
        self._backends: Counter[str] = Counter()
        self._threads = [threading.Thread(target=task, daemon=True) for task in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        due = time.monotonic()
        while not self._ending.is_set():
            try:
                self._endpoint.send(NUMBER.pack(self._sent) + self._filling)
                self._sent += 1
            except ConnectionRefusedError:
                self._refused += 1
            due += self._interval
            self._ending.wait(max(0.0, due - time.monotonic()))

    def _receive(self) -> None:
        while not self._closed.is_set():
            try:
                datagram = self._endpoint.recv(65_535)
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                self._refused += 1
                continue
            who, _, payload = datagram.partition(b"\n")
            number = NUMBER.unpack_from(payload)[0]
            self._doubled += number in self._answered
            self._answered.add(number)
            self._backends[json.loads(who)["backend"]] += 1

    def __enter__(self) -> Datagrams:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        self._ending.set()
        self._closed.set()
        for thread in self._threads:
            thread.join()
        self._endpoint.close()

    @property
    def own_port(self) -> int:
        """The client's port."""
        port: int = self._endpoint.getsockname()[1]
        return port

    def further(self, datagrams: int) -> Callable[[], bool]:
        """Whether so many more datagrams were answered since now."""
        goal = len(self._answered) + datagrams
        return lambda: len(self._answered) >= goal

    def until_answered(self, datagrams: int) -> None:
        """Wait until so many more datagrams were answered."""
        until(self.further(datagrams), f"{datagrams} more datagrams answered")

    def finish(self) -> Exchanged:
        """Stop sending, wait for the answers that are still under way, and say how it went."""
        self._ending.set()
        self._threads[0].join()
        with contextlib.suppress(TookTooLong):
            until(lambda: len(self._answered) == self._sent, "every datagram is answered", patience=3 * SLOWNESS**2)
        self._stop()
        return Exchanged(self._sent, len(self._answered), self._gaps(), self._doubled, self._refused, self._backends)

    def _gaps(self) -> tuple[tuple[int, int], ...]:
        met = [-1, *sorted(self._answered), self._sent]
        return tuple((before + 1, after - 1) for before, after in pairwise(met) if after > before + 1)
