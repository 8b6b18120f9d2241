"""One agent per node."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyroute2.netns import setns

from agent.dataplane.errors import AlreadyRunning
from agent.dataplane.lock import AgentLock
from agent.run_dir import LOCK
from agent.running import running_agent
from loader.errors import NoBpffs

HOLDER = (
    "import sys, pathlib\n"
    "from agent.dataplane.lock import AgentLock\n"
    "lock = AgentLock.take(*map(pathlib.Path, sys.argv[1:]))\n"
    "print('held', flush=True)\n"
    "sys.stdin.read()\n"
)


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    with (
        AgentLock.take(tmp_path / "run", tmp_path / "pins"),
        pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}") as caught,
    ):
        AgentLock.take(tmp_path / "run", tmp_path / "pins")
    assert caught.value.pid == os.getpid()
    AgentLock.take(tmp_path / "run", tmp_path / "pins").release()


def test_a_holder_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), str(tmp_path / "pins")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning, match=f"pid {holder.pid}"):
            AgentLock.take(tmp_path, tmp_path / "pins")
        holder.kill()
        holder.wait()
    AgentLock.take(tmp_path, tmp_path / "pins").release()


def test_a_discarded_lock_leaves_no_file_and_can_be_taken_again(tmp_path: Path) -> None:
    AgentLock.take(tmp_path, tmp_path / "pins").discard()
    assert list(tmp_path.iterdir()) == []
    AgentLock.take(tmp_path, tmp_path / "pins").release()


def test_who_only_asked_takes_away_what_was_not_there(tmp_path: Path) -> None:
    run_dir, pins = tmp_path / "run", tmp_path / "pins"
    AgentLock.take(run_dir, pins).undo()
    assert list(tmp_path.iterdir()) == []
    AgentLock.take(run_dir, pins).release()
    AgentLock.take(run_dir, pins).undo()
    assert [x.name for x in run_dir.iterdir()] == ["agent.lock"]


def test_a_lock_of_a_file_that_has_gone_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our opening it and our locking it the holder discards it, and somebody else makes it anew."""
    take, discarded = fcntl.flock, [tmp_path / LOCK]

    def late(fd: int, operation: int) -> None:
        while discarded:
            path = discarded.pop()
            path.unlink()
            path.touch()
        take(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with AgentLock.take(tmp_path, tmp_path / "pins"):
        assert running_agent(tmp_path) is not None


def test_two_run_folders_share_the_pins(tmp_path: Path) -> None:
    pins = tmp_path / "pins"
    pins.mkdir()
    with AgentLock.take(tmp_path / "one", pins):
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}.*{pins}"):
            AgentLock.take(tmp_path / "two", pins)
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}.* in this network namespace, with folders of its"):
            AgentLock.take(tmp_path / "two", tmp_path / "other pins")
    AgentLock.take(tmp_path / "two", pins).release()


def test_who_is_refused_leaves_nothing_behind(tmp_path: Path, elsewhere: int) -> None:
    pins = tmp_path / "pins"
    pins.mkdir()
    with AgentLock.take(tmp_path / "one", pins), open("/proc/thread-self/ns/net") as home:
        setns(elsewhere)
        try:
            with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}.*{pins}"):
                AgentLock.take(tmp_path / "two", pins)
        finally:
            setns(home.fileno())
    with pytest.raises(NoBpffs):
        AgentLock.take(tmp_path / "two", tmp_path / "other pins", make_pins=True)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["one", "pins"]
