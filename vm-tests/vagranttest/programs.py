"""Vagrant and libvirt in the cell: started, asked, followed, and stopped.

Rules:
  - Both see folders of this run only: what libvirt keeps is mounted over (cell.py), Vagrant is told where its home is.
  - Every call is bounded in time; a failure says what the program said last.
Must never: be called outside the cell; machines of the user's would be in reach.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from vmtest import host
from vmtest.errors import VmError

from .follow import Follower

BOX = "penstock-test"
START_SECONDS = 60.0
_SHOWN = 15


@contextlib.contextmanager
def libvirt(log: Path) -> Iterator[None]:
    """The daemon, while inside."""
    with log.open("wb") as opened:
        daemon = subprocess.Popen(["libvirtd"], stdin=subprocess.DEVNULL, stdout=opened, stderr=opened)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers():
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise VmError(f"libvirtd does not answer:\n{_tail(log.read_text(errors='replace'))}")
            time.sleep(0.2)
        yield
    finally:
        daemon.terminate()
        try:
            daemon.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def virsh(*words: str) -> list[str]:
    """What it prints, by lines that are not empty."""
    return [line.strip() for line in host.run(["virsh", "--quiet", *words], seconds=60).splitlines() if line.strip()]


class Vagrant:
    """The command, for the Vagrantfile of one checkout."""

    def __init__(self, checkout: Path, scratch: Path, settings: Mapping[str, str]) -> None:
        self._checkout = checkout
        self._environment = {
            "PATH": host.SEARCH_PATH,
            "LC_ALL": "C.UTF-8",
            "HOME": str(scratch),
            "VAGRANT_HOME": str(scratch / "vagrant"),
            "VAGRANT_DOTFILE_PATH": str(scratch / "machines"),
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
            "PENSTOCK_VM_BOX": BOX,
            **settings,
        }

    def run(self, *words: str, seconds: float) -> str:
        """To its end; what it wrote. Raises VmError when it fails or takes longer."""
        try:
            done = subprocess.run(
                ["vagrant", *words],
                cwd=self._checkout,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise VmError(f"`vagrant {' '.join(words)}` had not ended after {seconds:.0f} s") from error
        if done.returncode:
            raise VmError(
                f"`vagrant {' '.join(words)}` ended with {done.returncode}:\n{_tail(done.stdout + done.stderr)}"
            )
        return done.stdout

    def ask(self, machine: str, command: str, *, seconds: float) -> str:
        """Run a command on a machine; what it wrote."""
        return self.run("ssh", machine, "--command", command, "--", "-T", seconds=seconds)

    def follow(self, *words: str, follower: Follower, seconds: float) -> None:
        """To its end, with each line given to `follower`. Raises VmError as `run` does."""
        process = subprocess.Popen(
            ["vagrant", *words],
            cwd=self._checkout,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        overdue = threading.Timer(seconds, process.kill)
        overdue.start()
        try:
            for line in process.stdout:
                follower.line(line)
            status = process.wait()
        finally:
            in_time = overdue.is_alive()
            overdue.cancel()
            process.kill()
            process.wait()
        if status:
            how = f"ended with {status}" if in_time else f"had not ended after {seconds:.0f} s"
            raise VmError(
                f"`vagrant {' '.join(words)}` {how}, at {follower.last or 'no machine'}:\n{_tail(follower.text)}"
            )


def _answers() -> bool:
    quiet = subprocess.DEVNULL
    asked = ["virsh", "--quiet", "--connect", "qemu:///system", "uri"]
    return subprocess.call(asked, stdin=quiet, stdout=quiet, stderr=quiet) == 0


def _tail(text: str) -> str:
    lines = [line for line in text.replace("\r", "").splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-_SHOWN:])
