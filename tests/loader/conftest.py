"""Small objects to load, and a private place to load them: a mount and a network namespace of this thread's own.

Nothing has to be swept up after a run that died: pins, interfaces and mounts end with the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from lab.unshare import Kind, own, own_bpffs
from loader.objects import Object
from loader.spec import ObjectSpec
from tests.loader.hooks import HAS_TCX
from tests.loader.objects import SAMPLE, compiled


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A kernel without TCX has nothing that the tests of its links could try."""
    if not HAS_TCX:
        without = [x for x in items if x.path == Path(__file__).with_name("test_tcx.py")]
        config.hook.pytest_deselected(items=without)
        items[:] = [x for x in items if x not in without]


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A BPF filesystem that only this thread sees."""
    place = tmp_path / "bpffs"
    place.mkdir()
    with own_bpffs(place):
        yield place


@pytest.fixture
def pin_dir(bpffs: Path) -> Path:
    """Where objects pin their maps; not made yet."""
    return bpffs / "penstock" / "v1"


@pytest.fixture
def netlink() -> Iterator[IPRoute]:
    """A new network namespace with loopback up, in which the test runs."""
    with own(Kind.NET), IPRoute() as opened:
        opened.link("set", index=1, state="up")
        yield opened


@pytest.fixture
def sample(pin_dir: Path) -> Iterator[Object]:
    """bpf/sample.bpf.c, loaded."""
    with Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir) as loaded:
        yield loaded
