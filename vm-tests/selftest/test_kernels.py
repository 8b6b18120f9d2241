"""A kernel of one's own: what is taken of it, and what it must have."""

import io
import lzma
import shutil
from pathlib import Path

import pytest
from vmtest import debian, host, initramfs, kernels, machine
from vmtest.cache import Cache, default_folder
from vmtest.errors import VmError
from vmtest.kernels import Kernel
from vmtest.machine import Machine

from tests.vm.given import RELEASE, bzimage, given

INIT = b"""#!/bin/busybox sh
set -e
/bin/busybox mkdir -p /dev
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do /bin/busybox insmod $module; done
echo all drivers >/dev/vport0p1
/bin/busybox poweroff -f
"""


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(tmp_path / "cache", print)


def test_image_and_modules_are_copied_and_the_release_is_the_folders_name(tmp_path, cache):
    with cache.locked():
        kernel = kernels.own(given(tmp_path), cache)
    assert kernel.release == RELEASE
    assert kernel.image.read_bytes() == bzimage()
    assert kernel.modules_disk.stat().st_size > 0
    kept = kernel.tree / "lib" / "modules" / RELEASE
    assert sorted(x.name for x in kept.iterdir() if not x.name.startswith("modules.")) == ["kernel"]


def test_what_the_user_gave_is_not_touched(tmp_path, cache):
    name = given(tmp_path)
    modules = Path(name.partition(":")[2])
    before = sorted(modules.iterdir())
    with cache.locked():
        kernels.own(name, cache)
    assert sorted(modules.iterdir()) == before


def test_another_image_is_another_kernel(tmp_path, cache):
    name = given(tmp_path)
    with cache.locked():
        first = kernels.own(name, cache)
        Path(name.partition(":")[0]).write_bytes(bzimage(more=b"another"))
        assert kernels.own(name, cache).folder != first.folder


def test_a_kernel_without_the_drivers_of_a_virtual_machine_is_told_which(tmp_path, cache):
    name = given(tmp_path)
    modules = Path(name.partition(":")[2])
    (modules / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\nkernel/fs/overlayfs/overlay.ko\n")
    with cache.locked():
        kernel = kernels.own(name, cache)
    with pytest.raises(VmError, match=f"{RELEASE} cannot be started .* it lacks virtio_blk, virtio_console, squashfs "):
        initramfs.base(kernel)


@pytest.fixture(scope="module")
def debians() -> Kernel:
    cache = Cache(default_folder(), print)
    with cache.locked():
        return debian.fetch("6.1", cache)


def as_it_is(module: Path) -> None:
    """As Debian 12 has them."""


def by_xz(module: Path) -> None:
    """As later Debians have them, and Fedora."""
    packed = lzma.compress(module.read_bytes(), check=lzma.CHECK_CRC32, preset=0)
    module.with_name(f"{module.name}.xz").write_bytes(packed)
    module.unlink()


def by_zstd(module: Path) -> None:
    """As Ubuntu has them, and Arch."""
    host.run(["zstd", "-q", "--rm", module])


@pytest.fixture(params=[as_it_is, by_xz, by_zstd])
def packed(request, debians, tmp_path) -> str:
    """Debian's kernel as if it were one's own, with modules as other distributions keep them."""
    modules = tmp_path / "lib" / "modules" / debians.release
    shutil.copytree(debians.tree / "lib" / "modules" / debians.release, modules)
    for folder in ("drivers", "net", "fs", "lib"):
        for module in (modules / "kernel" / folder).rglob("*.ko"):
            request.param(module)
    return f"{debians.image}:{modules}"


def test_modules_are_read_however_they_are_packed(packed, cache, tmp_path):
    with cache.locked():
        kernel = kernels.own(packed, cache)
    archive, output = tmp_path / "initramfs", io.BytesIO()
    archive.write_bytes(initramfs.cpio(initramfs.base(kernel) | {"init": INIT}))
    machine.run(Machine(kernel.image, archive), tmp_path, output, seconds=60)
    assert output.getvalue() == b"all drivers\n"
    # What the guest's own modprobe makes of them; it is the same program as here.
    shown = host.run(["modprobe", "-d", kernel.tree, "-S", kernel.release, "--show-depends", "veth"])
    assert "/veth.ko" in shown
