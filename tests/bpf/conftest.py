"""One world and one BPF file system for all packet tests; one load of the programs per set of settings."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loader.objects import Object

from . import objects as o
from .kernel import Checksums, checksum_modes
from .loading import private_bpffs, spec
from .rig import Rig
from .world import NETS, Net, World

OpenRig = Callable[..., Rig]

BOTH_BUILDS = pytest.mark.parametrize("accelerated", [False, True], ids=["TC", "accelerated"], indirect=True)
"""Of a table that packets meet twice: at TC alone, and with XDP in front, which may change nothing of it."""


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture(scope="session")
def bpffs() -> Iterator[Path]:
    with private_bpffs() as place:
        yield place


@pytest.fixture(scope="session")
def _loaded(world: World, bpffs: Path) -> Iterator[OpenRig]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a rig holds every map open, and all of them are kept
    with contextlib.ExitStack() as owned:
        rigs: dict[tuple[tuple[str, int], ...], Rig] = {}

        def load(sizes: dict[str, int] | None = None, *, accelerated: bool = False, **settings: int) -> Rig:
            wanted = tuple(sorted({**settings, **(sizes or {})}.items()))
            with world.node.inside():
                if wanted not in rigs:
                    pins = bpffs / f"rig{len(rigs)}"
                    loaded = owned.enter_context(Object.load(spec(world, settings, sizes or {}), pins))
                    rigs[wanted] = Rig(world, loaded, settings, pins)
                rig = rigs[wanted]
                if accelerated and rig.xdp is None:
                    xdp = spec(world, settings, sizes or {}, o.XDP_OBJECT)
                    rig.xdp = owned.enter_context(Object.load(xdp, rig.pins)).program(o.XDP_PROGRAM)
            rig.accelerated = accelerated
            rig.reset()
            return rig

        yield load


@pytest.fixture
def accelerated(request: pytest.FixtureRequest) -> bool:
    """Whether XDP is in front (BOTH_BUILDS)."""
    return bool(getattr(request, "param", False))


@pytest.fixture
def open_rig(_loaded: OpenRig, world: World, accelerated: bool) -> Iterator[OpenRig]:
    """Rigs with settings other than the defaults. The test runs in the node, and on one CPU: rates and tables are
    per CPU in part. Processes side by side (pytest-xdist calls them gw0, gw1 ...) do not crowd one."""

    allowed = os.sched_getaffinity(0)
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {sorted(allowed)[number % len(allowed)]})
    try:
        with world.node.inside():
            yield functools.partial(_loaded, accelerated=accelerated)
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.fixture(params=checksum_modes(), ids=lambda x: f"checksum-{x.name.lower()}")
def checksums(request: pytest.FixtureRequest) -> Checksums:
    """Every way the packet's checksum can stand that this kernel can make in a test run."""
    mode: Checksums = request.param
    return mode


@pytest.fixture
def rig(open_rig: OpenRig, checksums: Checksums) -> Rig:
    """The programs as installed by default (delivery through the stack)."""
    made = open_rig()
    made.checksums = checksums
    return made


@pytest.fixture(params=NETS, ids=lambda x: x.name)
def net(request: pytest.FixtureRequest) -> Net:
    """Both address families."""
    family: Net = request.param
    return family
