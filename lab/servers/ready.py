"""Waits until a server answers, as seen from inside its own namespace."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from lab.netns import Namespace
from lab.process import Process
from lab.topology import FAMILIES, Address, Lab
from lab.wait import until


def until_accepting(namespace: Namespace, addresses: Iterable[Address], port: int, process: Process) -> None:
    """Wait until TCP connections to `port` of each address are accepted; raises CommandFailed if the server ends."""
    for address in addresses:

        def accepting(address: Address = address) -> bool:
            process.must_run()
            try:
                with namespace.inside():
                    socket.create_connection((str(address), port), timeout=2).close()
            except OSError:
                return False
            return True

        until(accepting, f"{process.name} accepts at {address} port {port}", seen=process.output)


def until_backend_accepts(lab: Lab, backend: str, port: int, process: Process) -> None:
    """The same for a backend's addresses."""
    addresses = [lab.address(backend, family) for family in FAMILIES]
    until_accepting(lab.backends[backend], addresses, port, process)
