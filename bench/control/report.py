"""docs/bench-control.md."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from bench.control.agent import ROUNDS
from bench.control.lives import KILLS, Lives

_ROWS: Sequence[tuple[str, Callable[[Lives], str]]] = (
    ("a changed endpoint, ms", lambda x: _times(x.agent.endpoint)),
    ("a changed route, ms", lambda x: _times(x.agent.route)),
    ("the slots of a pool, ms", lambda x: _times(x.agent.slots, 2)),
    ("first start, s", lambda x: f"**{x.agent.first_start / 1000:.1f}**"),
    ("killed until the next is in control, s", lambda x: _times([y / 1000 for y in x.taken_over], 1)),
    ("memory of the agent, MiB", lambda x: f"**{x.agent.resident}** ({x.agent.most})"),
)
_METHOD = f"""## Method

- A route has a listener of its own, two backendRefs, and to each a Service with an EndpointSlice of two endpoints; a
  Gateway has one IPv4 address and 63 listeners (`bench/control/objects.py`). Tables have their default sizes, but for
  `max_pools`, which is 2,048 by default: a pool takes 16 KiB of the kernel's memory, those of 10,000 listeners 164 MB.
- Each number of routes has a process and a network namespace of its own, with the agent's own store, loop, data plane
  and reporter and real tables (`bench/control/agent.py`). Objects come decoded: the source is not measured.
- A time goes from when a change is put into the store until another process reads it from the pinned table `pools`:
  resolved, compiled, remembered and written. **Median (worst)** of {ROUNDS} changes, each of another route and after a
  calm. Reports are written and, every half minute, all tables are read back meanwhile, as in any agent.
- A changed endpoint is one of a Service's two that is not ready any more; a changed route has other weights.
- The slots of a pool: of one that a weight moved in, with what numpy does (`agent/compile/maglev.py`). A loop over them
  in Python takes nearly ten times as long, and the agent 13 MiB less.
- First start: nothing is pinned; until everything was written and read back. Killed: from `kill -9` until a new process
  has read back that the kernel holds what the objects say (`bench/control/lives.py`; {KILLS} times): Python's start,
  the programs' load and 5 objects a route to decode are in it. Packets meanwhile go on as they were.
- Memory is resident, **after the last change (at most)**; of the command line, the folder and the metrics' server it
  holds nothing.
"""


def markdown(measured: Sequence[Lives], about: str) -> str:
    """The whole page."""
    lines = [
        "# What a change costs the agent",
        "",
        "Written by `make bench-control`; do not edit.",
        "",
        about,
        "",
        f"| routes | {' | '.join(f'{x.routes:,}' for x in measured)} |",
        f"| --- | {' | '.join('---' for _ in measured)} |",
        *(f"| {title} | {' | '.join(map(cell, measured))} |" for title, cell in _ROWS),
        "",
        _METHOD,
    ]
    return "\n".join(lines)


def _times(found: Sequence[float], digits: int = 1) -> str:
    return f"**{statistics.median(found):.{digits}f}** ({max(found):.{digits - 1}f})"
