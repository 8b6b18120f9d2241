"""One world and one BPF file system for all packet tests; one load of the programs per set of settings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loader.objects import Object

from .kernel import Checksums, checksum_modes
from .rig import Rig, private_bpffs, spec
from .world import NETS, Net, World

OpenRig = Callable[..., Rig]


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
    with contextlib.ExitStack() as owned:
        rigs: dict[tuple[tuple[str, int], ...], Rig] = {}

        def load(sizes: dict[str, int] | None = None, **settings: int) -> Rig:
            wanted = tuple(sorted({**settings, **(sizes or {})}.items()))
            if wanted not in rigs:
                with world.node.inside():
                    pins = bpffs / f"rig{len(rigs)}"
                    loaded = owned.enter_context(Object.load(spec(world, settings, sizes or {}), pins))
                    rigs[wanted] = Rig(world, loaded, settings, pins)
            rigs[wanted].reset()
            return rigs[wanted]

        yield load


@pytest.fixture
def open_rig(_loaded: OpenRig, world: World) -> Iterator[OpenRig]:
    """Rigs with settings other than the defaults. The test runs in the node, and on one CPU: rates and tables are
    per CPU in part."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with world.node.inside():
            yield _loaded
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
