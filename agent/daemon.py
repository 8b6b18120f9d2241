"""The agent as a process: its parts put together, started and stopped in order.

Decides: the order. The server's port first: if somebody else has it, nothing was made yet that would be left behind.
Then the kernel's side, without which nothing has a meaning; then the server answers, so that what goes on can be seen;
then the source, and the loop last. Rules: the loop has the main thread; source and server have one each. A source that
dies is started again. Leaving takes nothing away from the kernel.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from agent.dataplane.dataplane import Dataplane
from agent.dataplane.lock import AgentLock
from agent.dataplane.usage import TableUse
from agent.dataplane.view import View
from agent.loop import Loop
from agent.meter import Meter
from agent.metrics import registry
from agent.reporter import Reporter
from agent.run_dir import LAST_GOOD
from agent.server import Answer, Page, StatusServer
from agent.settings import Settings, split_address
from agent.snapshot import snapshot
from agent.sources.base import Source
from agent.sources.folder import FolderSource
from agent.store import Store
from agent.traffic import addresses, traffic

log = logging.getLogger(__name__)

ALIVE = 300.0  # seconds without a sign of life of the loop after which /healthz says so; a pass may take long
SOURCE_AGAIN = 5.0  # seconds until a source that died is started again


@dataclass(frozen=True, slots=True)
class Started:
    """What the operator is told when the agent is up. `url` is of the server; `tables` as the kernel made them."""

    url: str
    source: str
    tables: tuple[TableUse, ...]
    features: Mapping[str, str]


def run(settings: Settings, manifests: Path, features: Mapping[str, str], started: Callable[[Started], None]) -> None:
    """Be the agent until SIGTERM or SIGINT.

    Raises what Dataplane.open raises, and OSError when the server's address cannot be bound: then nothing was made.
    """
    keep_calm()
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_stop_signals())
        server = stack.enter_context(_bound(settings))
        dataplane = stack.enter_context(Dataplane.open(settings))
        view = stack.enter_context(View.open(settings.pin_dir, settings.run_dir, settings.object_dir))
        store = stack.enter_context(contextlib.closing(Store()))
        source = FolderSource(manifests, settings.run_dir / LAST_GOOD)
        reporter = Reporter(settings.run_dir, source.name, reported_settings(settings, manifests), features)
        stack.callback(reporter.close)
        loop = Loop(dataplane, store, settings.absent_grace, reporter.tell)
        server.serve(*_served(view, reporter, loop))
        stack.callback(server.close)  # before what it reads
        stack.enter_context(_following(source, store))
        host, _ = split_address(settings.metrics_address)
        host = f"[{host}]" if ":" in host else host
        started(Started(f"http://{host}:{server.port}/", source.name, view.usage(), features))
        loop.run(stop)


def keep_calm() -> None:
    """Look for garbage seldom: what is here are values without cycles, and a search among all those of ten thousand
    routes takes half a second.
    """
    gc.set_threshold(100_000, 50, 100)


def reported_settings(settings: Settings, manifests: Path) -> Mapping[str, str]:
    """What a report says of how the agent was started."""
    return {
        "manifests": str(manifests),
        "uplinks": ", ".join(settings.uplinks),
        "delivery": settings.delivery.value,
        "xdp": settings.xdp.value,
        "pin_dir": str(settings.pin_dir),
        "snat_addresses": ", ".join(map(str, settings.snat_addresses)) or "the uplink's",
        "snat_ports": "{}-{}".format(*settings.snat_ports),
        "symmetric": ", ".join(settings.symmetric),
        "absent_grace": str(settings.absent_grace),
        "metrics_address": settings.metrics_address,
    }


def _bound(settings: Settings) -> StatusServer:
    try:
        return StatusServer(*split_address(settings.metrics_address))
    except OSError:
        AgentLock.take(settings.run_dir, settings.pin_dir).undo()  # if another agent has the port, that is the news
        raise


def _served(view: View, reporter: Reporter, loop: Loop) -> tuple[CollectorRegistry, Mapping[str, Page]]:
    meter = Meter(view)

    def status() -> Answer:
        report = reporter.current
        seen = meter.seen(addresses(report.listeners))
        said = snapshot(report, traffic(report.listeners, *meter.read(), seen), agent=report.pid, now=time.time())
        return Answer(True, msgspec.json.encode(said), "application/json")

    def healthz() -> Answer:
        silent = time.monotonic() - loop.beat
        return Answer(silent < ALIVE, f"loop: last sign of life {silent:.1f} s ago\n".encode())

    def readyz() -> Answer:
        report = reporter.current
        why = report.applied.error or ("not yet" if not report.ready else "the kernel holds the state asked for")
        return Answer(report.ready, f"{why}\n".encode())

    pages = {"/status": status, "/healthz": healthz, "/readyz": readyz}
    return registry(meter, lambda: reporter.current), pages


class _Stop:
    """Readable once a signal came."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._event

    def set(self, number: int, frame: object) -> None:
        """A signal handler."""
        os.eventfd_write(self._event, 1)

    def close(self) -> None:
        os.close(self._event)


@contextlib.contextmanager
def _stop_signals() -> Iterator[_Stop]:
    with contextlib.closing(_Stop()) as stop:
        before = {x: signal.signal(x, stop.set) for x in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _following(source: Source, store: Store) -> Iterator[None]:
    """Put the source's updates into the store, from a thread of its own."""
    stop = threading.Event()

    def follow() -> None:
        while not stop.is_set():
            try:
                for update in source.updates(stop):
                    store.put(update)
            except Exception:
                log.exception("%s: this is a defect; started again in %.0f s", source.name, SOURCE_AGAIN)
                stop.wait(SOURCE_AGAIN)

    thread = threading.Thread(target=follow, name="source", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
