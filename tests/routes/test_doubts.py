"""What a policy says of sources in, what a person is asked to look at again out."""

from __future__ import annotations

import pytest
import yaml

from routes.decode import decode
from routes.doubts import doubts

POLICY = """
apiVersion: penstock.dev/v1alpha1
kind: FlowPolicy
metadata: {name: inside}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: TCPRoute, name: web}]
"""
EVERY = "is empty, which lets every source in; leave it out if that is meant"
OTHERS = "is empty, which lets every source that deny does not name in; leave it out if that is meant"
BOTH = "10.0.0.0/8 is in deny as well, and so it is denied"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("", {}),
        ("  affinity: {type: None}", {}),
        ("  sources: {}", {}),
        ("  sources: {allow: []}", {"spec.sources.allow": EVERY}),
        ("  sources: {allow: [], deny: [10.0.0.0/8]}", {"spec.sources.allow": OTHERS}),
        ("  sources: {deny: [10.0.0.0/8]}", {}),
        ("  sources: {allow: [10.0.0.0/8], deny: [10.1.0.0/16]}", {}),
        ("  sources: {allow: ['fd00::/8', 10.0.0.0/8], deny: [10.0.0.0/8]}", {"spec.sources.allow[1]": BOTH}),
    ],
)
def test_doubts(spec: str, told: dict[str, str]) -> None:
    document = yaml.safe_load(POLICY + spec)
    decoded = decode(document)
    assert decoded is not None
    assert {x.field: x.problem for x in doubts(document, decoded)} == told
