"""A `penstock trace` that runs beside a test, and what it showed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lab.gateway import Gateway
from lab.process import Argument, Process

Record = dict[str, Any]


@contextmanager
def tracing(gateway: Gateway, *words: Argument) -> Iterator[Process]:
    """`penstock trace`, from when packets are seen on."""
    log = gateway.lab.directory / "trace.log"
    log.unlink(missing_ok=True)
    with gateway.lab.node.start("trace", gateway.command_line("trace", *words), log=log) as process:
        process.until_output("tracing;")
        yield process


def records(process: Process) -> list[Record]:
    """Ends a trace with -o json as Ctrl-C does: all it wrote."""
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    return [json.loads(x) for x in process.output().splitlines() if x.startswith("{")]
