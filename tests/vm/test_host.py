"""Programs of this machine: how they end, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from vmtest import host
from vmtest.errors import VmError

from lab.wait import until


@pytest.mark.parametrize("lacking", list(host.TOOLS))
def test_a_program_that_is_missing_is_named_with_its_package(tmp_path, lacking):
    for tool in host.TOOLS.keys() - {lacking}:
        (tmp_path / tool).symlink_to("/bin/true")
    with pytest.raises(VmError) as said:
        host.require_tools(str(tmp_path))
    assert str(said.value) == (
        f"missing: {lacking}. As root: apt-get install --no-install-recommends {host.TOOLS[lacking]}"
    )


def test_a_machine_without_taps_cannot_lay_cables(tmp_path):
    host.require_taps()
    with pytest.raises(VmError, match=r"cards need .*/tun: No such file or directory\. As root: modprobe tun; "):
        host.require_taps(tmp_path / "tun")


def test_a_program_that_fails_is_said_with_its_last_words():
    with pytest.raises(VmError, match=r"^`sh -c .*` failed \(3\):\nout\nerr$"):
        host.run(["sh", "-c", "echo out; echo err >&2; exit 3"])


def test_a_program_that_hangs_ends_with_all_that_it_started(tmp_path):
    pids = tmp_path / "pids"
    with pytest.raises(VmError, match="had not ended after 1 s"):
        host.run(["sh", "-c", f"sleep 600 & echo $! $$ >{pids}; wait"], seconds=1)
    until(lambda: not any(cmdline(pid) for pid in pids.read_text().split()), "nothing of it runs any more")


def cmdline(pid: str) -> bytes:
    """Empty of a process that is gone, or dead and not waited for yet."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
