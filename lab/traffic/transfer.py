"""A long TCP transfer, both directions at once, checked octet by octet: the client's end, in threads of its own."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from lab.netns import Namespace
from lab.topology import Address
from lab.traffic import stream
from lab.traffic.ask import connect
from lab.traffic.witness import RATE
from lab.wait import until


@dataclass(frozen=True, slots=True)
class Transferred:
    """How a transfer ended, at the client. `problem`: what befell the sending direction, empty if nothing."""

    sent: int
    received: stream.Received
    problem: str

    @property
    def whole(self) -> bool:
        """Everything that was sent to us arrived, and we could send all we wanted."""
        return self.received.intact and not self.problem


class Transfer:
    """A connection to a witness's stream port that goes on until `finish`. A context manager.

    `octets_per_second`: of each direction; modest by default, the point is the time it lasts.
    """

    def __init__(
        self, namespace: Namespace, address: Address, port: int, *, octets_per_second: int = 2_000_000
    ) -> None:
        self._connection = connect(namespace, address, port, patience=stream.PATIENCE)
        self._connection.sendall(RATE.pack(octets_per_second))
        self._ending = threading.Event()
        self._sent, self._received = stream.Progress(), stream.Progress()
        self._result: stream.Received | None = None
        self._problem = ""
        self._rate = octets_per_second
        self._threads = [threading.Thread(target=task, daemon=True) for task in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        try:
            stream.send(
                self._connection,
                seed=random.getrandbits(32),
                octets_per_second=self._rate,
                finished=self._ending.is_set,
                progress=self._sent,
            )
        except OSError as error:
            self._problem = repr(error)

    def _receive(self) -> None:
        self._result = stream.receive(self._connection, self._received)

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._connection.close()

    @property
    def own_port(self) -> int:
        """The client's port."""
        port: int = self._connection.getsockname()[1]
        return port

    @property
    def moved(self) -> int:
        """Octets sent and received so far."""
        return self._sent.octets + self._received.octets

    def further(self, octets: int) -> Callable[[], bool]:
        """Whether so many more octets were sent since now, and so many received, or the transfer broke."""
        sent, received = self._sent.octets + octets, self._received.octets + octets

        def moved() -> bool:
            broken = self._result is not None or bool(self._problem)
            return broken or (self._sent.octets >= sent and self._received.octets >= received)

        return moved

    def until_moved(self, octets: int) -> None:
        """Wait until so many more octets were sent, and so many received, or the transfer broke."""
        until(self.further(octets), f"{octets} more octets moved both ways", patience=stream.PATIENCE)

    def finish(self) -> Transferred:
        """End the transfer in order, and say how it went."""
        self._ending.set()
        for thread in self._threads:
            thread.join(stream.PATIENCE)
        result = self._result or stream.Received(self._received.octets, intact=False, reset=False, error="no end came")
        self._connection.close()
        return Transferred(self._sent.octets, result, self._problem)
