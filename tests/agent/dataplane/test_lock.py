"""One agent per node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.dataplane.errors import AlreadyRunning
from agent.dataplane.lock import AgentLock

HOLDER = (
    "import sys, pathlib\n"
    "from agent.dataplane.lock import AgentLock\n"
    "lock = AgentLock.take(pathlib.Path(sys.argv[1]))\n"
    "print('held', flush=True)\n"
    "sys.stdin.read()\n"
)


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    with AgentLock.take(tmp_path / "run"), pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}") as caught:
        AgentLock.take(tmp_path / "run")
    assert caught.value.pid == os.getpid()
    AgentLock.take(tmp_path / "run").release()


def test_a_holder_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning, match=f"pid {holder.pid}"):
            AgentLock.take(tmp_path)
        holder.kill()
        holder.wait()
    AgentLock.take(tmp_path).release()


def test_a_discarded_lock_leaves_no_file_and_can_be_taken_again(tmp_path: Path) -> None:
    AgentLock.take(tmp_path).discard()
    assert list(tmp_path.iterdir()) == []
    AgentLock.take(tmp_path).release()
