"""What is measured through a peer: each measure does something for a time and says how much was done.

Decides: which program measures what. Rules: bounded in time; a sample of which more than a thousandth was lost is no
sample, for a way that drops looks fast.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench import services
from bench.services import Service
from bench.site import BUILD
from lab.netns import Namespace
from lab.topology import Address

LOST: Final = 0.001
"""Share of operations that may fail in a sample."""


class NoSample(Exception):
    """A measurement that says nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure. `work(client, address, port, milliseconds)` gives how many `unit` were done; raises NoSample."""

    name: str
    title: str
    unit: str
    service: Service
    work: Callable[[Namespace, Address, int, int], float]


def _load(role: str, client: Namespace, address: Address, port: int, milliseconds: int) -> float:
    done = client.run(BUILD / "load", role, str(address), str(port), str(milliseconds), check=False)
    if done.returncode:
        raise NoSample(f"{role} to {address} port {port}: {done.stderr.strip()}")
    output = done.stdout
    seen = json.loads(output)
    if seen["lost"] > LOST * (seen["done"] + seen["lost"]) or not seen["done"]:
        raise NoSample(f"{role} to {address} port {port}: {output.strip()}")
    return float(seen["done"])


def _whole_seconds(milliseconds: int) -> str:
    """iperf3 takes 0.5 for 0, and 0 for without end; wrk refuses it."""
    return str(max(1, round(milliseconds / 1000)))


def _iperf3(client: Namespace, address: Address, port: int, milliseconds: int) -> float:
    """Bits that arrived."""
    argv = ("iperf3", "--json", "--client", str(address), "--port", str(port), "--time", _whole_seconds(milliseconds))
    output = client.run(*argv, check=False).stdout
    seen = json.loads(output)
    if "error" in seen:
        raise NoSample(f"iperf3 to {address} port {port}: {seen['error']}")
    return float(seen["end"]["sum_received"]["bytes"]) * 8


def _wrk(client: Namespace, address: Address, port: int, milliseconds: int) -> float:
    """Requests over 16 kept connections."""
    host = f"[{address}]" if address.version == 6 else str(address)
    argv = ("wrk", "--threads", "1", "--connections", "16", "--duration", f"{_whole_seconds(milliseconds)}s")
    output = client.run(*argv, f"http://{host}:{port}/", check=False).stdout
    requests = re.search(r"^ *([0-9]+) requests in", output, re.MULTILINE)
    if not requests or requests[1] == "0" or "Socket errors" in output or "Non-2xx" in output:
        raise NoSample(f"wrk to {address} port {port}: {output.strip()}")
    return float(requests[1])


MEASURES: Final = (
    Measure("ping-pong", "TCP ping-pong", "round trips", services.PING_PONG, partial(_load, "ping-pong")),
    Measure("connections", "TCP connections", "connections", services.CONNECTIONS, partial(_load, "connections")),
    Measure("flooded", "connections in a SYN flood", "connections", services.CONNECTIONS, partial(_load, "flooded")),
    Measure("bulk", "TCP bulk", "bit", services.BULK, _iperf3),
    Measure("round-trips", "UDP round trip", "round trips", services.ROUND_TRIPS, partial(_load, "round-trips")),
    Measure("one-way", "UDP one-way", "datagrams", services.ONE_WAY, partial(_load, "one-way")),
    Measure("http", "HTTP (wrk)", "requests", services.HTTP, _wrk),
)
