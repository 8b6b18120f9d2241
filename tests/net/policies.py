"""FlowPolicies of a gateway under test: how they are written, and that they are gone with the block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from lab.gateway import Gateway

FILE = "policies.yaml"


def policy(name: str, kind: str, target: str, **spec: Any) -> dict[str, Any]:
    """A FlowPolicy for the Gateway, or the route, of that name."""
    ref = {"group": "gateway.networking.k8s.io", "kind": kind, "name": target}
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "FlowPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"targetRefs": [ref], **spec},
    }


def write_policies(folder: Path, *documents: dict[str, Any]) -> None:
    """Make the folder's policies these."""
    fresh = folder / f".{FILE}.new"
    fresh.write_text(yaml.safe_dump_all(documents))
    os.replace(fresh, folder / FILE)


@contextmanager
def policies(gateway: Gateway, *documents: dict[str, Any]) -> Iterator[None]:
    """In force while the block runs."""
    gateway.change(lambda: write_policies(gateway.manifests, *documents))
    try:
        yield
    finally:
        gateway.change((gateway.manifests / FILE).unlink)
