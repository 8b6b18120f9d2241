"""Runs programs of the laboratory, in a network namespace or outside.

Decides: how a program is started, ended and reported on.
Rules:
  - Namespaces are entered by `nsenter --net` only: `ip netns exec` would give the program a fresh /sys and hide bpffs.
  - A started program dies with us, however we die (parent-death signal), so no run leaves servers behind.
    The signal follows the *thread* that started it: start programs from a thread that lives on.
  - Output goes to a file, and the file's end is in every error.
Must never: leave a program running; kill one that it did not start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lab.wait import PATIENCE, SLOWNESS, until

Argument = str | Path


class CommandFailed(Exception):
    """A program ended with another status than 0; the message holds its command line and its output's end."""


def within(namespace: Path | None, argv: Sequence[Argument]) -> list[str]:
    """The command line that runs `argv` in the network namespace at `namespace` (None: where we are)."""
    words = [str(word) for word in argv]
    return words if namespace is None else ["nsenter", f"--net={namespace}", "--", *words]


def run(
    *argv: Argument,
    namespace: Path | None = None,
    stdin: str | None = None,
    check: bool = True,
    patience: float = PATIENCE,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its output; raises CommandFailed unless it exits 0 or `check` is False.

    One that is not done after `patience` seconds is killed and failed too, and the message says where it hung.
    """
    command = within(namespace, argv)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=None if environment is None else {**os.environ, **environment},
    ) as program:
        try:
            output, errors = program.communicate(stdin, timeout=patience)
        except subprocess.TimeoutExpired:
            if program.poll() is not None:  # seen: status 0 after a minute, and its output's pipe still open
                return _checked(command, program.returncode, *_what_came(program), check=check)
            hung = f"{' '.join(command)}: not done after {patience:.0f} s\n{_waiting(program.pid)}"
            program.kill()
            raise CommandFailed(hung.rstrip()) from None
        except BaseException:
            program.kill()
            raise
    return _checked(command, program.returncode, output, errors, check=check)


def _what_came(program: subprocess.Popen[str]) -> tuple[str, str]:
    """Output and errors of a program that has ended, whoever else may hold the pipes."""
    try:
        return program.communicate(timeout=1)
    except subprocess.TimeoutExpired as late:
        return tuple((x or b"").decode(errors="replace") for x in (late.output, late.stderr))  # type: ignore[return-value]


def _checked(
    command: list[str], status: int, output: str, errors: str, *, check: bool
) -> subprocess.CompletedProcess[str]:
    if check and status != 0:
        raise CommandFailed(f"{' '.join(command)}: status {status}\n{output}{errors}".rstrip())
    return subprocess.CompletedProcess(command, status, output, errors)


def _waiting(pid: int) -> str:
    """Where in the kernel `pid` is, and who else waits there for something that cannot be interrupted."""
    found = []
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda x: int(x.name)):
        with contextlib.suppress(OSError):
            name, state = (process / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
            if int(process.name) == pid or state.split()[0] == "D":
                found.append(f"{process.name} {name} {state.split()[0]}\n{(process / 'stack').read_text()}")
    return "".join(found)


class Process:
    """A program that goes on until it is stopped. A context manager: leaving it stops the program."""

    def __init__(
        self,
        name: str,
        argv: Sequence[Argument],
        *,
        log: Path,
        namespace: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                within(namespace, ["setpriv", "--pdeathsig", "KILL", "--", *argv]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else {**os.environ, **environment},
                # A Ctrl-C at the terminal is for us alone; we end the others in order.
                start_new_session=True,
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id: of the program itself, since the programs around it only exec."""
        return self._popen.pid

    @property
    def status(self) -> int | None:
        """Exit status (negative: the signal's number), None while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        """All that the program wrote so far."""
        return self.log.read_text(errors="replace")

    def must_run(self) -> None:
        """Raise CommandFailed if the program has ended."""
        if self.status is not None:
            raise CommandFailed(f"{self.name}: ended with status {self.status}\n{self.output()[-4000:]}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                self._popen.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL), and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._popen.wait()

    def wait(self, patience: float = 20.0 * SLOWNESS) -> int:
        """Wait until it ends by itself and return its status; raises subprocess.TimeoutExpired."""
        return self._popen.wait(timeout=patience)

    def stop(self, patience: float = 10.0 * SLOWNESS) -> int:
        """Ask it to end (SIGTERM), insist after `patience` seconds, and return its status."""
        self.signal(signal.SIGTERM)
        try:
            return self._popen.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._popen.wait()

    def until_output(self, text: str) -> None:
        """Wait until the program wrote `text`; raises CommandFailed if it ends before."""

        def wrote() -> bool:
            found = text in self.output()
            if not found:
                self.must_run()
            return found

        until(wrote, f"{self.name} writes {text!r}", seen=lambda: self.output()[-2000:])
