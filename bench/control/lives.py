"""`python -m bench.control.lives ROUTES`: an agent, and others that take over after it was killed; measured, as JSON.

Rules: a node for all of them (node.py); each is a process that starts from nothing, as a DaemonSet's would, and each
ends by SIGKILL. In control is one when the kernel was read to hold what the objects say. Of an agent's time between,
what it takes to decode the objects is a part: a source has to do as much.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.control import node
from bench.control.agent import Measured

KILLS: Final = 3


@dataclass(frozen=True, slots=True)
class Lives:
    """`taken_over`: milliseconds from each kill until the next agent was in control."""

    routes: int
    agent: Measured
    taken_over: list[float]


@contextmanager
def _life(routes: int, directory: Path, *measure: str) -> Iterator[subprocess.Popen[str]]:
    places = (str(directory / "bpf" / "penstock"), str(directory / "run"))
    command = [sys.executable, "-m", "bench.control.agent", str(routes), *places, *measure]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        try:
            yield agent
        finally:
            agent.kill()


def _said(agent: subprocess.Popen[str]) -> Any:
    assert agent.stdout is not None
    line = agent.stdout.readline()
    if not line:
        sys.exit("the agent ended")
    return json.loads(line)


def live(routes: int, directory: Path) -> Lives:
    """Everything, in a node of its own."""
    node.enter(directory)
    with _life(routes, directory, "measure") as agent:
        _said(agent)
        measured = Measured(**_said(agent))
    taken_over = []
    for _ in range(KILLS):
        killed = time.monotonic()
        with _life(routes, directory) as agent:
            taken_over.append((_said(agent)["in_control"] - killed) * 1000)
    return Lives(routes, measured, taken_over)


def main() -> None:
    """Print what was measured."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-", ignore_cleanup_errors=True) as directory:
        print(json.dumps(asdict(live(int(sys.argv[1]), Path(directory)))))


if __name__ == "__main__":
    main()
