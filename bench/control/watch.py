"""`python -m bench.control.watch PIN`: says when an entry of a pinned array becomes another.

Decides what "in the kernel" means: read from it, by a process that is not the one that writes. Rules: an index a line
on stdin; answered by `watching`, then by the monotonic time in seconds at which another value was read.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from loader.maps import Map

_EVERY: Final = 0.0002  # seconds between two readings


class Watch:
    """Such a process."""

    def __init__(self, pin: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.control.watch", str(pin)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, index: int) -> None:
        """From when this returns, the entry is watched."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{index}\n")
        self._process.stdin.flush()
        self._line()

    def seen(self) -> float:
        """The monotonic time at which the entry was another. Waits for it."""
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the watch has died"
        return line

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """Until stdin ends."""
    with Map.open_pinned(Path(sys.argv[1])) as table:
        for line in sys.stdin:
            key = table.key.pack(int(line))
            before = table.get_raw(key)
            print("watching", flush=True)
            while table.get_raw(key) == before:
                time.sleep(_EVERY)
            print(time.monotonic(), flush=True)


if __name__ == "__main__":
    main()
