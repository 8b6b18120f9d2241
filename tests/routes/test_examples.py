"""The manifests that a user copies are in order: nothing ignored, every route served, every share with endpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from routes.endpoints import judged
from routes.objects.base import Object
from routes.objects.core import EndpointSlice, Service
from routes.resolved import resolved

from .decoded import decoded

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted({path.parent for path in EXAMPLES.rglob("*.yaml")})


def read(folder: Path) -> tuple[list[Object], list[str]]:
    return decoded(x for path in sorted(folder.glob("*.yaml")) for x in yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_example_is_served_whole(folder: Path) -> None:
    objects, notes = read(folder)
    found = resolved(objects)
    plan, statuses = found.plan, found.statuses
    assert notes == []
    assert plan.listeners
    told = [x for status in statuses.routes for parent in status.parents for x in parent.conditions]
    told += [x for status in statuses.policies for target in status.ancestors for x in target.conditions]
    told += [x for status in statuses.gateways for x in status.conditions if x.type != "Programmed"]
    assert [x for x in told if x.status != "True"] == []
    assert [x.name for x in plan.listeners if x.route is None] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_pool_has_endpoints_of_every_family_of_its_listeners(folder: Path) -> None:
    objects, _ = read(folder)
    plan = resolved(objects).plan
    slices = [x for x in objects if isinstance(x, EndpointSlice)]
    services = [x for x in objects if isinstance(x, Service)]
    forbidden = dict.fromkeys(plan.gateway_addresses, "is a gateway address")
    known, refused = judged(slices, services, forbidden=forbidden)
    for listener in plan.listeners:
        families = {x.version for x in listener.addresses}
        for ref in listener.backends:
            assert ref.pool is not None
            assert {x.address.version for x in known[ref.pool]} == families
    assert refused == ()
