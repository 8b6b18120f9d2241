"""`python -m bench.control.agent ROUTES PINS RUN_DIR [measure]`: the agent's own parts, with that many routes.

Says when it was in control, then what was measured, a line of JSON each, and goes on until it is killed.

Decides what a time is: from when the source puts a change into the store until another process reads it from the
kernel's table. Rules: store, loop, data plane and reporter are put together as agent/daemon.py does; only the source is
another: objects come decoded, since what a folder of ten thousand routes costs to read is YAML. The main thread is the
loop's. A process of its own for each number of routes, so that memory is that of this number alone (lives.py).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from agent.compile.image import ListenerKey
from agent.daemon import keep_calm
from agent.dataplane.dataplane import Dataplane
from agent.loop import Loop, Outcome
from agent.reporter import Reporter
from agent.settings import Settings, TableSizes
from agent.sources.base import Update
from agent.store import Store
from bench.control import node
from bench.control.objects import endpoint_slice, objects, route
from bench.control.watch import Watch
from routes.objects.base import Object

ROUNDS: Final = 25
_BETWEEN: Final = 0.4  # seconds: changes come after a calm
_DEADLINE: Final = 120.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Times in milliseconds, memory in MiB: resident after the last change, and the most it ever was."""

    first_start: float
    endpoint: list[float]
    route: list[float]
    slots: list[float]
    resident: int
    most: int


class Bench:
    """The source's side: changes something and waits for it."""

    def __init__(self, store: Store, count: int) -> None:
        self._store = store
        self._count = count
        self._outcome = Outcome()
        self._told = threading.Condition()

    def tell(self, outcome: Outcome) -> None:
        """Called by the loop's thread."""
        with self._told:
            self._outcome = outcome
            self._told.notify()

    def start(self) -> float:
        """Put everything; milliseconds until the kernel was read to hold it."""
        everything = tuple(objects(self._count).items())
        began = time.monotonic()
        self._store.put(Update(everything, (), (), (), True))
        del everything
        with self._told:
            assert self._told.wait_for(lambda: self._outcome.verified_at is not None, _DEADLINE), self._outcome.error
        assert self._outcome.image is not None
        assert len(self._outcome.image.pools) == self._count, self._outcome.image.left_out
        return (time.monotonic() - began) * 1000

    def times(self, watch: Watch, change: Callable[[int, int], Object]) -> list[float]:
        """Change one thing after the other; `change` is given a route's number and how often it was changed before."""
        found = []
        different = min(ROUNDS, self._count)
        for turn in range(ROUNDS):
            time.sleep(_BETWEEN)
            number = turn % different * self._count // different
            changed = change(number, turn // different)
            watch.begin(self._pool(number))
            began = time.monotonic()
            self._put(changed)
            found.append((watch.seen() - began) * 1000)
        return found

    def slots(self) -> list[float]:
        """How long the slots of a pool take: they are computed when somebody looks."""
        image = self._outcome.image
        assert image is not None
        found = []
        for number in list(image.pools)[:ROUNDS]:
            began = time.monotonic()
            assert image.pools[number]
            found.append((time.monotonic() - began) * 1000)
        return found

    def _pool(self, number: int) -> int:
        image, wanted = self._outcome.image, self._outcome.wanted
        assert image is not None
        assert wanted is not None
        listener = next(x for x in wanted.plan.listeners if x.route == f"default/route-{number}")
        return image.listeners[ListenerKey(listener.addresses[0], listener.port, listener.protocol)].pool_id

    def _put(self, *changed: Object) -> None:
        self._store.put(Update(tuple((x.key, x) for x in changed), (), (), (), True))


class _Never:
    """Never readable: the loop is stopped by a kill."""

    def __init__(self) -> None:
        self._event = os.eventfd(0)

    def fileno(self) -> int:
        return self._event


def settings(count: int, pins: Path, run_dir: Path) -> Settings:
    """The defaults, and as many pools as it takes."""
    pools = max(TableSizes().max_pools, count + 256)
    return Settings(
        uplinks=(node.UPLINK,),
        tables=TableSizes(max_pools=pools),
        pin_dir=pins,
        run_dir=run_dir,
    )


def run(count: int, chosen: Settings, *, measures: bool) -> None:
    """Until killed."""
    with ExitStack() as stack:
        dataplane = stack.enter_context(Dataplane.open(chosen))
        store = stack.enter_context(closing(Store()))
        reporter = stack.enter_context(closing(Reporter(chosen.run_dir, "bench", {}, {})))
        bench = Bench(store, count)

        def tell(outcome: Outcome) -> None:
            reporter.tell(outcome)
            bench.tell(outcome)

        def work() -> None:
            try:
                first = bench.start()
                _say({"in_control": time.monotonic()})
                if measures:
                    _say(asdict(_measured(bench, first, next(chosen.pin_dir.glob("v*")) / "pools")))
            except BaseException:
                os._exit(1)  # else the loop's thread would go on

        threading.Thread(target=work).start()
        Loop(dataplane, store, chosen.absent_grace, tell).run(_Never())


def _measured(bench: Bench, first: float, pools: Path) -> Measured:
    with Watch(pools) as watch:
        endpoint = bench.times(watch, lambda number, again: endpoint_slice(number, "a", ready=1 + again % 2))
        weights = bench.times(watch, lambda number, again: route(number, (10 + again, 90)))
        return Measured(first, endpoint, weights, bench.slots(), _memory("VmRSS"), _memory("VmHWM"))


def _say(what: dict[str, object]) -> None:
    print(json.dumps(what), flush=True)


def _memory(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def main() -> None:
    """As the command line says."""
    logging.basicConfig(level=logging.WARNING)
    count, pins, run_dir, *rest = sys.argv[1:]
    keep_calm()
    run(int(count), settings(int(count), Path(pins), Path(run_dir)), measures=rest == ["measure"])


if __name__ == "__main__":
    main()
