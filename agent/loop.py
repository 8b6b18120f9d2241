"""The agent's one loop: objects -> wanted -> image -> kernel -> read back -> report. One direction, one thread.

Decides: when something is done.
  objects changed      resolve, compile, apply, read back: only what is concerned, where that can be said (`_part`), at
                       once and of the tables as they were last written and read; else everything, of the tables as
                       they are (`_whole`)
  interfaces changed   reconcile the hooks; compile again if the node's own addresses are others
  an absence expired   compile again: the backend's flows are reset from now on
  a table was full     once more, with the ids that came back by writing what had room
  now and then         read back tables and hooks, and repair what somebody else changed; judge again what this node may
                       hold (a socket's port is free now); look which retired backends have no flow left
Rules: nothing is written before the source was read in full once, so an agent that starts deletes nothing by mistake.
A pass has one picture of the node, and what it admitted is what it writes, wires and reads back. What fails is told,
logged and tried again, later each time; the kernel goes on with what it has. Outcome.read_back is what was read, never
what was written.
Must never: end because of an error, or wait longer than a second for anything.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agent.compile import compile as compile_image
from agent.compile import recompile, retired
from agent.compile.image import BackendState, Held, ListenerKey, MapImage
from agent.dataplane.dataplane import Dataplane
from agent.dataplane.errors import DataplaneError
from agent.dataplane.guards import Admitted, Refusals
from agent.dataplane.interfaces import Wiring
from agent.grace import GraceClock
from agent.pipeline import Wanted, wanted, wanted_after
from agent.store import State, Store
from routes.objects.base import Object, ObjectKey
from routes.plan import Address, PoolRef

log = logging.getLogger(__name__)

VERIFY_EVERY = 30.0  # seconds between two readings back when nothing happens
SLICE = 0.005  # seconds of reading back in one pass, so that what changes meanwhile need not wait
RETIRE_EVERY = 60.0  # seconds between two looks at which retired backends still have flows
REWIRE_EVERY = 0.2  # seconds between two looks at the interfaces while they change all the time
RETRY_FIRST, RETRY_MOST = 1.0, 30.0  # seconds until what failed is tried again


NOTHING_REFUSED = Refusals({}, {})
NOTHING_WIRED = Wiring((), (), frozenset(), ())


class NotHeld(Exception):
    """The kernel, read back, holds something else than it was given."""


# What a node or an operator can bring about; anything else is a defect of ours, and told with a traceback.
EXPECTED = (NotHeld, DataplaneError)


class Readable(Protocol):
    """Anything that poll(2) takes."""

    def fileno(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known after a pass. `read_back` are the entries of table `listeners` that the kernel was read to hold.

    `image` is what the kernel was last asked to hold, less what is `refused`, and `image_of` what asked for it
    (`wanted` may be newer, when writing it failed); both are None until the kernel was first brought to a state.
    `applied_at` and `verified_at` are seconds since the epoch; `error` says why the last pass failed, "" if it did not.
    """

    state: State | None = None
    wanted: Wanted | None = None
    image: MapImage | None = None
    image_of: Wanted | None = None
    read_back: frozenset[ListenerKey] = frozenset()
    refused: Refusals = NOTHING_REFUSED
    wiring: Wiring = NOTHING_WIRED
    applied_at: float | None = None
    verified_at: float | None = None
    seconds: float = 0.0
    error: str = ""


