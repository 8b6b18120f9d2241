"""What is needed is asked for before minutes are spent."""

import pytest
from vagranttest import cell
from vmtest.errors import VmError


def test_programs_that_are_missing_are_named_and_how_to_get_them(tmp_path):
    for present in ("vagrant", "virsh"):
        (tmp_path / present).write_text("")
        (tmp_path / present).chmod(0o755)
    with pytest.raises(VmError, match=r"^missing: libvirtd, .*rsync; `make vagrant-deps` installs what has them$"):
        cell.require(str(tmp_path))
