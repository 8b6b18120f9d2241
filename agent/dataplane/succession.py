"""A new set of tables and programs takes the place of the one that is in force, under traffic.

Decides: what is carried over, and in which order.
  1. what the agent wrote and what was counted, from the old tables to the new ones; those that fit are in both sets
  2. the new programs are hooked wherever the old ones are, behind them, and its ageing is started: they see that they
     are not in force, and let everything pass
  3. if flows, their queues or their counts are among the tables that are new: a lease is written by which no flow
     begins, ends by ageing or leaves its handshake (bpf/in_force.h). Established flows go on. The flows are carried
     over, the queues filled from them, they are counted anew; the lease is renewed with each part. If this process
     stops, the lease ends by itself, and all is as it was; if it was stopped for long and goes on: Lapsed
  4. one write puts the new set in force; what waited goes on when it is sent again
  5. the old set is taken off and forgotten, and its timer with it; but for its XDP programs, of which an interface has
     but one: they see that they are not in force, and let everything pass, until the agent replaces them in place
Flows are carried over once and not twice: while they move nobody changes which flows there are, so nothing has to be
made good afterwards, and no packet of a known flow ever meets a table without it. The price is that who connects during
that time waits (docs/operations.md has figures). Counters, and a FIN or RST, of the last instant may be missed: a
flow that ended just then stays until it is idle for as long as an open one may be.
Rules: until step 4 whatever fails leaves the old set as it was. Packets that are under way (fragments) and scratch
space are not carried over, nor handshakes whose time is up; of a counter whose verdict has gone, nothing is.
Must never: change or empty a table of the old set (a count that both sets have is put right, while nothing else changes
it); put a set in force of which something is missing.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from agent.dataplane.handshakes import under_way
from agent.dataplane.sets import discard, put_in_force
from agent.dataplane.source_counts import SourceCounts
from agent.dataplane.tables import FLOWS
from loader import xdp
from loader.attach import attach, attachments, inherit
from loader.btf import Btf
from loader.btf_types import Enum
from loader.convert import Octets, dtype_of
from loader.errors import Incompatible, InterfaceGone
from loader.maps import Map
from loader.program import Program
from loader.quiescence import wait_for_running_programs
from loader.transfer import Mask, carry_over

TIMERS: Final = frozenset({"ageing"})
"""Tables that a set has to itself: a timer runs one set's programs."""

_QUEUES: Final = {
    "ageing_tcp4": "tcp_flows4",
    "ageing_tcp6": "tcp_flows6",
    "ageing_udp4": "udp_flows4",
    "ageing_udp6": "udp_flows6",
}
"""Queue -> the flows that stand in it."""

_OF_FLOWS: Final = frozenset(
    {*FLOWS, *_QUEUES, "flow_usage", "listener_connections", "source_connections", "source_seed"}
)
"""Tables that tell of flows, and are whole only while none begins or ends."""

_PASSING: Final = frozenset(
    {
        *("packet_scratch", "pair_scratch", "datagram_scratch", "held_scratch", "first_scratch", "told_scratch"),
        *("datagrams", "complete_datagrams", "held_fragments", "reply_rates", "vain_searches"),
        "ageing_in_hand",
    }
)
_LEASE: Final = 5  # seconds for which flows stand still unless it is renewed
_LEFT: Final = 1  # seconds that must be left of it
_BETWEEN_RENEWALS: Final = 4096  # entries that are looked at one by one


class Lapsed(Exception):
    """The flows were let go in the midst of being carried over: begin again."""


