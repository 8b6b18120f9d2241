"""The same tests on several kernels, one after another, and what became of each.

One after another because emulation takes every processor that there is, and tests that wait for something have
deadlines.

Rules:
  - A kernel without a verdict has failed; the others have their turn all the same.
  - What pytest wrote there is in build/vm/KERNEL.log while it runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from . import kernels, trial
from .errors import VmError
from .follow import Follower
from .progress import Lane, shown
from .result import Result


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one kernel."""

    label: str
    result: Result | None
    trouble: str = ""
    """Why there is no result."""

    @property
    def good(self) -> bool:
        """Did every test pass there?"""
        return self.result is not None and self.result.good

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.result is None:
            return f"no verdict: {self.trouble.splitlines()[0]}"
        counts = self.result
        skipped = f", {counts.skipped} skipped" if counts.skipped else ""
        return f"{counts.passed} passed, {counts.failed} failed{skipped}"


def run(root: Path, names: Sequence[str], tests: Sequence[str], seconds: int, console: Console) -> list[Outcome]:
    """Every kernel of `names`, in that order, each for at most `seconds`."""
    lanes = [Lane(kernels.label(name)) for name in names]
    with shown(lanes, console):
        return [_run(root, name, tests, seconds, lane) for name, lane in zip(names, lanes, strict=True)]


def _run(root: Path, name: str, tests: Sequence[str], seconds: int, lane: Lane) -> Outcome:
    log = root / "build" / "vm" / f"{lane.label}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    lane.enter("preparing")
    with log.open("wb") as written:
        lane.follower = Follower(written)
        try:
            result = trial.run(root, name, ["-v", *tests], seconds=seconds, output=lane.follower, say=lane.enter)
            outcome = Outcome(lane.label, result)
        except VmError as error:
            outcome = Outcome(lane.label, None, str(error))
    lane.finish(outcome.verdict)
    return outcome
