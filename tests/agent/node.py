"""A node of its own for each test: a network and a mount namespace with a BPF file system, in which `penstock` runs.

Rules: everything hangs on one process that holds the namespaces and dies with the test's; when it is gone, so are the
interfaces, the hooks and the pins. Nothing of the machine's own is touched.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

PENSTOCK = str(Path(sys.executable).with_name("penstock"))
DEADLINE = 60.0  # seconds; only a failure takes so long
UPLINK = "uplink0"

# Few and small tables: the agent of a test need not take a gigabyte.
SMALL = (
    "--tcp-flows",
    "1024",
    "--half-open",
    "1024",
    "--udp-flows",
    "1024",
    "--max-pools",
    "64",
    "--max-backends",
    "1024",
)

_MADE = f"""
set -e
mount -t tmpfs tmpfs /run
mkdir /run/bpf
mount -t bpf bpf /run/bpf
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
ip link set lo up
ip link add {UPLINK} type veth peer name far
ip link set far up
ip addr add 10.231.0.1/24 dev {UPLINK}
ip addr add fd00:231::1/64 dev {UPLINK} nodad
ip link set {UPLINK} up
echo made
exec sleep infinity
"""


class Agent:
    """A running `penstock run`. `log` is the file that has what it says."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def said(self) -> str:
        """Everything until now."""
        return self.log.read_text()

    def end(self, signal: int) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(signal)
        return self.process.wait(DEADLINE)


class Node:
    """Runs commands inside. `folder` has the manifests."""

    def __init__(self, holder: int, folder: Path) -> None:
        self.folder = folder
        self._enter = ["nsenter", f"--target={holder}", "--net", "--mount"]
        self._agents: list[Agent] = []

    def command(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run something to its end; `code` is the exit code that is expected, None = any."""
        done = subprocess.run(
            [*self._enter, *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            cwd=self.folder.parent,
        )
        assert code in (None, done.returncode), (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def penstock(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run `penstock` to its end."""
        return self.command(PENSTOCK, words[0], "--pin-dir", "/run/bpf/penstock", *words[1:], code=code)

    def write(self, name: str, *manifests: str) -> None:
        """Replace a manifest file as a careful editor does."""
        temporary = self.folder / f".{name}"
        temporary.write_text("---\n".join(manifests))
        temporary.rename(self.folder / name)

    def start(self, *options: str) -> Agent:
        """Start the agent; does not wait for anything."""
        log = self.folder.parent / f"agent-{len(self._agents)}.log"
        place = ("--pin-dir", "/run/bpf/penstock", "--manifests", str(self.folder), "--uplink", UPLINK)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self._enter, PENSTOCK, "run", *place, *SMALL, *options], stdout=output, stderr=subprocess.STDOUT
            )
        agent = Agent(process, log)
        self._agents.append(agent)
        return agent

    @contextlib.contextmanager
    def socket_at(self, port: int) -> Iterator[None]:
        """A TCP socket of the node has `port` at all its addresses."""
        program = f"import socket; s = socket.create_server(('0.0.0.0', {port})); print('bound', flush=True); input()"
        with self.running(program) as said:
            assert said == "bound"
            yield

    @contextlib.contextmanager
    def running(self, program: str) -> Iterator[str]:
        """A Python program that waits for input once it is ready; gives the line that it prints then."""
        command = [*self._enter, sys.executable, "-c", program]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield process.stdout.readline().strip()
            finally:
                process.kill()

    def status(self) -> Mapping[str, Any] | None:
        """What `penstock status -o json` says; None before an agent has brought the kernel to a state."""
        done = self.penstock("status", "-o", "json", code=None)
        if done.returncode not in (0, 1):
            return None
        said: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if said["ready"] else 1), done
        return said if said["applied"]["at"] is not None else None

    def until(self, condition: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """Wait until the status meets the condition, and return it."""
        deadline = time.monotonic() + DEADLINE
        while True:
            said = self.status()
            if said is not None and condition(said):
                return said
            assert time.monotonic() < deadline, (said, self._agents[-1].said() if self._agents else "")
            assert not self._agents or self._agents[-1].process.poll() in (None, 0), self._agents[-1].said()
            time.sleep(0.05)

    def changed(self, change: Callable[[], object]) -> Mapping[str, Any]:
        """Do something to the manifests and wait until the agent has looked at it and at the kernel."""
        before = self.until(lambda _: True)["source"]["changed_at"]
        change()
        return self.until(
            lambda x: (
                x["source"]["changed_at"] > before
                and (x["applied"]["error"] != "" or x["applied"]["verified_at"] >= x["source"]["changed_at"])
            )
        )

    def close(self) -> None:
        """End every agent that is left."""
        for agent in self._agents:
            if agent.process.poll() is None:
                agent.process.kill()
                agent.process.wait()


@contextlib.contextmanager
def node(directory: Path) -> Iterator[Node]:
    """A node whose manifests lie in `directory`."""
    folder = directory / "manifests"
    folder.mkdir()
    make = ["unshare", "--net", "--mount", "--propagation=private", "setpriv", "--pdeathsig=KILL", "sh", "-c", _MADE]
    with subprocess.Popen(make, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"made\n"
            with contextlib.closing(Node(holder.pid, folder)) as made:
                yield made
        finally:
            holder.kill()
