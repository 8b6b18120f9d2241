"""Small objects to load, and a private place to load them: a mount and a network namespace of this thread's own.

Nothing has to be swept up after a run that died: pins, interfaces and mounts end with the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from loader.objects import Object
from loader.spec import ObjectSpec
from tests.loader.hooks import HAS_TCX
from tests.loader.objects import SAMPLE, compiled

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC_PRIVATE = 0x4000 | 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A kernel without TCX has nothing that the tests of its links could try."""
    if not HAS_TCX:
        without = [x for x in items if x.path == Path(__file__).with_name("test_tcx.py")]
        config.hook.pytest_deselected(items=without)
        items[:] = [x for x in items if x not in without]


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def own_namespace(kind: str, flag: int) -> Iterator[None]:
    with open(f"/proc/thread-self/ns/{kind}") as home:
        _checked(_libc.unshare(flag))
        try:
            yield
        finally:
            _checked(_libc.setns(home.fileno(), flag))


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A BPF filesystem that only this thread sees."""
    place = tmp_path / "bpffs"
    place.mkdir()
    here = os.getcwd()
    with own_namespace("mnt", CLONE_NEWNS):
        _checked(_libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None))
        _checked(_libc.mount(b"bpf", os.fsencode(place), b"bpf", 0, None))
        yield place
    os.chdir(here)


@pytest.fixture
def pin_dir(bpffs: Path) -> Path:
    """Where objects pin their maps; not made yet."""
    return bpffs / "penstock" / "v1"


@pytest.fixture
def netlink() -> Iterator[IPRoute]:
    """A new network namespace with loopback up, in which the test runs."""
    with own_namespace("net", CLONE_NEWNET), IPRoute() as opened:
        opened.link("set", index=1, state="up")
        yield opened


@pytest.fixture
def sample(pin_dir: Path) -> Iterator[Object]:
    """bpf/sample.bpf.c, loaded."""
    with Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir) as loaded:
        yield loaded
