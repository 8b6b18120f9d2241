"""Objects in, plan and statuses out.

Decides nothing of its own: `resolved` is the order in which the deciding modules speak. Rules: pure; the same objects
in any order give equal results; endpoints play no part (see `endpoints`), so the plan changes only when routing does.
Must never fail on objects that `decode` let through, except when one comes twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from routes.objects import Object
from routes.plan import Plan
from routes.resolved import resolved
from routes.status import Statuses


def resolve(objects: Iterable[Object]) -> tuple[Plan, Statuses]:
    """What the gateway must do, and what is to be said about each object of ours.

    Raises InvalidObject if an object comes twice.
    """
    found = resolved(objects)
    return found.plan, found.statuses
