"""`python -m vagranttest`, from the checkout's root, by its environment's Python, as root: `vagrant up`, judged.

Exit code: 0 when all was as it should be, 1 when not, 2 when there was no verdict (the message says why).
"""

import shutil
import signal
import sys
import time
from pathlib import Path

from vmtest.cache import Cache, default_folder
from vmtest.errors import VmError

from . import box, cell, inside

SECONDS = 3600.0
"""For all that happens in the cell."""


def main() -> int:
    """Returns the exit code."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    start = time.monotonic()
    root = Path.cwd()
    kept = inside.kept_in(root)
    try:
        cell.require()
        (wheel,) = (root / "build" / "wheel").glob("penstock-*.whl")
        cache = Cache(default_folder(), _say)
        with cache.locked():
            file = box.build(root, wheel, cache)
        # Not in /tmp: that is often in memory, and each machine's disk grows there. And a run that died left it here.
        scratch = kept / "scratch"
        shutil.rmtree(kept, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            status = cell.run(scratch, [str(root), str(file)], seconds=SECONDS)
        finally:
            shutil.rmtree(scratch)
    except VmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    _say(f"{time.monotonic() - start:.0f} s; logs are in {kept.relative_to(root)}")
    return status


def _say(text: str) -> None:
    """Tell the person who waits what goes on."""
    print(f"vagrant-test: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
