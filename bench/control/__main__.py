"""`python -m bench.control`: writes docs/bench-control.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench import machine
from bench.control import report
from bench.control.agent import Measured
from bench.control.lives import Lives

ROUTES: Final = (10, 1_000, 10_000)
_DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
_AT_MOST: Final = 300  # seconds for one number of routes


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.control", description=__doc__)
    parser.add_argument("--routes", type=int, action="append", help=f"how many; {ROUTES} unless said otherwise")
    parser.add_argument("--dry", action="store_true", help="print the table, leave docs/ alone")
    return parser.parse_args()


def _measured(routes: int) -> Lives:
    command = [sys.executable, "-m", "bench.control.lives", str(routes)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=_AT_MOST)
    found = json.loads(done.stdout)
    return Lives(**{**found, "agent": Measured(**found["agent"])})


def main() -> int:
    """0: measured and written; 1: an agent did not come to its end."""
    arguments = _arguments()
    try:
        measured = [_measured(x) for x in arguments.routes or ROUTES]
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    about = f"{time.strftime('%Y-%m-%d')}. {machine.description()}; load average {machine.load():.1f}."
    page = report.markdown(measured, about)
    if not arguments.dry:
        (_DOCS / "bench-control.md").write_text(page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
