"""A lab of one peer: client, node and one backend namespace with two addresses, and the servers in it.

Decides: what stands behind every peer, the same for all. Rules: each peer has namespaces of its own, so that nothing
that one needs (connection tracking, programs, sockets) is in another's way; an idle lab costs nothing.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from bench.services import BACKEND, BULK, HTTP, SERVICES, WEIGHTS
from lab.process import Argument, Process
from lab.servers.nginx import nginx
from lab.topology import FAMILIES, Lab, Shape, backend_addresses

BUILD: Final = Path(__file__).resolve().parent.parent / "build" / "bench"
ANY: Final = {4: "0.0.0.0", 6: "::"}


class Site:
    """A context manager: lab and servers run inside it. `name`: at most 8 characters, no dash."""

    def __init__(self, name: str) -> None:
        first, *_ = WEIGHTS
        self.lab = Lab(name, Shape(backends={BACKEND: first}))
        self.stack = ExitStack()
        """What a peer starts in the lab is ended with it."""
        self.processes: list[Process] = []
        """All that runs in the lab: their CPU time counts (cpu_time.py)."""

    def __enter__(self) -> Site:
        with ExitStack() as stack:
            stack.enter_context(self.lab)
            self._second_address()
            self.stack = stack
            self._servers()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stack.close()

    def start_in_node(self, name: str, *argv: Argument) -> Process:
        """Start a program in the node that ends with the site."""
        return self._keep(self.lab.node.start(name, argv, log=self.lab.directory / f"{name}.log"))

    def start_in_backend(self, name: str, *argv: Argument) -> Process:
        """Start a program in the backend that ends with the site."""
        backend = self.lab.backends[BACKEND]
        return self._keep(backend.start(name, argv, log=self.lab.directory / f"{name}.log"))

    def _keep(self, process: Process) -> Process:
        self.processes.append(self.stack.enter_context(process))
        return process

    def _second_address(self) -> None:
        for number in list(WEIGHTS)[1:]:
            address = backend_addresses(number)
            self.lab.backends[BACKEND].ip(
                f"addr add {address[4]}/32 dev eth0", f"addr add {address[6]}/128 dev eth0 nodad"
            )
            end = self.lab.host_end(BACKEND)
            self.lab.node.ip(f"route add {address[4]} dev {end} scope link", f"route add {address[6]} dev {end}")

    def _servers(self) -> None:
        for service in SERVICES:
            if service.role:
                for family in FAMILIES:
                    process = self.start_in_backend(
                        f"{service.name}-{family}", BUILD / "serve", service.role, ANY[family], str(service.target)
                    )
                    process.until_output("ready")
        self.start_in_backend("iperf3", "iperf3", "--server", "--forceflush", "--port", str(BULK.target)).until_output(
            "Server listening"
        )
        self._keep(nginx(self.lab, BACKEND, HTTP.target))
