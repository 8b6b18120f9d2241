"""Which of Debian's kernels a name means, and what is said when there is none."""

import pytest
from vmtest import debian, host
from vmtest.cache import Cache
from vmtest.errors import VmError

META = """linux-image-cloud-amd64
  Depends: linux-image-6.1.0-56-cloud-amd64
  Recommends: apparmor
"""
VIRTUAL = """linux-image-cloud-amd64
  Depends: <linux-image-virtual>
"""
IN_ONE = """linux-image-6.1.0-56-cloud-amd64
  PreDepends: linux-base
  Depends: kmod
 |Depends: linux-initramfs-tool
"""
IN_PARTS = """linux-image-7.3.4+deb13-cloud-amd64
  PreDepends: linux-base
 |Depends: dracut
  Depends: linux-base-7.3.4+deb13-cloud-amd64
  Depends: linux-binary-7.3.4+deb13-cloud-amd64
  Depends: linux-modules-7.3.4+deb13-cloud-amd64
  Suggests: linux-doc-7.3
"""


def test_the_meta_package_names_the_newest_build():
    assert debian.package_named_by("linux-image-cloud-amd64", META) == "linux-image-6.1.0-56-cloud-amd64"


@pytest.mark.parametrize("depends", ["", VIRTUAL])
def test_a_meta_package_that_names_none_is_an_error(depends):
    with pytest.raises(VmError, match="linux-image-cloud-amd64 names no kernel"):
        debian.package_named_by("linux-image-cloud-amd64", depends)


@pytest.mark.parametrize(
    ("package", "depends", "parts"),
    [
        ("linux-image-6.1.0-56-cloud-amd64", IN_ONE, ("linux-image-6.1.0-56-cloud-amd64",)),
        (
            "linux-image-7.3.4+deb13-cloud-amd64",
            IN_PARTS,
            tuple(f"linux-{part}-7.3.4+deb13-cloud-amd64" for part in ("base", "binary", "modules")),
        ),
    ],
)
def test_a_kernel_is_one_package_or_its_parts(package, depends, parts):
    assert debian.parts(package, depends) == parts


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(VmError, match=r"unknown kernel '4\.19'; known: 6\.1, 6\.12, newest, or .* VMLINUZ:MODULES"):
        debian.fetch("4.19", Cache(tmp_path, print))


def test_missing_programs_are_named_with_the_packages_that_have_them(tmp_path):
    with pytest.raises(VmError, match=r"missing: qemu-system-x86_64, .*--no-install-recommends.* qemu-system-x86 "):
        host.require_tools(search_path=str(tmp_path))
