"""Waits until a server answers at a backend's own addresses, as seen from inside the backend's namespace."""

from __future__ import annotations

import socket

from lab.process import Process
from lab.topology import FAMILIES, Address, Lab
from lab.wait import until


def _accepts(address: Address, port: int) -> bool:
    try:
        socket.create_connection((str(address), port), timeout=2).close()
    except OSError:
        return False
    return True


def until_accepting(lab: Lab, backend: str, port: int, process: Process) -> None:
    """Wait until TCP connections to `port` are accepted, in both families; raises CommandFailed if the server ends."""
    with lab.backends[backend].inside():
        for family in FAMILIES:
            address = lab.address(backend, family)

            def accepting(address: Address = address) -> bool:
                process.must_run()
                return _accepts(address, port)

            until(accepting, f"{process.name} accepts at {address} port {port}", seen=process.output)
