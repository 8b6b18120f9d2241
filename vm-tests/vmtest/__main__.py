"""Run tests on other kernels: `python -m vmtest [OPTION...] "KERNEL..." ARGUMENT...`, the arguments being pytest's.

From the checkout's root, by its environment's Python. One kernel: what pytest writes there is written here. Several, or
--part: a line for each kernel, and at the end what failed. --table runs nothing: it puts the parts together that are
named as arguments, as each kernel's last run of them went.

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
    parser.add_argument("tests", nargs=argparse.REMAINDER, help="arguments for pytest in the guest; --table: parts")
    parser.add_argument("--seconds", type=int, default=600, help="how long one's tests may take (default: %(default)s)")
    parser.add_argument("--part", default="", help="keep what is seen for --table, as this part of all tests")
    parser.add_argument("--table", type=Path, help="run nothing: write what was seen to this file")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    names = options.kernels.split()
    if not names:
        parser.error("no kernel")
    try:
        if options.table:
            return _write(options.table, matrix.kept(Path.cwd(), names, options.tests))
        if len(names) == 1 and not options.part:
            return _one(names[0], options.tests, options.seconds)
        return _several(names, options.tests, options.part, options.seconds)
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


def _several(names: Sequence[str], tests: Sequence[str], part: str, seconds: int) -> int:
    root = Path.cwd()
    outcomes = matrix.run(root, names, tests, part=part, seconds=seconds, console=Console())
    for name, outcome in zip(names, outcomes, strict=True):
        if not outcome.good:
            print(f"\n{outcome.label}: {outcome.verdict}")
            print(f"pytest's words are in {matrix.log_of(root, name, part).relative_to(root)}")
            print("\n".join([*outcome.trouble.splitlines(), *(outcome.result.failures if outcome.result else ())]))
    return _exit_code(outcomes)


def _write(file: Path, outcomes: Sequence[Outcome]) -> int:
    file.write_text(table.text(outcomes, SINCE, OLDEST))
    for outcome in outcomes:
        print(f"{outcome.label}: {outcome.verdict}")
    print(f"{file}: the table")
    return _exit_code(outcomes)


def _exit_code(outcomes: Sequence[Outcome]) -> int:
    if any(outcome.result is None or outcome.trouble for outcome in outcomes):
        return 2
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _say(text: str) -> None:
    """Tell the person who waits what goes on."""
    print(f"vm: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
