"""Run tests on other kernels: `python -m vmtest [OPTION...] "KERNEL..." ARGUMENT...`, the arguments being pytest's.

From the checkout's root, by its environment's Python. One kernel: what pytest writes there is written here. Several, or
--table: a line for each kernel, and at the end what failed.

Exit code: 0 when every test passed on every kernel, 1 when not, 2 when one had no verdict (the message says why).
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from agent.dataplane.checks import OLDEST
from loader.features import SINCE

from . import debian, matrix, table, trial
from .errors import VmError
from .matrix import Outcome


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="vmtest", description="Run tests on other kernels, in virtual machines.")
    parser.add_argument("kernels", help=f"{', '.join(debian.NAMES)} or VMLINUZ:MODULES; several with spaces")
    parser.add_argument("tests", nargs=argparse.REMAINDER, help="arguments for pytest in the guest")
    parser.add_argument("--seconds", type=int, default=600, help="how long one's tests may take (default: %(default)s)")
    parser.add_argument("--table", type=Path, help="write what was seen to this file")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    names = options.kernels.split()
    if not names:
        parser.error("no kernel")
    try:
        if len(names) == 1 and options.table is None:
            return _one(names[0], options.tests, options.seconds)
        return _several(names, options.tests, options.seconds, options.table)
    except KeyboardInterrupt:
        return 130


def _one(name: str, tests: Sequence[str], seconds: int) -> int:
    start = time.monotonic()
    try:
        outcome = trial.run(Path.cwd(), name, tests, seconds=seconds, output=sys.stdout.buffer, say=_say)
    except VmError as error:
        print(f"error: {name}: {error}", file=sys.stderr, flush=True)
        return 2
    kept = trial.kept_in(Path.cwd(), name).relative_to(Path.cwd())
    _say(f"{outcome.release}: {time.monotonic() - start:.0f} s; kept in {kept}")
    return 0 if outcome.good else 1


def _several(names: Sequence[str], tests: Sequence[str], seconds: int, written: Path | None) -> int:
    outcomes = matrix.run(Path.cwd(), names, tests, seconds, Console())
    for outcome in outcomes:
        _explain(outcome)
    if written is not None:
        head = f"{time.strftime('%Y-%m-%d')}."
        written.write_text(table.text(outcomes, SINCE, OLDEST, head))
        print(f"{written}: the table")
    if any(outcome.result is None for outcome in outcomes):
        return 2
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _explain(outcome: Outcome) -> None:
    if outcome.good:
        return
    print(f"\n{outcome.label}: {outcome.verdict}; pytest's words are in build/vm/{outcome.label}.log")
    if outcome.result is None:
        print(outcome.trouble)
    else:
        print("".join(f"  {name}\n" for name in outcome.result.failures), end="")


def _say(text: str) -> None:
    """Tell the person who waits what goes on."""
    print(f"vm: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
