"""The plan: what the gateway must do, said without Kubernetes.

Decides nothing; it is the vocabulary that every later stage speaks. `resolved` makes it, `agent.compile` turns it into
map contents. Rules: values only (frozen, slotted, hashable); every tuple is sorted or in an order the API gives
meaning to, so that equal states are equal plans. Must never import anything of ours nor hold an API object.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class Protocol(enum.IntEnum):
    """Transport protocol of a listener; the value is its IP protocol number."""

    TCP = 6
    UDP = 17


@dataclass(frozen=True, slots=True, order=True)
class PoolRef:
    """Name of a pool: one Service port. Endpoints arrive under this name, apart from the plan.

    A Service may use one number for TCP and for UDP (DNS does), so the protocol is part of the name.
    """

    namespace: str
    service: str
    port: int
    protocol: Protocol

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}:{self.port}/{self.protocol.name}"


@dataclass(frozen=True, slots=True)
class WeightedRef:
    """One backendRef of a rule: its weight (0..1000000) and its pool.

    `pool is None` means the ref cannot be served (its weight share is REJECT); `why` says so for people.
    `position` is the index in the rule's backendRefs.
    """

    position: int
    weight: int
    pool: PoolRef | None
    name: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class SourceRange:
    """Whether clients of a network may begin flows; the longest prefix that a client is in decides."""

    network: Network
    allowed: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """What a listener asks of new flows.

    `names`: the FlowPolicies that it comes from, as namespace/name, most specific first. `sources` are sorted by
    (version, address, prefix), each network once; a client in none of them is allowed unless `allow_only`. `reject`:
    who is denied is answered and not ignored. `idle_tcp`, `idle_udp`: seconds without a packet after which a flow is
    forgotten, 0 = as on the node. `affinity`: leading bits of a client's address that alone choose the backend, of IPv4
    and of IPv6; None: the whole tuple does. `per_listener`: TCP connections at a time, 0 = any number.
    `per_source`: those of one source, and how many leading bits of an address of IPv4 and of IPv6 are one source.
    """

    names: tuple[str, ...]
    sources: tuple[SourceRange, ...] = ()
    allow_only: bool = False
    reject: bool = False
    idle_tcp: int = 0
    idle_udp: int = 0
    affinity: tuple[int, int] | None = None
    per_listener: int = 0
    per_source: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener of a Gateway with the one route that it serves.

    `addresses` are the Gateway's, both families mixed, sorted by (version, number). `route` is `namespace/name` of the
    oldest route attached, None when there is none (then every new flow is rejected). `policy` is None when nothing is
    asked of new flows.
    """

    gateway: str  # namespace/name
    name: str
    addresses: tuple[Address, ...]
    port: int
    protocol: Protocol
    route: str | None
    route_kind: str | None
    backends: tuple[WeightedRef, ...]
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All listeners, sorted by (gateway, name), and all gateway addresses, sorted."""

    listeners: tuple[Listener, ...]
    gateway_addresses: tuple[Address, ...]


class EndpointState(enum.Enum):
    """What an endpoint may be given. READY: new flows; DRAINING: only the flows it has."""

    READY = "ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port of a pool, deduplicated over all slices of the Service.

    `target` names what serves it (a Pod's uid, else its namespace/name, "" when the slice does not say): an address
    that comes back with another target is another pod.
    """

    address: Address
    port: int
    state: EndpointState
    target: str = ""
