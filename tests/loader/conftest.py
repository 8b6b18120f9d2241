"""Small objects to load, and a private place to load them: a mount and a network namespace of this thread's own.

Nothing has to be swept up after a run that died: pins, interfaces and mounts end with the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from loader.objects import Object
from loader.spec import ObjectSpec
from tests.loader.hooks import HAS_TCX

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC_PRIVATE = 0x4000 | 0x40000
SOURCES = Path(__file__).parent / "bpf"

# A kernel without TCX has nothing that these could try.
collect_ignore = [] if HAS_TCX else ["test_tcx.py"]

_libc = ctypes.CDLL(None, use_errno=True)


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


@pytest.fixture(scope="session")
def compiled() -> Iterator[Callable[..., Path]]:
    """compiled("sample", "GROWN") -> the object file of bpf/sample.bpf.c with macro GROWN; readable by everybody."""
    place = Path(tempfile.mkdtemp(prefix="penstock-loader-"))
    place.chmod(0o755)

    def compile_once(name: str, *macros: str) -> Path:
        made = place / "-".join([name, *macros])
        made = made.with_suffix(".bpf.o")
        if not made.exists():
            command = ["clang-19", "-O2", "-g", "-target", "bpf", "-mcpu=v3"]
            command += [f"-I/usr/include/{platform.machine()}-linux-gnu", *(f"-D{x}" for x in macros)]
            subprocess.run([*command, "-c", SOURCES / f"{name}.bpf.c", "-o", made], check=True)
        return made

    yield compile_once
    shutil.rmtree(place)


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
def sample(compiled: Callable[..., Path], pin_dir: Path) -> Iterator[Object]:
    """bpf/sample.bpf.c, loaded."""
    with Object.load(ObjectSpec(compiled("sample")), pin_dir) as loaded:
        yield loaded
