"""What the end-to-end tests stand on: a network, witnesses as backends, and a running gateway in the node.

Every test runs for both ways of delivery, with and without offloads; `family` and `protocol` multiply it further.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.gateway import Gateway
from lab.manifests import write
from lab.netns import Namespace
from lab.servers.witness import witness
from lab.topology import FAMILIES, Lab, Shape
from tests.net.near_and_far import Backends, near_and_far
from tests.net.paths import behind_the_client
from tests.net.versions import OTHER_LAYOUT, OTHER_PROGRAMS, Versions, built
from tests.net.world import PODS, SETTINGS, WORLD, Setting


@pytest.fixture(scope="module", params=list(SETTINGS.values()), ids=list(SETTINGS))
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway that serves WORLD; shared by the tests of a module, which leave it as it was."""
    setting: Setting = request.param
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("net", Shape(PODS, setting.attachment, setting.offloads)))
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        manifests = lab.directory / "manifests"
        write(WORLD, manifests)
        yield stack.enter_context(Gateway(lab, manifests, delivery=setting.delivery))


@pytest.fixture(scope="module", params=("stack", "redirect"))
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, Backends]]:
    """A gateway with a backend here and one out there; shared as the other."""
    with near_and_far(request.param) as found:
        yield found


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """Other versions of the programs, to upgrade to."""
    place = tmp_path_factory.mktemp("versions")
    return Versions(built(place / "programs", OTHER_PROGRAMS), built(place / "layout", OTHER_LAYOUT))


@pytest.fixture
def far(gateway: Gateway) -> Iterator[Namespace]:
    """A client behind a router, which is the lab's client."""
    with behind_the_client(gateway.lab) as namespace:
        yield namespace


@pytest.fixture(params=FAMILIES, ids=("IPv4", "IPv6"))
def family(request: pytest.FixtureRequest) -> int:
    """Address family."""
    number: int = request.param
    return number


@pytest.fixture(params=("TCP", "UDP"))
def protocol(request: pytest.FixtureRequest) -> str:
    """Transport protocol, as a Gateway's listener names it."""
    name: str = request.param
    return name
