"""A kernel of one's own: what is taken of it."""

from pathlib import Path

import pytest
from vmtest import kernels
from vmtest.cache import Cache

RELEASE = "5.15.0-91-generic"


@pytest.fixture
def given(tmp_path) -> str:
    """An image and a folder of modules, as a distribution has them."""
    modules = tmp_path / "lib" / "modules" / RELEASE
    (modules / "kernel").mkdir(parents=True)
    (modules / "build").symlink_to("/usr/src/nowhere")
    for name in ("modules.builtin", "modules.order"):
        (modules / name).write_text("")
    image = tmp_path / "vmlinuz"
    image.write_bytes(b"image")
    return f"{image}:{modules}"


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(tmp_path / "cache", print)


def test_image_and_modules_are_copied_and_the_release_is_the_folders_name(given, cache):
    with cache.locked():
        kernel = kernels.own(given, cache)
    assert kernel.release == RELEASE
    assert kernel.image.read_bytes() == b"image"
    assert kernel.modules_disk.stat().st_size > 0
    kept = kernel.tree / "lib" / "modules" / RELEASE
    assert sorted(x.name for x in kept.iterdir() if not x.name.startswith("modules.")) == ["kernel"]


def test_what_the_user_gave_is_not_touched(given, cache):
    modules = Path(given.partition(":")[2])
    before = sorted(modules.iterdir())
    with cache.locked():
        kernels.own(given, cache)
    assert sorted(modules.iterdir()) == before


def test_another_image_is_another_kernel(given, cache):
    with cache.locked():
        first = kernels.own(given, cache)
        Path(given.partition(":")[0]).write_bytes(b"another")
        assert kernels.own(given, cache).folder != first.folder
