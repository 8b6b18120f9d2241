"""Run tests on another kernel: `python -m vmtest [--seconds N] LINE ARGUMENT...`, the arguments being pytest's.

From the checkout's root, by its environment's Python.

Exit code: 0 when every test passed in the guest, 1 when not, 2 when there was no verdict (the message says why).
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import kernels, trial
from .errors import VmError


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="vmtest", description="Run tests on another kernel, in a virtual machine.")
    parser.add_argument("line", help=f"the kernel: {', '.join(kernels.LINES)}")
    parser.add_argument("tests", nargs=argparse.REMAINDER, help="arguments for pytest in the guest")
    parser.add_argument("--seconds", type=int, default=600, help="how long the tests may take (default: %(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        outcome = trial.run(Path.cwd(), options.line, options.tests, options.seconds, say)
    except VmError as error:
        print(f"error: {options.line}: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if outcome.good else 1


def say(text: str) -> None:
    """Tell the person who waits what goes on."""
    print(f"vm: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
