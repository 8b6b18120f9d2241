"""Drives the quickstart: every kind of exchange, over IPv4 and IPv6, each in a thread that lives in the client.

Rules: paced, so that the machine stays usable while one watches; who served is counted by what the answer said, not by
what the gateway claims. A failed exchange is counted with its reason and the next one is tried.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType

import dns.exception
import redis.exceptions

from lab.demo.clients import EXCHANGES, Exchange
from lab.netns import Namespace
from lab.topology import FAMILIES, GATEWAY

PER_SECOND = 40
"""Exchanges of one kind over one family."""


@dataclass(slots=True)
class Tally:
    """What one kind of exchange over one family met so far. Written by its thread, read by others."""

    exchange: Exchange
    family: int
    served: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)


class Load:
    """Traffic that runs while the context does."""

    def __init__(self, client: Namespace) -> None:
        self.tallies = [Tally(exchange, family) for exchange in EXCHANGES for family in FAMILIES]
        self._client = client
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._drive, args=(tally,), daemon=True) for tally in self.tallies]

    def _drive(self, tally: Tally) -> None:
        with self._client.inside():
            due = time.monotonic()
            while not self._ending.is_set():
                try:
                    tally.served[tally.exchange.ask(GATEWAY[tally.family])] += 1
                except (OSError, redis.exceptions.RedisError, dns.exception.DNSException) as error:
                    tally.failed[f"{type(error).__name__}: {error}"] += 1
                due = max(due + 1 / PER_SECOND, time.monotonic())
                self._ending.wait(due - time.monotonic())

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the traffic; the tallies stay."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def least(self) -> int:
        """The smallest number of exchanges, served or not, that any kind has had."""
        return min(tally.served.total() + tally.failed.total() for tally in self.tallies)
