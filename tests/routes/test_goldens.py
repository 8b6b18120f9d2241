"""Folders of manifests and what they come to: each goldens/NAME.in.yaml against NAME.out.yaml.

`python tests/regenerate_goldens.py` writes the outputs anew; the diff is then to be read.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.routes.golden import documents, inputs, out_path, outcome


@pytest.mark.parametrize("in_path", inputs(), ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_manifests_come_to(in_path: Path) -> None:
    assert outcome(documents(in_path)) == out_path(in_path).read_text()


@pytest.mark.parametrize("in_path", inputs(), ids=lambda path: path.name.removesuffix(".in.yaml"))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_order_of_objects_plays_no_part(in_path: Path, data: st.DataObject) -> None:
    known = [x for x in documents(in_path) if x is not None]
    shuffled = data.draw(st.permutations(known))
    assert _without_notes(outcome(shuffled)) == _without_notes(outcome(known))


def _without_notes(text: str) -> str:
    """Notes are in the order of the documents."""
    return text[text.index("plan:") :] if "plan:" in text else text
