"""Network namespaces: made, configured, entered, removed.

Decides: nothing; it is the handle on one namespace under /run/netns.
Rules: configuration is handed to iproute2 in batches (one process for many lines). In-process sockets are opened by
entering the namespace for a moment on the calling thread; a socket stays in the namespace where it was made.
Must never: touch an interface of the namespace that we run in.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

from lab.process import Argument, CommandFailed, Process, run
from lab.unshare import Kind, enter
from lab.wait import PATIENCE

NETNS = Path("/run/netns")


class Namespace:
    """One network namespace, by its name in /run/netns. Does not own it: `create` and `delete` are explicit."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = NETNS / name

    def create(self) -> None:
        """Make the namespace, with loopback up and IPv6 addresses usable at once (no duplicate detection)."""
        # Seen to take over a minute, twice, right after other labs were taken down; why is not known.
        run("ip", "netns", "add", self.name, patience=300)
        self.sysctl(
            {
                "net.ipv6.conf.all.disable_ipv6": 0,
                "net.ipv6.conf.default.accept_dad": 0,
                "net.ipv6.conf.default.dad_transmits": 0,
                "net.ipv6.conf.default.accept_ra": 0,
                "net.ipv6.conf.default.router_solicitations": 0,
            }
        )
        self.ip("link set lo up")

    def delete(self) -> None:
        """Kill whatever still runs in the namespace and remove it; nothing happens when it is not there."""
        if not self.path.exists():
            return
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run("ip", "netns", "delete", self.name)

    def pids(self) -> list[int]:
        """Processes in the namespace."""
        own = self.path.stat()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                if os.path.samestat((process / "ns/net").stat(), own):
                    found.append(int(process.name))
        return found

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread into the namespace; sockets made meanwhile stay there."""
        with open("/proc/thread-self/ns/net") as home, self.path.open() as there:
            enter(there.fileno(), Kind.NET)
            try:
                yield
            finally:
                enter(home.fileno(), Kind.NET)

    def ip(self, *lines: str) -> None:
        """Run `ip` command lines (without the leading `ip`) as one batch; raises CommandFailed."""
        batch = "\n".join(lines) + "\n"
        done = run("ip", "-n", self.name, "-batch", "-", stdin=batch, check=False)
        if done.returncode != 0:
            raise CommandFailed(f"ip -n {self.name} -batch:\n{batch}{done.stdout}{done.stderr}".rstrip())

    def sysctl(self, values: Mapping[str, int | str]) -> None:
        """Set kernel settings below net. (dots in interface names are written as /)."""
        with self.inside():
            for name, value in values.items():
                path = Path("/proc/sys") / "/".join(part.replace("/", ".") for part in name.split("."))
                path.write_text(f"{value}\n")

    def counters(self) -> dict[str, int]:
        """The kernel's SNMP counters of this namespace: `TcpOutRsts`, `UdpInDatagrams`, `Ip6InReceives` ..."""
        with self.inside():
            tables = [Path("/proc/thread-self/net/snmp").read_text(), Path("/proc/net/netstat").read_text()]
            six = Path("/proc/thread-self/net/snmp6").read_text()
        counters = {name: int(value) for name, value in (line.split() for line in six.splitlines())}
        for table in tables:
            lines = table.splitlines()
            for names, values in zip(lines[::2], lines[1::2], strict=True):
                prefix, *columns = names.split()
                pairs = zip(columns, values.split()[1:], strict=True)
                counters |= {prefix.rstrip(":") + column: int(value) for column, value in pairs}
        return counters

    def run(self, *argv: Argument, check: bool = True, patience: float = PATIENCE) -> CompletedProcess[str]:
        """Run a program in the namespace to its end."""
        return run(*argv, namespace=self.path, check=check, patience=patience)

    def start(
        self, name: str, argv: Sequence[Argument], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> Process:
        """Start a program in the namespace that goes on until it is stopped."""
        return Process(name, argv, log=log, namespace=self.path, environment=environment)
