"""Names of bpf/abi.h in; words and labels out."""

from __future__ import annotations

import pytest

from agent.words import label, words


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("VERDICT_NOT_OURS", "not ours"),
        ("DROP_TABLE_FULL", "drop table full"),
        ("HOOK_UPLINK_INGRESS", "uplink ingress"),
        ("FLOW_ESTABLISHED", "established"),
    ],
)
def test_words(name: str, read: str) -> None:
    assert words(name) == read
    assert label(name) == read.replace(" ", "_")
