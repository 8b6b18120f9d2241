"""What the kernel can do, against what its own sources say of it."""

from __future__ import annotations

import os

from loader.features import probe
from tests.loader.hooks import HAS_TCX


def test_what_every_supported_kernel_has_is_found() -> None:
    found = probe()
    assert found.kernel == os.uname().release
    assert found.bpf_timer
    assert found.bpf_loop
    assert found.redirect_neigh
    assert found.batch


def test_the_kernel_is_asked_once() -> None:
    assert probe() is probe()


def test_tcx_is_found_where_the_kernel_has_the_function() -> None:
    assert probe().tcx == HAS_TCX