class Succession:
    """One set's place taken by another. `maps` and `programs` are the new set's, `btf` its types; `handshake_limit`:
    seconds after which a handshake is over."""

    def __init__(
        self,
        old: Path,
        new: Path,
        maps: Mapping[str, Map],
        programs: Mapping[str, Program],
        btf: Btf,
        *,
        handshake_limit: int,
    ) -> None:
        self._old = old
        self._new = new
        self._maps = maps
        self._programs = programs
        self._btf = btf
        self._handshake_limit = handshake_limit
        self._lease_ends = 0.0

    def carry_out(self, start_ageing: Callable[[], None]) -> None:
        """All of it. Raises Incompatible, Lapsed, LoaderError; then the old set is in force."""
        with contextlib.ExitStack() as opened:
            replaced = {}
            for name, table in self._maps.items():
                if name not in TIMERS and (self._old / name).exists():
                    before = opened.enter_context(Map.open_pinned(self._old / name))
                    if before.id != table.id:
                        replaced[name] = before
            for name, before in replaced.items():
                if name == "verdicts":
                    carry_verdicts(before, self._maps[name])
                elif name not in _PASSING and name not in _OF_FLOWS:
                    carry_over(before, self._maps[name])
            inherit(self._new, self._old)
            hook_where_hooked(self._programs, self._old, self._new)
            start_ageing()
            if replaced.keys() & _OF_FLOWS:
                self._move_flows(replaced)
            put_in_force(self._new)
        xdp.inherit(self._new, self._old)
        discard(self._old)

    def _move_flows(self, replaced: Mapping[str, Map]) -> None:
        try:
            self._move(replaced)
        except BaseException:
            put_in_force(self._old)  # they need not wait for the lease's end
            raise
        put_in_force(self._new, moving_until=self._until())
        wait_for_running_programs()

    def _move(self, replaced: Mapping[str, Map]) -> None:
        self._lease_ends = time.monotonic() + _LEASE
        self._renew()
        wait_for_running_programs()
        for name in (*FLOWS, "flow_usage", "source_seed"):
            if name in replaced:
                carry_over(replaced[name], self._maps[name], self._renew, self._wanted(name, replaced[name]))
        connections: Counter[int] = Counter()
        sources = self._sources(replaced)
        live = {
            name: self._watch(queue, name, queue in replaced, connections, sources) for queue, name in _QUEUES.items()
        }
        # Those of them that fit are in force already: nothing is written there unless the lease has still time to run.
        usage = self._maps["flow_usage"]
        held = usage.get(0)
        counted = {**held, "tcp4": live["tcp_flows4"], "tcp6": live["tcp_flows6"]}
        self._renew()
        if counted != held:
            usage.set(0, counted)
        open_at = self._maps["listener_connections"]
        for number, (listener_id, held) in enumerate(open_at.items()):
            if number % _BETWEEN_RENEWALS == 0:
                self._renew()
            if held["open"] != connections[listener_id]:
                open_at.set(listener_id, {"open": connections[listener_id]})
        sources.write(self._renew)
        self._renew()

    def _wanted(self, name: str, table: Map) -> Callable[[Octets], Mask] | None:
        if not name.startswith("half_open"):
            return None
        return lambda values: under_way(table, values, self._handshake_limit)

    def _sources(self, replaced: Mapping[str, Map]) -> SourceCounts:
        name = "source_connections"
        old, new = replaced.get(name), self._maps[name]
        sources = SourceCounts(old, new, int(self._btf.enum("limits")["SOURCE_COUNT_BITS"]), self._renew)
        if old is not None and sources.moves and not {"tcp_flows4", "tcp_flows6"} <= replaced.keys():
            raise Incompatible(name, "the number of buckets", old.max_entries, new.max_entries)
        return sources

    def _watch(self, queue: str, flows: str, fill: bool, connections: Counter[int], sources: SourceCounts) -> int:
        """How many flows there are, and of which listeners' and sources' open connections they are some; `fill`: each
        is put into the queue, to be looked at soon."""
        entry = self._btf.struct(f"ageing{flows[-1]}")
        kind, value = dtype_of(entry.types, entry.type_id), self._maps[flows].value
        flow, is_reply = dtype_of(value.types, value.type_id), int(self._btf.enum("flow_flag")["FLOW_REPLY"])
        found = 0
        for keys, values in self._maps[flows].chunks():
            halves = values.view(flow)[:, 0]
            requests = (halves["flags"] & is_reply) == 0
            found += int(requests.sum())
            counted_at = halves["counted_at"][requests]
            for listener_id, times in zip(*np.unique(counted_at[counted_at > 0], return_counts=True), strict=True):
                connections[int(listener_id)] += int(times)
            counted = np.flatnonzero(requests & (halves["source_place"] > 0))
            places = sources.count(halves["source_place"][counted])
            if sources.moves and len(counted):
                moved = values[counted]
                moved.view(flow)[:, 0]["source_place"] = places
                self._maps[flows].set_chunk(keys[counted], moved)
            if fill:
                rows: Octets = np.zeros((int(requests.sum()), entry.size), np.uint8)
                rows[:, : keys.shape[1]] = keys[requests]  # `key` comes first
                rows.view(kind)[:, 0]["generation"] = halves["generation"][requests]
                self._maps[queue].push_chunk(rows)
            self._renew()
        return found

    def _renew(self) -> None:
        now = time.monotonic()
        if self._lease_ends - now < _LEFT:
            raise Lapsed
        self._lease_ends = now + _LEASE
        put_in_force(self._old, moving_until=self._until())

    def _until(self) -> int:
        return int(time.clock_gettime(time.CLOCK_MONOTONIC)) + _LEASE


def hook_where_hooked(programs: Mapping[str, Program], there: Path, pins: Path) -> None:
    """Wherever a program of the set `there` is hooked, the one of its name is, too; replaced, if it is the same set."""
    for x in attachments(there):
        if x.alive and x.program in programs:
            with contextlib.suppress(InterfaceGone):
                attach(programs[x.program], x.ifindex, x.direction, pins, there if there != pins else None)


def carry_verdicts(old: Map, new: Map) -> None:
    """Counters of verdicts, whose index is made of two numbers, by the names of both."""
    hooks, verdicts = ({y: x for x, y in _members(old, name).items()} for name in ("hook", "verdict"))
    new_hooks, new_verdicts = (_members(new, name) for name in ("hook", "verdict"))
    width, new_width = len(verdicts), len(new_verdicts)
    for index, per_cpu in old.items():
        hook = new_hooks.get(hooks[index // width])
        verdict = new_verdicts.get(verdicts[index % width])
        if hook is not None and verdict is not None:
            named = {"hook": hook, "verdict": verdict}
            counted = [{**new.value.zero, **{k: v for k, v in x.items() if k in new.value.zero}} for x in per_cpu]
            new.set(hook * new_width + verdict, [{**x, **named} for x in counted])


def _members(table: Map, enum: str) -> Mapping[str, int]:
    """Of an enum among the types of a table, by name, without the member that counts the others."""
    for x in table.value.types:
        if isinstance(x, Enum) and x.name == enum:
            return {name: number for name, number in x.values.items() if not name.endswith("_COUNT")}
    return {}
