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


def test_a_kernel_without_tun_is_said(tmp_path, monkeypatch):
    for tool in cell.TOOLS:
        (tmp_path / tool).write_text("")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setattr(cell, "TUN", tmp_path / "tun")
    with pytest.raises(VmError, match=r"there is no .*/tun, .* modprobe tun"):
        cell.require(str(tmp_path))
    (tmp_path / "tun").write_text("")
    cell.require(str(tmp_path))
