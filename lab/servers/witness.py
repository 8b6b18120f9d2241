"""Our own server: tells who asks, echoes datagrams, takes checked streams. See lab.traffic.witness."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import lab
from lab.netns import Namespace
from lab.process import Process
from lab.servers.ready import until_accepting
from lab.topology import FAMILIES, Address, Lab
from lab.traffic.stream import Received

PORT = 7000
STREAM_PORT = PORT + 1


def witness(lab_: Lab, backend: str, port: int = PORT) -> Process:
    """Start the server in a backend, on TCP and UDP `port` and, for streams, on TCP `port` + 1."""
    addresses = [lab_.address(backend, family) for family in FAMILIES]
    return witness_in(lab_, lab_.backends[backend], backend, addresses, port)


def witness_in(lab_: Lab, namespace: Namespace, name: str, addresses: Iterable[Address], port: int) -> Process:
    """The same in any namespace that has the addresses; the server calls itself `name`."""
    process = namespace.start(
        f"witness {name}",
        [sys.executable, "-m", "lab.traffic.witness", name, str(port)],
        log=lab_.directory / f"witness-{name}-{port}.log",
        environment={"PYTHONPATH": str(Path(lab.__file__).parent.parent)},
    )
    for each in (port, port + 1):
        until_accepting(namespace, addresses, each, process)
    return process


def streams(process: Process) -> list[Received]:
    """How the streams that ended so far ended at the server, in order."""
    lines = (json.loads(line) for line in process.output().splitlines() if line.startswith("{"))
    return [Received(**line["stream"]) for line in lines if "stream" in line]
