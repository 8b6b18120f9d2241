"""The backends that examples/quickstart names, with the servers that belong there.

Rules: addresses and ports are those of the manifests; a server answers with the name of the Service it stands behind.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.process import Process
from lab.servers.dns import dns
from lab.servers.nginx import nginx
from lab.servers.redis import redis
from lab.topology import Attachment, Lab, Shape

MANIFESTS: Final = Path(__file__).resolve().parents[2] / "examples" / "quickstart"


@dataclass(frozen=True, slots=True)
class Backend:
    """One pod of the quickstart: last part of its address, the server in it, and its port."""

    number: int
    server: Callable[[Lab, str, int], Process]
    port: int


BACKENDS: Final = {
    "web-blue": Backend(11, nginx, 8080),
    "web-green": Backend(12, nginx, 8080),
    "redis": Backend(21, redis, 6379),
    "ns-a": Backend(31, dns, 5353),
    "ns-b": Backend(32, dns, 5353),
}


def shape(attachment: Attachment = Attachment.ROUTED, *, offloads: bool = True) -> Shape:
    """The network that the quickstart needs."""
    return Shape({name: backend.number for name, backend in BACKENDS.items()}, attachment, offloads)


def start_servers(lab: Lab, stack: ExitStack) -> None:
    """Start every server of the quickstart; they end with `stack`."""
    for name, backend in BACKENDS.items():
        stack.enter_context(backend.server(lab, name, backend.port))
