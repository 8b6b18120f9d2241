"""Waits for conditions, never for time to pass.

Decides: how long anything in the laboratory may take before it counts as failed.
Must never: be used to assert how fast something is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SLOWNESS = float(os.environ.get("PENSTOCK_LAB_SLOWNESS", "1"))
"""How many times as long as elsewhere anything may take here: more than 1 where the machine is emulated (vm-tests)."""

PATIENCE = 60.0 * SLOWNESS
"""Seconds after which a condition that did not come true is a failure. Generous: the machine may be busy."""


class TookTooLong(Exception):
    """A condition did not come true in time; the message says which and what was seen last."""


def until(
    condition: Callable[[], T], what: str, *, patience: float = PATIENCE, every: float = 0.02, seen: object = ""
) -> T:
    """Call `condition` until it returns something true, and return that.

    `every`: seconds between two looks. `seen`: shown in the error; a callable is called for it then.
    Raises TookTooLong after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            shown = seen() if callable(seen) else seen
            raise TookTooLong(f"after {patience:g} s not yet: {what}{f'; last seen: {shown}' if shown else ''}")
        time.sleep(every)
