"""Our own server in a backend: tells who asks, echoes datagrams, takes checked streams. See lab.traffic.witness."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lab
from lab.process import Process
from lab.servers.ready import until_accepting
from lab.topology import Lab
from lab.traffic.stream import Received

PORT = 7000
STREAM_PORT = PORT + 1


def witness(lab_: Lab, backend: str, port: int = PORT) -> Process:
    """Start the server on TCP and UDP `port` and, for streams, on TCP `port` + 1."""
    process = lab_.backends[backend].start(
        f"witness {backend}",
        [sys.executable, "-m", "lab.traffic.witness", backend, str(port)],
        log=lab_.directory / f"witness-{backend}-{port}.log",
        environment={"PYTHONPATH": str(Path(lab.__file__).parent.parent)},
    )
    for each in (port, port + 1):
        until_accepting(lab_, backend, each, process)
    return process


def streams(process: Process) -> list[Received]:
    """How the streams that ended so far ended at the server, in order."""
    lines = (json.loads(line) for line in process.output().splitlines() if line.startswith("{"))
    return [Received(**line["stream"]) for line in lines if "stream" in line]
