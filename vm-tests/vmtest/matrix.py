"""The same tests on several kernels, one after another, and what became of each.

One after another because emulation takes every processor that there is, and tests that wait for something have
deadlines.

Rules:
  - A kernel without a verdict has failed; the others have their turn all the same.
  - What pytest wrote there is in build/vm/KERNEL.log while it runs (of a part in build/vm/all/KERNEL/PART.log).
  - All tests are tried in parts, kernel by kernel as one likes, and put together afterwards (record.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from . import kernels, record, trial
from .errors import VmError
from .follow import Follower
from .progress import Lane, shown
from .result import Result, together

_VERBOSE = "-v"
"""Pytest then writes a line for each test, from which Follower knows how far it is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one kernel."""

    label: str
    result: Result | None
    trouble: str = ""
    """Why there is no result, or not of every part that was tried."""
    untried: tuple[str, ...] = ()
    """Parts that were never tried there."""

    @property
    def good(self) -> bool:
        """Did every test pass there?"""
        return self.result is not None and self.result.good and not self.trouble

    @property
    def verdict(self) -> str:
        """In a few words."""
        counts = self.result
        if counts and counts.refusal:
            return f"refused: {counts.refusal}"
        if self.trouble or counts is None:
            return f"no verdict: {self.trouble.splitlines()[0]}"
        skipped = f", {counts.skipped} skipped" if counts.skipped else ""
        untried = f"; not tried: {', '.join(self.untried)}" if self.untried else ""
        return f"{counts.passed} passed, {counts.failed} failed{skipped}{untried}"


def run(
    root: Path, names: Sequence[str], tests: Sequence[str], *, part: str, seconds: int, console: Console
) -> list[Outcome]:
    """Every kernel of `names`, in that order, each for at most `seconds`. `part`: as trial.run has it."""
    lanes = [Lane(f"{kernels.label(name)} {part}".strip()) for name in names]
    with shown(lanes, console):
        return [
            _run(root, name, tests, lane, part=part, seconds=seconds) for name, lane in zip(names, lanes, strict=True)
        ]


def kept(root: Path, names: Sequence[str], parts: Sequence[str]) -> list[Outcome]:
    """What became of each of these kernels when these parts were last tried there."""
    outcomes = []
    for name in names:
        results, troubles, untried = [], [], []
        for part in parts:
            try:
                result = record.get(root, name, part)
            except VmError as error:
                troubles.append(str(error))
                continue
            if result:
                results.append(result)
            else:
                untried.append(part)
        if not (results or troubles):
            troubles.append("it was not tried")
        whole = together(results) if results else None
        outcomes.append(Outcome(kernels.label(name), whole, "\n".join(troubles), tuple(untried)))
    return outcomes


def log_of(root: Path, name: str, part: str) -> Path:
    """Where what pytest writes there is."""
    place = trial.kept_in(root, name, part)
    return place.parent / f"{place.name}.log"


def _run(root: Path, name: str, tests: Sequence[str], lane: Lane, *, part: str, seconds: int) -> Outcome:
    log = log_of(root, name, part)
    log.parent.mkdir(parents=True, exist_ok=True)
    lane.enter("preparing")
    with log.open("wb") as written:
        lane.follower = Follower(written)
        try:
            result = trial.run(
                root, name, [_VERBOSE, *tests], part=part, seconds=seconds, output=lane.follower, say=lane.enter
            )
            outcome = Outcome(lane.label, result)
            if part:
                record.put(root, name, part, result)
        except VmError as error:
            outcome = Outcome(lane.label, None, str(error))
            if part:
                record.put_trouble(root, name, part, str(error))
    lane.finish(outcome.verdict)
    return outcome
