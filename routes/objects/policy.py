"""FlowPolicy: our own (GEP-713).

Rules: a field that it does not have is an error: who misspells `deny` would let all in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from .base import Object, Trimmed
from .fields import OWN_GROUP, Cidr, Duration, ObjectName, SectionName


class PolicyTargetReference(Trimmed, frozen=True, forbid_unknown_fields=True):
    """`section_name` is a Gateway's listener; a target is in the policy's own namespace."""

    HINTS: ClassVar[Mapping[str, str]] = {"namespace": "the targets of a policy are in its own namespace only"}

    group: Literal["gateway.networking.k8s.io"]
    kind: Literal["Gateway", "TCPRoute", "UDPRoute"]
    name: ObjectName
    section_name: SectionName = ""


class PolicySources(Trimmed, frozen=True, forbid_unknown_fields=True):
    """CIDRs. `denied`: what becomes of a packet that would begin a flow from elsewhere."""

    allow: Annotated[tuple[Cidr, ...], Meta(max_length=1024)] = ()
    deny: Annotated[tuple[Cidr, ...], Meta(max_length=1024)] = ()
    denied: Literal["Drop", "Reject"] = "Drop"


class SourcePrefix(Trimmed, frozen=True, forbid_unknown_fields=True):
    """How many leading bits of an address are one client, by family: an IPv6 client has a /64 at least."""

    ipv4: Annotated[int, Meta(ge=1, le=32)] = 32
    ipv6: Annotated[int, Meta(ge=1, le=128)] = 64


class PolicyIdle(Trimmed, frozen=True, forbid_unknown_fields=True):
    """Durations of GEP-2257, "" = not said: how long a flow may be without a packet before it is forgotten."""

    tcp: Duration = ""
    udp: Duration = ""


class PolicyConnections(Trimmed, frozen=True, forbid_unknown_fields=True):
    """TCP connections at a time; None = any number."""

    HINTS: ClassVar[Mapping[str, str]] = {"perClient": "is perSource meant?"}

    per_listener: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    per_source: Annotated[int, Meta(ge=1, le=2**20)] | None = None
    source_prefix: SourcePrefix | None = None


class PolicyAffinity(Trimmed, frozen=True, forbid_unknown_fields=True):
    type: Literal["None", "ClientAddress"]
    source_prefix: SourcePrefix = SourcePrefix()


class FlowPolicySpec(Trimmed, frozen=True, forbid_unknown_fields=True):
    """A part that is None says nothing: a less specific policy may say it."""

    target_refs: Annotated[tuple[PolicyTargetReference, ...], Meta(min_length=1, max_length=16)]
    sources: PolicySources | None = None
    idle: PolicyIdle | None = None
    affinity: PolicyAffinity | None = None
    connections: PolicyConnections | None = None


class FlowPolicy(Object, frozen=True):
    GROUP = OWN_GROUP
    KIND = "FlowPolicy"

    spec: FlowPolicySpec
