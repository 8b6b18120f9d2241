"""The numbers that `image` repeats are those of bpf/abi.h."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.compile import BackendState, image
from routes.plan import Protocol

ABI = (Path(__file__).parents[3] / "bpf" / "abi.h").read_text()


@pytest.mark.parametrize(
    "name",
    [
        "POOL_SLOTS",
        "BACKEND_REJECT",
        "BACKEND_FIRST",
        "GATEWAY_NODE_ADDRESS",
        "POLICY_IN_USE",
        "POLICY_SOURCES",
        "POLICY_ALLOW_ONLY",
        "POLICY_REJECT",
        "POLICY_AFFINITY",
    ],
)
def test_constant(name: str) -> None:
    assert getattr(image, name) == _number(name)


@pytest.mark.parametrize("state", list(BackendState), ids=lambda state: state.name)
def test_backend_state(state: BackendState) -> None:
    assert state.value == _number(f"BACKEND_{state.name}")


def test_protocols_are_ip_protocol_numbers() -> None:
    assert {x.name: x.value for x in Protocol} == {"TCP": 6, "UDP": 17}


def _number(name: str) -> int:
    match = re.search(rf"^\s*{name} = (\d+),", ABI, re.MULTILINE)
    assert match is not None, f"bpf/abi.h has no {name}"
    return int(match[1])
