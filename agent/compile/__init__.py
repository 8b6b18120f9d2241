"""Plan, endpoints and what the kernel holds -> what the kernel must hold. Pure; imports only `routes`.

`compile` does all; `recompile` does the pools of some Services and equals `compile`. The way through: `listener_ids` ->
`pools.shares` -> `backend_ids` -> `fill.slots` (`maglev`), put together in `build`.
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
    "compile",
    "recompile",
]
