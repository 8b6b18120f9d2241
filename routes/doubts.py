"""What is valid and most likely not meant.

Decides which of what a FlowPolicy says a person is asked to look at again: it says whom to let in, so what says less
than it seems to is told. Rules: told, not refused; the document as it was written counts, for what is decoded does not
tell a list that is empty from one that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from routes.objects.base import Object
from routes.objects.policy import FlowPolicy
from routes.unknown import UnknownField


def doubts(document: Mapping[str, object], decoded: Object) -> Iterator[UnknownField]:
    """Of `document`, which `decoded` was made from."""
    if not isinstance(decoded, FlowPolicy) or decoded.spec.sources is None:
        return
    sources = decoded.spec.sources
    if not sources.allow and _has_allow(document):
        who = "every source that deny does not name" if sources.deny else "every source"
        yield UnknownField("spec.sources.allow", f"is empty, which lets {who} in; leave it out if that is meant")
    denied = {ip_network(x) for x in sources.deny}
    for i, text in enumerate(sources.allow):
        if ip_network(text) in denied:
            yield UnknownField(f"spec.sources.allow[{i}]", f"{text} is in deny as well, and so it is denied")


def _has_allow(document: Mapping[str, object]) -> bool:
    spec = document["spec"]
    sources = spec["sources"] if isinstance(spec, Mapping) else None
    return isinstance(sources, Mapping) and "allow" in sources
