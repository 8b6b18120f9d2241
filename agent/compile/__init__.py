"""Plan, endpoints and what the kernel holds -> what the kernel must hold. Pure; imports only `routes`.

`compile` does all; `recompile` does what a change concerns and equals `compile`. The way through: `room` (what the
tables hold) -> `policy_ids` -> `listener_ids` -> `pools.shares` -> `backend_ids`, put together in `build`; slots are
filled when somebody looks: `pool_table` -> `fill.slots` (`maglev`).
"""

from agent.compile.build import compile, recompile
from agent.compile.image import (
    BackendEntry,
    BackendName,
    BackendState,
    Held,
    ListenerEntry,
    ListenerKey,
    ListenerName,
    MapImage,
    Names,
    Room,
)
from agent.compile.index import backends_of, retired

__all__ = [
    "BackendEntry",
    "BackendName",
    "BackendState",
    "Held",
    "ListenerEntry",
    "ListenerKey",
    "ListenerName",
    "MapImage",
    "Names",
    "Room",
    "backends_of",
    "compile",
    "recompile",
    "retired",
]
