"""The map image: what the pinned maps must hold, and what they hold, in the words of bpf/abi.h.

Decides nothing; it is the vocabulary between `compile` and the data plane. Rules: values only, comparable; addresses
are `ipaddress` objects, ports are host order, a pool is POOL_SLOTS native-endian u32 backend ids, exactly as the
kernel stores it. Must never import the loader: the numbers below repeat enums of bpf/abi.h, and a test compares
them.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

from routes.plan import Address, Endpoint, Protocol, SourceRange

POOL_SLOTS: Final = 4093
BACKEND_REJECT: Final = 1
BACKEND_FIRST: Final = 2
LISTENER_FIRST: Final = 1  # ids of listeners and pools start here, so that a zero in a dump is an absence
POOL_FIRST: Final = 1
GATEWAY_NODE_ADDRESS: Final = 1
POLICY_FIRST: Final = 1  # 0: a listener without a policy
POLICY_IN_USE: Final = 1
POLICY_SOURCES: Final = 2
POLICY_ALLOW_ONLY: Final = 4
POLICY_REJECT: Final = 8
POLICY_AFFINITY: Final = 16

_K = TypeVar("_K")
_V = TypeVar("_V")


def _none() -> Mapping[_K, _V]:
    return MappingProxyType({})


class BackendState(enum.IntEnum):
    """`enum backend_state`."""

    FREE = 0
    ACTIVE = 1
    DRAINING = 2
    ABSENT = 3
    GONE = 4


@dataclass(frozen=True, slots=True)
class ListenerKey:
    """Key of map `listeners`."""

    address: Address
    port: int
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class ListenerEntry:
    """Value of map `listeners`. One listener_id per Listener of the plan, one pool_id per listener and family.

    `policy_id` is 0 without a policy.
    """

    listener_id: int
    pool_id: int
    policy_id: int = 0


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """Element of map `policies`, and its entries of map `source_ranges` in the order of the plan's."""

    flags: int
    sources: tuple[SourceRange, ...] = ()
    idle_tcp: int = 0
    idle_udp: int = 0
    affinity4: int = 0
    affinity6: int = 0
    per_listener: int = 0
    per_source: int = 0
    source4: int = 0
    source6: int = 0


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """Element of map `backends`. `generation` is 1..65535, 0 for an id never used; `ref` is the backendRef's position.

    A FREE entry keeps address, port and generation of its last use: the next use of the id continues the generation.
    """

    address: Address
    port: int
    generation: int
    state: BackendState
    listener_id: int
    ref: int


@dataclass(frozen=True, slots=True)
class ListenerName:
    """A listener for people: `gateway` and `route` are namespace/name; `route` is None when none is attached."""

    gateway: str
    listener: str
    port: int
    protocol: Protocol
    route: str | None
    route_kind: str | None


@dataclass(frozen=True, slots=True)
class BackendName:
    """A backend for people: its backendRef (`name`, `weight`), `share` of its pool's slots (0..1), and the endpoint's
    `target` (see routes.plan.Endpoint). A backend that is not ACTIVE has share 0.
    """

    name: str
    weight: int
    share: float
    target: str


@dataclass(frozen=True, slots=True)
class Names:
    """listener_id and backend_id -> words. Ids without a name here were held when the memory of it was lost."""

    listeners: Mapping[int, ListenerName] = field(default_factory=_none)
    backends: Mapping[int, BackendName] = field(default_factory=_none)


@dataclass(frozen=True, slots=True)
class RecipePart:
    """One backendRef's part of a pool: its name, its slots, its endpoints and the backend_id of each.

    No endpoints: the slots hold BACKEND_REJECT.
    """

    name: str
    count: int
    endpoints: tuple[Endpoint, ...]
    ids: tuple[int, ...]


Recipe: TypeAlias = tuple[RecipePart, ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """Ids of pools and backends, and the ids of the listeners that these belong to."""

    pools: frozenset[int]
    backends: frozenset[int]
    listeners: frozenset[int]


@dataclass(frozen=True, slots=True)
class MapImage:
    """What the maps must hold.

    gateways: address -> flags (GATEWAY_NODE_ADDRESS). listeners: whatever key is missing here must go.
    pools: pool_id -> 4 * POOL_SLOTS bytes; a pool_id missing here is unused, its content does not matter.
    backends: backend_id -> entry, FREE ones with their generation included; an id missing here was never used.
    policies: policy_id -> entry; an id missing here is in no use.
    rejected: pool_id -> slots that hold BACKEND_REJECT.
    left_out: (gateway, listener) -> the table that had no room for all of it. What had room is in the image.
    recipes: pool_id -> what its slots follow from: pools with equal recipes are equal, so none is computed twice.
    touched: what may differ from the image that this one was made after; None: anything.
    """

    gateways: Mapping[Address, int]
    listeners: Mapping[ListenerKey, ListenerEntry]
    pools: Mapping[int, bytes]
    backends: Mapping[int, BackendEntry]
    names: Names
    policies: Mapping[int, PolicyEntry] = field(default_factory=_none)
    rejected: Mapping[int, int] = field(default_factory=_none)
    recipes: Mapping[int, Recipe] = field(default_factory=_none)
    left_out: Mapping[tuple[str, str], str] = field(default_factory=_none)
    touched: Touched | None = field(default=None, compare=False)
    index: Any = field(default=None, compare=False, repr=False)  # compile's own (index.py)


@dataclass(frozen=True, slots=True)
class Room:
    """How much the tables take: entries of gateways, listeners, source_ranges; of the others, ids below that number."""

    gateways: int = sys.maxsize
    listeners: int = sys.maxsize
    listener_ids: int = sys.maxsize
    pools: int = sys.maxsize
    backends: int = sys.maxsize
    policies: int = sys.maxsize
    source_ranges: int = sys.maxsize


@dataclass(frozen=True, slots=True)
class Held:
    """What the kernel holds, and what only the agent's loop can know.

    listeners, backends, policies: read back from the maps (backends with generation != 0, FREE ones too).
    expired: backend ids that were ABSENT for the grace time, by the loop's clock.
    unused: backend ids that are not ACTIVE and that no flow refers to any more (a scan of the flow tables): their ids
        become FREE. Leave it empty when no scan was made.
    node_addresses: the node's own addresses.
    names: of the last image, remembered over a restart (dataplane/memory.py); kept for backends that outlive their
        listener, and to see that an address was reused by another pod.
    room: the sizes of the tables.
    """

    listeners: Mapping[ListenerKey, ListenerEntry] = field(default_factory=_none)
    backends: Mapping[int, BackendEntry] = field(default_factory=_none)
    expired: frozenset[int] = frozenset()
    unused: frozenset[int] = frozenset()
    node_addresses: frozenset[Address] = frozenset()
    names: Names = field(default_factory=Names)
    room: Room = field(default_factory=Room)
    policies: Mapping[int, PolicyEntry] = field(default_factory=_none)