class Loop:
    """Brings the kernel to what the store says, and calls `tell` with what came of it after each pass.

    `absent_grace` is in seconds. `beat` is the monotonic time of the last sign of life.
    """

    def __init__(
        self, dataplane: Dataplane, store: Store, absent_grace: float, tell: Callable[[Outcome], None]
    ) -> None:
        self._dataplane = dataplane
        self._store = store
        self._tell = tell
        self._grace = GraceClock(absent_grace)
        self._outcome = Outcome()
        self._node_addresses: frozenset[Address] = frozenset()
        self._scan = False  # look for retired backends without flows at the next pass
        self._rewire = False  # links, addresses or routes changed
        self._rewire_at = 0.0
        self._objects: dict[ObjectKey, Object] = {}
        self._synced = False  # they were read in full once
        self._old: dict[ObjectKey, Object | None] = {}  # those that changed, as they were when `wanted` was made
        self._admitted: Admitted | None = None  # of the image that the kernel was last given
        self._touched: set[PoolRef] | None = None  # pools that changed since the last image was made; None: any
        self._whole_due = True  # the tables may hold something else than the last image
        self._stale = False  # `wanted` is of other objects
        self._dirty = False  # the kernel holds something else than wanted
        self._retry_at: float | None = None
        self._retry_after = RETRY_FIRST
        self._verify_at = 0.0
        self._walk: Iterator[tuple[str, ...]] | None = None  # the reading back that is under way
        self._retire_at = 0.0
        self.beat = time.monotonic()

    def run(self, stop: Readable) -> None:
        """Until `stop` is readable."""
        poll = select.poll()
        for readable in (self._store, self._dataplane.watch, stop):
            poll.register(readable.fileno(), select.POLLIN)
        while not any(fd == stop.fileno() for fd, _ in poll.poll(self._milliseconds())):
            self.beat = time.monotonic()
            self.step()

    def step(self) -> None:
        """One pass over everything that is due; nothing, if nothing is."""
        now = time.monotonic()
        began = self._outcome
        try:
            self._look(self._store.take())
            if self._stale and not self._whole_due and self._retry_at is None:
                self._bring_about(now)  # what changed comes first: the rest may take longer than it
            self._interfaces(now)
            self._timers(now)
            if (self._dirty or self._stale) and (self._retry_at is None or now >= self._retry_at):
                self._bring_about(now)
        except Exception as error:
            self._failed(error, now)
        if self._outcome is not began:
            self._tell(self._outcome)

    # ---- what is due ----

    def _look(self, state: State | None) -> None:
        if state is None:
            return
        self._outcome = replace(self._outcome, state=replace(state, changes={}))
        for key, new in state.changes.items():
            self._old.setdefault(key, self._objects.get(key))
            if new is None:
                self._objects.pop(key, None)
            else:
                self._objects[key] = new
        if not self._old:
            self._verify_at = 0.0  # whatever the source says, what is told of the kernel is not older than that
        if state.synced and (self._old or not self._synced):
            self._synced, self._stale, self._retry_at = True, True, None

    def _interfaces(self, now: float) -> None:
        self._rewire = self._dataplane.watch.changed() or self._rewire
        if not self._rewire or now < self._rewire_at or self._admitted is None:
            return
        self._rewire, self._rewire_at = False, now + REWIRE_EVERY
        self._wire(self._admitted.image)
        moved = self._dataplane.node_addresses() != self._node_addresses
        if moved or self._outcome.wiring.faults:
            self._dirty = self._whole_due = True

    def _timers(self, now: float) -> None:
        due = self._grace.due()
        if due is not None and now >= due:
            self._dirty = True
        if self._outcome.image is None:
            return
        if now >= self._retire_at:
            self._retire_at = now + RETIRE_EVERY
            states = {x.state for x in self._outcome.image.backends.values()}
            self._scan = bool(states - {BackendState.ACTIVE, BackendState.FREE})
            self._dirty = self._dirty or self._scan
        if now >= self._verify_at and not (self._dirty or self._stale):
            self._verify_slowly(now)

    def _verify_slowly(self, now: float) -> None:
        """Some milliseconds of reading everything back; it is due until it is done."""
        admitted = self._admitted
        if admitted is None:
            return
        if self._walk is None:
            self._admit_again()
            if self._dirty:
                return
            self._wire(admitted.image)
            if faults := self._outcome.wiring.faults:
                raise NotHeld(_first_of(faults))
            self._walk = self._dataplane.read_back_slowly(lambda: (self._admitted or admitted).image)
        for differences in self._walk:
            if differences:
                self._verify(now)  # which tells what of it is held
                return
            if time.monotonic() - now > SLICE:
                return
        self._walk, self._verify_at = None, now + VERIFY_EVERY
        self._outcome = replace(self._outcome, verified_at=time.time(), error="")

    def _admit_again(self) -> None:
        """What a node may hold changes without any news: a socket lets go of a port, IPv6 is switched off."""
        image, before = self._outcome.image, self._admitted
        if image is not None and before is not None:
            held = Held(listeners=before.image.listeners, node_addresses=self._dataplane.node_addresses())
            if self._dataplane.admit(image, held).refused != before.refused:
                self._dirty = self._whole_due = True

    def _milliseconds(self) -> int:
        now = time.monotonic()
        due = [x for x in (self._store.due(), self._grace.due()) if x is not None]
        if self._outcome.image is not None:
            due += [self._verify_at, self._retire_at, *([self._rewire_at] if self._rewire else [])]
        if self._retry_at is not None:
            due = [max(x, self._retry_at) for x in due] + [self._retry_at]
        return max(0, min(1000, int((min(due, default=now + 1) - now) * 1000) + 1))

    # ---- doing it ----

    def _resolve(self, node_addresses: frozenset[Address]) -> Wanted | None:
        """What is wanted now, which is the outcome's from then on; None before the source was read in full."""
        objects, before = self._objects, self._outcome.wanted
        if not self._synced:
            return None
        if before is None or node_addresses != self._node_addresses:
            found = wanted(objects, node_addresses)
        elif self._stale:
            old = {key: x for key, x in self._old.items() if x is not None}
            found = wanted_after(before, old, objects, self._old.keys(), node_addresses)
        else:
            return before
        self._old, self._stale = {}, False
        self._node_addresses = node_addresses
        if found.changed is None or self._touched is None:
            self._touched = None
        else:
            self._touched |= found.changed
        self._outcome = replace(self._outcome, wanted=found)
        return found

    def _bring_about(self, now: float) -> None:
        if not self._part(now) and not self._whole(now):
            return
        self._scan = self._whole_due = False
        self._dirty, self._retry_at, self._retry_after = False, None, RETRY_FIRST

    def _part(self, now: float) -> bool:
        """Only what is concerned by what changed, if it is known what that is."""
        previous, admitted = self._outcome.image, self._admitted
        if self._whole_due or previous is None or admitted is None or previous.left_out:
            return False
        asked = self._resolve(self._node_addresses)
        if asked is None or self._touched is None:
            return False
        self._dirty = self._whole_due = True  # until it is done
        leaving = retired(previous)
        held = Held(
            previous.listeners,
            previous.backends,
            expired=self._grace.expired(leaving, now),
            unused=self._dataplane.unused(leaving) if self._scan else frozenset(),
            node_addresses=self._node_addresses,
            names=previous.names,
            room=self._dataplane.room,
        )
        image = recompile(previous, asked.plan, asked.endpoints, held, self._touched)
        if image.touched is None or image.left_out:
            return False
        admitted = Admitted(
            replace(image, gateways=admitted.image.gateways, listeners=admitted.image.listeners), admitted.refused
        )
        written = self._dataplane.apply_touched(admitted.image)
        if written is None:
            return False
        if differences := self._dataplane.read_back_touched(admitted.image):
            raise NotHeld(_first_of(differences))
        self._written(asked, image, admitted, now, news=bool(written))
        if self._dataplane.hooks_follow_backends:
            self._wire(admitted.image)
        self._grace.expired(retired(image), now)  # absences that begin now
        self._outcome = replace(self._outcome, verified_at=time.time(), error="")
        return True

    def _whole(self, now: float) -> bool:
        """Everything; False while it is not known what is wanted."""
        held = self._dataplane.held(scan=self._scan)
        asked = self._resolve(held.node_addresses)
        if asked is None:
            return False
        self._dirty, last = True, self._outcome.image
        image = self._write(asked, held, now)
        if image.left_out:  # what was just written gave ids back, more of them if it is known which have no flow
            news = last is None or image.left_out != last.left_out
            self._write(asked, self._dataplane.held(scan=news), now)
        self._verify(now)
        return True

    def _write(self, asked: Wanted, held: Held, now: float) -> MapImage:
        held = replace(held, expired=self._grace.expired(held.backends, now))
        again = {} if self._outcome.image is None else {"previous": self._outcome.image}
        image = compile_image(asked.plan, asked.endpoints, held, **again)
        admitted = self._dataplane.admit(image, held)
        written = self._dataplane.apply(admitted.image)
        self._wire(admitted.image)
        self._grace.expired(image.backends, now)  # absences that begin now
        self._written(asked, image, admitted, now, news=bool(written) or self._outcome.image is None)
        return image

    def _written(self, asked: Wanted, image: MapImage, admitted: Admitted, now: float, *, news: bool) -> None:
        if news:
            self._outcome = replace(self._outcome, applied_at=time.time(), seconds=time.monotonic() - now)
        self._outcome = replace(self._outcome, image=image, image_of=asked, refused=admitted.refused)
        self._touched, self._admitted = set(), admitted

    def _wire(self, image: MapImage) -> None:
        try:
            wiring = self._dataplane.reconcile_interfaces(image)
        except Exception as error:
            self._outcome = replace(self._outcome, wiring=replace(self._outcome.wiring, faults=(str(error),)))
            raise
        self._outcome = replace(self._outcome, wiring=wiring)

    def _verify(self, now: float) -> None:
        if self._admitted is None:
            return
        self._walk, self._verify_at = None, now + VERIFY_EVERY
        found = self._dataplane.read_back(self._admitted.image)
        self._outcome = replace(self._outcome, read_back=found.listeners)
        if differences := (*self._outcome.wiring.faults, *found.differences):
            raise NotHeld(_first_of(differences))
        self._retry_at, self._retry_after = None, RETRY_FIRST
        self._outcome = replace(self._outcome, verified_at=time.time(), error="")

    def _failed(self, error: Exception, now: float) -> None:
        if isinstance(error, EXPECTED):
            log.error("%s; tried again in %.0f s", error, self._retry_after)
        else:
            log.exception("this is a defect; tried again in %.0f s", self._retry_after)
        self._dirty = self._whole_due = True
        self._walk = None
        self._retry_at = now + self._retry_after
        self._retry_after = min(2 * self._retry_after, RETRY_MOST)
        self._outcome = replace(self._outcome, error=str(error) or type(error).__name__)


def _first_of(differences: Sequence[str]) -> str:
    more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
    return differences[0] + more
