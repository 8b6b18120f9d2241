"""Traffic that must not notice anything, for tests that do something to the gateway meanwhile."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field

from lab.netns import Namespace
from lab.process import Process
from lab.servers.witness import PORT, STREAM_PORT, streams
from lab.topology import FAMILIES, GATEWAY, Lab
from lab.traffic.datagrams import Datagrams
from lab.traffic.stream import PATIENCE, Received
from lab.traffic.transfer import Transfer
from lab.wait import SLOWNESS, until

SEGMENTS = ("TcpEstabResets", "TcpOutRsts", "TcpRetransSegs")
RATE = round(500_000 / SLOWNESS**2)
"""Octets per second and direction of a transfer. Ten of them are what the machine must be able to carry; an emulated
one has its hands full with both ends' Python long before the gateway has."""
DATAGRAMS = round(200 / SLOWNESS**2)
"""Per second and stream of them."""


@dataclass
class Traffic:
    """All that must not notice anything, running. `elsewhere`: ends that are neither the client nor pods."""

    lab: Lab
    witnesses: list[Process]
    elsewhere: tuple[Namespace, ...] = ()
    transfers: list[Transfer] = field(default_factory=list)
    datagrams: list[Datagrams] = field(default_factory=list)

    def start(self, stack: ExitStack) -> None:
        """Four transfers and two streams of datagrams in each family: some to either backend, most likely; and a
        transfer from the node, whose source is ours."""
        self._counted_before = self._counted()
        self._ended_before = [len(streams(x)) for x in self.witnesses]
        for family in FAMILIES:
            for end in (*[self.lab.client] * 4, self.lab.node):
                transfer = Transfer(end, GATEWAY[family], STREAM_PORT, octets_per_second=RATE)
                self.transfers.append(stack.enter_context(transfer))
            for _ in range(2):
                exchange = Datagrams(self.lab.client, GATEWAY[family], PORT, per_second=DATAGRAMS)
                self.datagrams.append(stack.enter_context(exchange))
        self.goes_on()

    def _streams(self) -> list[Received]:
        """Those that ended at a server since the start."""
        each = zip(self.witnesses, self._ended_before, strict=True)
        return [x for process, before in each for x in streams(process)[before:]]

    def _ends(self) -> list[Namespace]:
        return [self.lab.client, *self.lab.backends.values(), *self.elsewhere]

    def _counted(self) -> list[Counter[str]]:
        """By the kernel of each end."""
        counters = [end.counters() for end in self._ends()]
        return [Counter({name: each[name] for name in SEGMENTS}) for each in counters]

    def _nobody_was_reset(self) -> None:
        """Nor was a segment answered by one who did not know it. But whose last FIN is late (another program had the
        processor), and sent again, is told twice that it came, and has gone the second time: that breaks nothing."""
        for end, now, before in zip(self._ends(), self._counted(), self._counted_before, strict=True):
            grown = now - before
            assert grown["TcpEstabResets"] == 0, f"{end.name}: {grown}"
            assert grown["TcpOutRsts"] <= grown["TcpRetransSegs"], f"{end.name}: {grown}"

    def goes_on(self, seconds: float = 1) -> None:
        """Wait until every transfer moved what it moves in so many seconds, both ways, and datagrams were answered
        meanwhile."""
        everything = [x.further(round(RATE * seconds)) for x in self.transfers]
        everything += [x.further(DATAGRAMS // 2) for x in self.datagrams]
        until(lambda: all(condition() for condition in everything), "everything goes on", patience=PATIENCE)

    def octets(self) -> int:
        """Moved so far by all transfers."""
        return sum(transfer.moved for transfer in self.transfers)

    def finish(self, spare: int = 0) -> None:
        """End everything in order; fails if anything was lost, changed or reset. `spare`: so many datagrams of each
        stream may be lost, where a NIC stood still."""
        for transfer in self.transfers:
            result = transfer.finish()
            assert result.whole, result
        for exchange in self.datagrams:
            counted = exchange.finish()
            assert counted.lost <= spare, counted
            assert (counted.doubled, counted.refused) == (0, 0), counted
            assert len(counted.backends) == 1, "a flow moved to another backend"

        def ended() -> bool:
            return len(self._streams()) == len(self.transfers)

        until(ended, "every transfer ended at its server")
        assert all(x.intact for x in self._streams())
        self._nobody_was_reset()
