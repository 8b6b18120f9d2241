"""What the loader, netlink and the file system raise in; what this package raises out."""

from __future__ import annotations

import errno

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from agent.dataplane.errors import DataplaneError, HookOfAnother, KernelRefused, NodeUnfit, TableFull, translated
from loader.errors import HookTaken, LoaderError, MapFull, NoBpffs, NotSupported, PermissionDenied


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (NoBpffs("mount it"), NodeUnfit),
        (NotSupported("no such thing"), NodeUnfit),
        (PermissionDenied("be root"), NodeUnfit),
        (HookTaken("a stranger"), HookOfAnother),
        (MapFull("pools", 8, 0), KernelRefused),
        (LoaderError("no"), KernelRefused),
        (NetlinkError(errno.ENODEV, "no device"), KernelRefused),
        (OSError(errno.ENOSPC, "no space"), KernelRefused),
    ],
)
def test_others_errors_become_ours(raised: Exception, kind: type[DataplaneError]) -> None:
    with pytest.raises(DataplaneError) as caught, translated():
        raise raised
    assert type(caught.value) is kind
    assert str(caught.value) == str(raised)
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("raised", [TableFull("pools", 2, 1, "--max-pools"), ZeroDivisionError()])
def test_ours_and_defects_pass(raised: Exception) -> None:
    with pytest.raises(type(raised)) as caught, translated():
        raise raised
    assert caught.value is raised
