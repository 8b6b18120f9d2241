"""A kernel of one's own: its name, and what is said when it is not there. (What is taken of it: vm-tests/selftest.)"""

import pytest
from vmtest import kernels
from vmtest.cache import Cache
from vmtest.errors import VmError

from tests.vm.given import RELEASE, bzimage, given


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(tmp_path / "cache", print)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/boot/vmlinuz", "is VMLINUZ:MODULES, such as"),
        ("{image}:", "is VMLINUZ:MODULES, such as"),
        ("/nowhere/vmlinuz:{modules}", "no kernel image at /nowhere/vmlinuz"),
        ("{image}:/nowhere", "/nowhere is no folder of modules"),
    ],
)
def test_what_is_not_there_is_said(tmp_path, cache, name, said):
    image, _, modules = given(tmp_path).partition(":")
    with cache.locked(), pytest.raises(VmError, match=said):
        kernels.own(name.format(image=image, modules=modules), cache)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (bzimage("5.15.0-92-generic"), f"the image is of 5.15.0-92-generic, the modules are of {RELEASE}"),
        (b"\x7fELF", f"the image is of no kernel for x86, the modules are of {RELEASE}"),
        (b"", f"the image is of no kernel for x86, the modules are of {RELEASE}"),
    ],
)
def test_an_image_that_is_not_the_modules_is_said(tmp_path, cache, image, said):
    name = given(tmp_path)
    (tmp_path / "vmlinuz").write_bytes(image)
    with cache.locked(), pytest.raises(VmError, match=said):
        kernels.own(name, cache)


@pytest.mark.parametrize(
    ("name", "own", "label"),
    [
        ("6.1", False, "6.1"),
        ("newest", False, "newest"),
        ("/boot/vmlinuz-5.15:/lib/modules/5.15.0-91-generic", True, RELEASE),
        ("vmlinuz:modules/5.15.0-91-generic/", True, RELEASE),
    ],
)
def test_names(name, own, label):
    assert (kernels.is_own(name), kernels.label(name)) == (own, label)
