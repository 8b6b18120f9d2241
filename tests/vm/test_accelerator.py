"""Without a device for KVM nothing is tried. (With one: vm-tests/selftest.)"""

from pathlib import Path

from vmtest import accelerator
from vmtest.cache import Cache
from vmtest.kernels import Kernel
from vmtest.machine import SOFTWARE


def test_without_a_device_it_is_software_emulation_and_nothing_is_said(tmp_path):
    said: list[str] = []
    kernel = Kernel("6.1.0", Path("/nowhere"))
    assert accelerator.choose(kernel, Cache(tmp_path, said.append), said.append, tmp_path / "kvm") is SOFTWARE
    assert said == []
