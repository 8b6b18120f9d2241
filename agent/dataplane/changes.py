"""What must be written so that the kernel holds an image. Pure.

Decides: the difference between what is held and what is wanted, in groups that apply.py writes in the order of the
fields of `Changes`. That order is the point: at every moment in between, whatever a packet can reach is whole.
  1. policies, each with its ranges before itself, and backends that become ACTIVE: nothing points at them yet
  2. pools: every id in them is active now, as are those they held before
  3. listeners, then gateways: the door is opened last
  4. gateways, then listeners that go: the door is closed first
  5. policies, then their ranges; backends that stop being ACTIVE: nothing points at them any more
Rules: equal states make empty changes; pools and FREE backends that the image does not name are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from agent.compile.image import BackendEntry, BackendState, ListenerEntry, ListenerKey, MapImage, PolicyEntry, Touched
from agent.compile.pool_table import PoolTable
from routes.plan import Address

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class KernelState:
    """What the tables hold: pools only those that the image names, backends those that were ever used."""

    gateways: Mapping[Address, int]
    listeners: Mapping[ListenerKey, ListenerEntry]
    pools: Mapping[int, bytes]
    backends: Mapping[int, BackendEntry]
    policies: Mapping[int, PolicyEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """In the order of writing. `fresh_*` are ids that begin a new life: their counters start at zero."""

    fresh_listeners: frozenset[int]
    fresh_backends: frozenset[int]
    policies: Mapping[int, PolicyEntry]
    backends_up: Mapping[int, BackendEntry]
    pools: Mapping[int, bytes]
    listeners: Mapping[ListenerKey, ListenerEntry]
    gateways: Mapping[Address, int]
    gateways_gone: frozenset[Address]
    listeners_gone: frozenset[ListenerKey]
    policies_gone: frozenset[int]
    backends_down: Mapping[int, BackendEntry]

    def __bool__(self) -> bool:
        return any(
            (
                self.policies,
                self.backends_up,
                self.pools,
                self.listeners,
                self.gateways,
                self.gateways_gone,
                self.listeners_gone,
                self.policies_gone,
                self.backends_down,
            )
        )

    def differences(self) -> Iterator[str]:
        """One line for each thing that the kernel holds otherwise than wanted."""
        for key in self.listeners:
            yield f"listener {key.address} port {key.port}/{key.protocol.name} is missing or points elsewhere"
        for key in self.listeners_gone:
            yield f"listener {key.address} port {key.port}/{key.protocol.name} is held and not wanted"
        for address in self.gateways:
            yield f"gateway {address} is missing or has other flags"
        for address in self.gateways_gone:
            yield f"gateway {address} is held and not wanted"
        for number in self.policies:
            yield f"policy {number} is missing or says something else"
        for number in self.policies_gone:
            yield f"policy {number} is held and not wanted"
        for number in self.pools:
            yield f"pool {number} holds other backends"
        for number, entry in (*self.backends_up.items(), *self.backends_down.items()):
            yield f"backend {number} is not {entry.address} port {entry.port}, {entry.state.name}"


def changes(held: KernelState, image: MapImage) -> Changes:
    """What turns `held` into `image`. Slots are filled only to be compared, or later, to be written."""
    backends = {**_freed(held, image), **_differing(held.backends, image.backends)}
    held_ids = {x.listener_id for x in held.listeners.values()}
    return Changes(
        fresh_listeners=frozenset(x.listener_id for x in image.listeners.values()) - held_ids,
        fresh_backends=frozenset(
            number for number, x in backends.items() if x.generation != _generation(held.backends, number)
        ),
        policies=_differing(held.policies, image.policies),
        backends_up={number: x for number, x in backends.items() if x.state is BackendState.ACTIVE},
        pools=_differing_pools(held.pools, image.pools),
        listeners=_differing(held.listeners, image.listeners),
        gateways=_differing(held.gateways, image.gateways),
        gateways_gone=frozenset(held.gateways.keys() - image.gateways.keys()),
        listeners_gone=frozenset(held.listeners.keys() - image.listeners.keys()),
        policies_gone=frozenset(held.policies.keys() - image.policies.keys()),
        backends_down={number: x for number, x in backends.items() if x.state is not BackendState.ACTIVE},
    )


def narrowed(image: MapImage, touched: Touched) -> MapImage:
    """The pools and backends of an image that were touched, and nothing else."""
    pools = image.pools
    return replace(
        image,
        gateways={},
        listeners={},
        policies={},
        pools=pools.only(touched.pools) if isinstance(pools, PoolTable) else {x: pools[x] for x in touched.pools},
        backends={x: image.backends[x] for x in touched.backends},
    )


def _differing_pools(held: Mapping[int, bytes], wanted: Mapping[int, bytes]) -> Mapping[int, bytes]:
    if not isinstance(wanted, PoolTable):
        return _differing(held, wanted)
    return wanted.only([x for x in wanted if (octets := held.get(x)) is None or not wanted.holds(x, octets)])


def _freed(held: KernelState, image: MapImage) -> Mapping[int, BackendEntry]:
    return {
        number: replace(x, state=BackendState.FREE)
        for number, x in held.backends.items()
        if number not in image.backends and x.state is not BackendState.FREE
    }


def _generation(backends: Mapping[int, BackendEntry], number: int) -> int:
    return backends[number].generation if number in backends else 0


def _differing(held: Mapping[_K, _V], wanted: Mapping[_K, _V]) -> dict[_K, _V]:
    return {key: value for key, value in wanted.items() if key not in held or held[key] != value}
