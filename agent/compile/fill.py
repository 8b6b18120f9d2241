"""The slots of a pool, from its recipe.

Decides nothing. Rules: imported only where a pool is filled, since numpy takes a tenth of a second and 12 MB that the
commands which look at what an agent made can spare. Must never depend on more than the recipe.
"""

from __future__ import annotations

from array import array

import numpy as np

from agent.compile import maglev
from agent.compile.image import BACKEND_REJECT, POOL_SLOTS, Recipe
from agent.compile.pools import endpoint_name


def slots(recipe: Recipe) -> bytes:
    """The pool as the kernel holds it."""
    everybody = {id_ for part in recipe for id_ in part.ids or (BACKEND_REJECT,)}
    everybody = everybody or {BACKEND_REJECT}
    if len(everybody) == 1:
        return array("I", everybody).tobytes() * POOL_SLOTS
    owners = maglev.place([part.name for part in recipe], [part.count for part in recipe])
    filled = np.full(POOL_SLOTS, BACKEND_REJECT, np.uint32)
    for number, part in enumerate(recipe):
        if part.ids:
            own = np.flatnonzero(owners == number).astype(np.uint32)
            ids = np.array(part.ids, np.uint32)
            filled[own] = ids[maglev.spread([*map(endpoint_name, part.endpoints)], own, POOL_SLOTS)]
    return filled.tobytes()
