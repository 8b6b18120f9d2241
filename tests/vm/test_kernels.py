"""Which kernel a line means, and what is said when there is none."""

import pytest
from vmtest import host, kernels
from vmtest.cache import Cache
from vmtest.errors import VmError

META = """linux-image-cloud-amd64
  Depends: linux-image-6.1.0-56-cloud-amd64
  Recommends: apparmor
"""
VIRTUAL = """linux-image-cloud-amd64
  Depends: <linux-image-virtual>
"""


def test_the_meta_package_names_the_newest_build():
    assert kernels.package_named_by("linux-image-cloud-amd64", META) == "linux-image-6.1.0-56-cloud-amd64"


@pytest.mark.parametrize("depends", ["", VIRTUAL])
def test_a_meta_package_that_names_none_is_an_error(depends):
    with pytest.raises(VmError, match="linux-image-cloud-amd64 names no kernel"):
        kernels.package_named_by("linux-image-cloud-amd64", depends)


def test_an_unknown_line_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(VmError, match=r"unknown kernel line '4\.19'; known: 6\.1, 6\.12"):
        kernels.fetch("4.19", Cache(tmp_path, print))


def test_missing_programs_are_named_with_the_packages_that_have_them(tmp_path):
    with pytest.raises(VmError, match=r"missing: qemu-system-x86_64, .*--no-install-recommends.* qemu-system-x86 "):
        host.require_tools(search_path=str(tmp_path))
