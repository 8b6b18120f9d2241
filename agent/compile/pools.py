"""What a pool is made of.

Decides which endpoints of which backendRefs share a pool. Rules: one pool per listener and address family, so a
ref's endpoints of the other family do not count; a ref that has no READY endpoint of the family, or leads nowhere,
keeps its slots as REJECT; a listener without refs, or with weights that are all 0, is all REJECT. A ref is named by
its Service and port, so that the order of the backendRefs plays no part and a Service that comes into being finds
its slots waiting. Must never look at ids before the shares are settled: hashing is over names and addresses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.compile import quota
from agent.compile.image import POOL_SLOTS, RecipePart
from routes.plan import Endpoint, EndpointState, Listener, PoolRef, WeightedRef


@dataclass(frozen=True, slots=True)
class Share:
    """One ref's part of a pool: `count` slots, and how many of them each endpoint has (all at least 1).

    No endpoints: the slots are REJECT. A ref with fewer slots than endpoints leaves the others out.
    """

    name: str
    ref: WeightedRef
    count: int
    endpoints: tuple[Endpoint, ...]
    quotas: tuple[int, ...]


def shares(listener: Listener, version: int, endpoints: Mapping[PoolRef, tuple[Endpoint, ...]]) -> tuple[Share, ...]:
    """The shares of a listener's pool for an IP version, sorted by name; refs of weight 0 have none."""
    named = _named(listener.backends)
    counts = quota.by_weight([ref.weight for _, ref in named], POOL_SLOTS)
    found: list[Share] = []
    for (name, ref), count in zip(named, counts, strict=True):
        if not count:
            continue
        known = endpoints.get(ref.pool, ()) if ref.pool is not None else ()
        ready = [x for x in known if x.address.version == version and x.state is EndpointState.READY]
        found.append(_share(name, ref, count, sorted(ready, key=endpoint_name)))
    return tuple(found)


def only(share: Share, endpoints: Sequence[Endpoint]) -> Share:
    """The share when no more than these of its endpoints can be served, in their order."""
    return share if len(endpoints) == len(share.endpoints) else _share(share.name, share.ref, share.count, endpoints)


def rejected(pool: Sequence[Share]) -> int:
    """Slots that hold REJECT."""
    return POOL_SLOTS - sum(share.count for share in pool if share.endpoints)


def recipe_part(share: Share, ids: Sequence[int]) -> RecipePart:
    """`ids` are the backend ids of the share's endpoints."""
    return RecipePart(share.name, share.count, share.endpoints, tuple(ids))


def _share(name: str, ref: WeightedRef, count: int, ready: Sequence[Endpoint]) -> Share:
    quotas = quota.even([endpoint_name(x) for x in ready], count) if ready else []
    served = [(endpoint, quota) for endpoint, quota in zip(ready, quotas, strict=True) if quota]
    return Share(name, ref, count, tuple(x for x, _ in served), tuple(x for _, x in served))


def _named(refs: Sequence[WeightedRef]) -> list[tuple[str, WeightedRef]]:
    seen: dict[str, int] = {}
    named: list[tuple[str, WeightedRef]] = []
    for ref in refs:
        occurrence = seen[ref.name] = seen.get(ref.name, 0) + 1
        named.append((ref.name if occurrence == 1 else f"{ref.name}#{occurrence}", ref))
    return sorted(named, key=lambda x: x[0])


def endpoint_name(endpoint: Endpoint) -> str:
    """What is hashed of an endpoint."""
    return f"[{endpoint.address}]:{endpoint.port}"
