"""A kernel of one's own: its name, and what is said when it is not there. (What is taken of it: vm-tests/selftest.)"""

import pytest
from vmtest import kernels
from vmtest.cache import Cache
from vmtest.errors import VmError

RELEASE = "5.15.0-91-generic"


@pytest.fixture
def given(tmp_path) -> str:
    """An image and a folder of modules, as a distribution has them."""
    modules = tmp_path / "lib" / "modules" / RELEASE
    (modules / "kernel").mkdir(parents=True)
    image = tmp_path / "vmlinuz"
    image.write_bytes(b"image")
    return f"{image}:{modules}"


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
def test_what_is_not_there_is_said(given, cache, name, said):
    image, _, modules = given.partition(":")
    with cache.locked(), pytest.raises(VmError, match=said):
        kernels.own(name.format(image=image, modules=modules), cache)


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
