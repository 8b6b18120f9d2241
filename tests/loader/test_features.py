"""What the kernel can do, against what its own sources say of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import pytest

from loader.features import SINCE, Features, is_at_least, probe
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


def test_what_a_feature_came_with_is_known_of_each() -> None:
    assert SINCE.keys() == {x.name for x in dataclasses.fields(Features)} - {"kernel"}


@pytest.mark.parametrize("feature", SINCE)
def test_a_feature_is_found_from_its_version_on(feature: str, record_property: Callable[[str, object], None]) -> None:
    """What is found goes into the report of a run in a virtual machine (docs/kernels.md)."""
    found = getattr(probe(), feature)
    record_property(f"feature {feature}", "yes" if found else "no")
    assert found or not is_at_least(probe().kernel, SINCE[feature])


@pytest.mark.parametrize(
    ("release", "version", "new_enough"),
    [
        ("6.1.0-56-cloud-amd64", "6.1", True),
        ("6.1.0-56-cloud-amd64", "5.17", True),
        ("6.1.0-56-cloud-amd64", "6.6", False),
        ("5.15.0-91-generic", "5.17", False),
        ("6.12.117+deb12-cloud-amd64", "6.6", True),
        ("7.3.4", "6.12", True),
        ("10.0", "9.9", True),
        ("strange", "5.6", False),
    ],
)
def test_versions_are_compared_as_numbers(release: str, version: str, new_enough: bool) -> None:
    assert is_at_least(release, version) is new_enough
