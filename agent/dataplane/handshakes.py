"""Which half-open flows are handshakes under way: one whose time is up stands in its table until its place is needed.

Decides: it for those who carry handshakes over (succession.py) and who count them (sizes.py). Rules: by each half's own
last packet. A pair of which one half is left behind counts as absent (bpf/flow.h), as it would have a moment later. The
limit is the longest that a handshake may have; the programs are done with a SYN that nobody answered after 10 s, and
here it counts as under way until the limit all the same. A table of a version that has no such field has nothing but
handshakes under way.
"""

from __future__ import annotations

import time

import numpy as np

from loader.convert import Octets, dtype_of
from loader.maps import Map
from loader.transfer import Mask


def under_way(table: Map, values: Octets, limit: int) -> Mask:
    """For each row of values: whether it had a packet within so many seconds."""
    flows = values[:, : table.value.size].copy().view(dtype_of(table.value.types, table.value.type_id))[:, 0]
    if "seen" not in (flows.dtype.names or ()):
        return np.ones(len(values), np.bool_)
    now = int(time.clock_gettime(time.CLOCK_MONOTONIC))
    return now - flows["seen"].astype(np.int64) <= limit
