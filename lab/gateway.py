"""Penstock in a lab's node: started as an operator would, killed as a crash would, asked through its command line.

Decides: nothing about traffic. Rules: the installed `penstock` command is used, never the agent's modules, so whatever
works here works for a user; every lab has pins and a run folder of its own; `penstock down` ends it.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType
from typing import Any, Final

from lab.process import Argument, Process, run, within
from lab.topology import UPLINK, Address, Lab
from lab.wait import PATIENCE, until

PENSTOCK: Final = Path(sys.executable).parent / "penstock"
WITHOUT_TCX: Final = Path(__file__).parent / "without_tcx.py"

STATUS_URL: Final = "http://127.0.0.1:9464/status"

Status = Mapping[str, Any]


class Gateway:
    """The agent of a lab's node, and what it leaves in the kernel. A context manager: starts it, and takes all down.

    `options`: further words of the command line of `penstock run`. `tcx` False: as on a kernel without it.
    """

    def __init__(
        self,
        lab: Lab,
        manifests: Path,
        *,
        delivery: str = "stack",
        options: tuple[Argument, ...] = (),
        tcx: bool = True,
    ) -> None:
        self.lab = lab
        self.manifests = manifests
        self.delivery = delivery
        self.options = options
        self.tcx = tcx
        self.agent: Process | None = None
        self.pins = lab.pins / "gateway"
        self._places: tuple[Argument, ...] = ("--pin-dir", self.pins, "--run-dir", lab.directory / "run")

    def __enter__(self) -> Gateway:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the agent and remove every trace of the gateway."""
        self.stop()
        self.command("down")

    # ---- the agent ----

    def start(self) -> None:
        """Start the agent and wait until it says that it is ready; raises CommandFailed with its output."""
        self.launch()
        self.until(lambda status: bool(status["ready"]), "is ready")

    def launch(self) -> Process:
        """Start the agent, and wait for nothing."""
        self.agent = self.lab.node.start(
            "penstock",
            [
                *(() if self.tcx else (sys.executable, WITHOUT_TCX)),
                *(PENSTOCK, "run", "--manifests", self.manifests, "--uplink", UPLINK, "--delivery", self.delivery),
                *(*self._places, *self.options),
            ],
            log=self.lab.directory / "penstock.log",
        )
        return self.agent

    def kill(self) -> None:
        """End the agent as a crash would."""
        if self.agent is not None:
            self.agent.kill()
            self.agent = None

    def stop(self) -> None:
        """End the agent as systemd would; what is in the kernel stays."""
        if self.agent is not None:
            self.agent.stop()
            self.agent = None

    # ---- asking ----

    def command_line(self, *words: Argument) -> list[str]:
        """The command line of `penstock <words>`, in the node, for this gateway."""
        return within(self.lab.node.path, self.command_line_from_outside(*words))

    def command_line_from_outside(self, *words: Argument) -> list[str]:
        """The same, but not in the node's network namespace."""
        return within(None, [PENSTOCK, words[0], *self._places, *words[1:]])

    def command(self, *words: Argument, check: bool = True) -> CompletedProcess[str]:
        """Run `penstock <words>` to its end."""
        return run(*self.command_line(*words), check=check)

    def command_from_outside(self, *words: Argument) -> CompletedProcess[str]:
        """The same, but not in the node's network namespace."""
        return run(*self.command_line_from_outside(*words))

    def status(self) -> Status:
        """What the agent says of itself at /status: the value that `penstock status -o json` prints.

        Raises OSError when no agent answers. An agent that is starting takes its time: who gives up on it resets a
        connection, and tests count those of the node.
        """
        with self.lab.node.inside(), urllib.request.urlopen(STATUS_URL, timeout=PATIENCE) as answer:
            return dict(json.load(answer))

    def sees(self, backend: Address) -> Mapping[str, Any]:
        """Whose address the status says that a backend sees in place of a client's."""
        (found,) = (x["seen"] for x in self.status()["traffic"]["sights"] if str(backend) in x["backends"])
        return dict(found)

    def until(self, condition: Callable[[Status], bool], what: str, patience: float = PATIENCE) -> None:
        """Wait until the agent's status meets the condition; raises CommandFailed if the agent ends meanwhile."""

        def met() -> bool:
            if self.agent is not None:
                self.agent.must_run()
            try:
                return condition(self.status())
            except OSError:
                return False

        until(met, f"the gateway {what}", every=0.05, seen=self.output, patience=patience)

    def change(self, manifests: Callable[[], object]) -> None:
        """Have the manifests changed, and wait until the kernel holds what they say now (read back)."""
        before = self.status()["source"]["changed_at"]
        manifests()

        def applied(status: Status) -> bool:
            changed, done = status["source"]["changed_at"], status["applied"]
            return bool(changed > before and not done["error"] and (done["verified_at"] or 0) >= changed)

        self.until(applied, "holds what the manifests say")

    def output(self) -> str:
        """The end of what the agent wrote."""
        log = self.lab.directory / "penstock.log"
        return log.read_text(errors="replace")[-4000:] if log.exists() else ""
