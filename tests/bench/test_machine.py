"""Figures that were taken in a virtual machine say so."""

from __future__ import annotations

import pytest

from bench import machine

RUNNER = "software emulation"


def test_a_virtual_machine_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_ACCELERATOR", RUNNER)
    assert machine.description().endswith(f", in a virtual machine ({RUNNER})")
    assert machine.caveat().startswith(f"- In a virtual machine ({RUNNER})")


def test_the_machine_itself_has_no_caveat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENSTOCK_ACCELERATOR", raising=False)
    assert "virtual" not in machine.description()
    assert machine.caveat() == ""
