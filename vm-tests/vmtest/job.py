"""Run a module of this checkout on another kernel: `python -m vmtest.job [OPTION...] KERNEL MODULE ARGUMENT...`.

From the checkout's root, by its environment's Python. What the module writes to /result there is in build/vm/KERNEL/
afterwards. Exit code: the module's own; 3 when it is not known (the message says why).
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import debian, result, trial
from .errors import VmError
from .machine import COUNTED


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="vmtest.job", description="Run a module on another kernel.")
    parser.add_argument("--seconds", type=int, default=600, help="how long it may take (default: %(default)s)")
    parser.add_argument("--counted", action="store_true", help="an instruction takes a nanosecond: for measurements")
    parser.add_argument("kernel", help=f"{', '.join(debian.NAMES)} or VMLINUZ:MODULES")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="module and its arguments")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        ended = trial.run_module(
            Path.cwd(),
            options.kernel,
            options.words,
            result.ended,
            seconds=options.seconds,
            output=sys.stdout.buffer,
            by=COUNTED if options.counted else None,
            say=lambda text: print(f"vm: {text}", flush=True),
        )
    except VmError as error:
        print(f"error: {options.kernel}: {error}", file=sys.stderr, flush=True)
        return 3
    return ended.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
