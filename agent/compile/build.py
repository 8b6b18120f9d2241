"""The map image, put together.

Decides what is computed anew and what is taken over. Rules: pure; the same arguments in any order give equal images;
a pool is filled only when it is looked at; `recompile` equals `compile`. Must never depend on `previous` for
anything but time: without it the image is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from agent.compile import policy_ids, pools
from agent.compile.backend_ids import Identity, assigned, reassigned
from agent.compile.image import (
    GATEWAY_NODE_ADDRESS,
    POOL_SLOTS,
    BackendEntry,
    BackendName,
    BackendState,
    Held,
    ListenerEntry,
    ListenerKey,
    ListenerName,
    MapImage,
    Names,
    PolicyEntry,
    Recipe,
    Touched,
)
from agent.compile.index import Index
from agent.compile.listener_ids import NumberedListener, numbered, renumbered
from agent.compile.pool_table import PoolTable
from agent.compile.pools import Share
from agent.compile.room import fitting
from routes.plan import Address, Endpoint, Listener, Plan, PoolRef

_V = TypeVar("_V")
_NOTHING = MapImage({}, {}, {}, {}, Names())


def compile(
    plan: Plan,
    endpoints: Mapping[PoolRef, tuple[Endpoint, ...]],
    held: Held,
    *,
    previous: MapImage = _NOTHING,
) -> MapImage:
    """What the maps must hold, as far as they have room.

    `endpoints` should have every pool known, not only the plan's: a backend that no listener wants any more is DRAINING
    while its endpoint is somewhere in them, else ABSENT. `previous`, the last image, saves computing its pools again.
    """
    asked = plan
    plan, too_many = fitting(plan, held)
    policies, unpoliced = policy_ids.assigned(plan.listeners, held)
    plan = replace(plan, listeners=tuple(x for x in plan.listeners if (x.gateway, x.name) not in unpoliced))
    listeners, idless = numbered(plan.listeners, held)
    keys = {key: replace(entry, policy_id=_policy_id(x, policies)) for x in listeners for key, entry in x.entries()}
    left_out = {**idless, **too_many, **unpoliced}
    shared = _shared(listeners, endpoints)
    wanted = _wanted(shared)
    ids, backends = assigned(wanted, held, endpoints)
    if any(key not in ids for key, _ in wanted):
        for pool_id, (x, shares) in shared.items():
            shared[pool_id] = (x, tuple(_with_ids(x, share, ids) for share in shares))
            if shared[pool_id] != (x, shares):
                left_out.setdefault((x.listener.gateway, x.listener.name), "backends")
    recipes = {pool_id: _recipe(x, shares, ids) for pool_id, (x, shares) in shared.items()}
    names = {**_retired_names(backends, held.names.backends), **_backend_names(shared, ids)}
    recipes = _sorted(recipes)
    image = MapImage(
        gateways=_gateways(plan, held),
        listeners=keys,
        pools=_pools_after(previous, recipes),
        backends=_sorted(backends),
        names=Names(_sorted({**_outlived(backends, held), **_listener_names(plan.listeners, keys)}), _sorted(names)),
        policies=_sorted({number: entry for entry, number in policies.items()}),
        rejected=_sorted({pool_id: pools.rejected(shares) for pool_id, (_, shares) in shared.items()}),
        recipes=recipes,
        left_out=left_out,
    )
    return image if left_out else _indexed(image, Index(asked, endpoints, image))


def recompile(
    previous: MapImage,
    plan: Plan,
    endpoints: Mapping[PoolRef, tuple[Endpoint, ...]],
    held: Held,
    changed: Collection[PoolRef],
) -> MapImage:
    """The same as `compile` when since `previous` only the endpoints of the changed pools are different.

    Costs what the listeners cost that use those pools or have other backendRefs than before, when the plan has the same
    listeners besides; else what `compile` costs. `held` must be what the kernel holds since `previous` was applied.
    """
    index: Index | None = previous.index
    if index is None or not index.of(previous):
        return compile(plan, endpoints, held, previous=previous)
    others = _others(index.plan, plan)
    if others is None:
        return compile(plan, endpoints, held, previous=previous)
    index.move(None)  # until all of it is of the new image
    index.set_plan(plan, others)
    index.set_endpoints(endpoints, changed)
    positions = sorted({*others, *(x for pool in changed for x in index.users.get(pool, ()))})
    listeners = [renumbered(plan.listeners[x], previous.listeners) for x in positions]
    known = replace(held, backends=previous.backends, names=previous.names)
    shared = _shared(listeners, endpoints)
    wanted = _wanted(shared)
    ids, entries = reassigned(wanted, known, {x.listener_id for x in listeners}, index)
    if any(key not in ids for key, _ in wanted):
        return compile(plan, endpoints, held, previous=previous)
    entries = {id_: x for id_, x in entries.items() if previous.backends.get(id_) != x}
    recipes = {pool_id: _recipe(x, shares, ids) for pool_id, (x, shares) in shared.items()}
    recipes = {pool_id: x for pool_id, x in recipes.items() if previous.recipes.get(pool_id) != x}
    outlived = {previous.backends[id_].listener_id for id_ in entries if id_ in previous.backends}
    for id_, entry in entries.items():
        index.set_backend(id_, previous.backends.get(id_), entry)
    all_recipes = {**previous.recipes, **recipes}
    names = dict(previous.names.backends)
    for id_ in entries:
        names.pop(id_, None)
    names |= _retired_names(entries, previous.names.backends)
    names |= _backend_names(shared, ids)
    listener_names = previous.names.listeners
    told = _listener_names([x.listener for x in listeners], previous.listeners)
    nameless = [x for x in outlived - index.listener_ids if not index.of_listener.get(x)]
    if nameless or any(listener_names.get(x) != name for x, name in told.items()):
        listener_names = {x: name for x, name in {**listener_names, **told}.items() if x not in nameless}
    rejected = previous.rejected
    counts = {pool_id: pools.rejected(shares) for pool_id, (_, shares) in shared.items()}
    if any(rejected.get(x) != count for x, count in counts.items()):
        rejected = {**rejected, **counts}
    image = replace(
        previous,
        gateways=_gateways(plan, held),
        pools=_pools_after(previous, all_recipes, recipes),
        backends={**previous.backends, **entries},
        names=Names(listener_names, names),
        rejected=rejected,
        recipes=all_recipes,
        touched=Touched(
            frozenset(recipes),
            frozenset(entries),
            frozenset((*(x.listener_id for x in entries.values()), *(x.listener_id for x in listeners))),
        ),
    )
    return _indexed(image, index)


def _others(before: Plan, plan: Plan) -> list[int] | None:
    """Positions of listeners that are not as they were; None when there are others than before, or elsewhere."""
    if before is plan:
        return []
    if len(before.listeners) != len(plan.listeners) or before.gateway_addresses != plan.gateway_addresses:
        return None
    pairs = zip(before.listeners, plan.listeners, strict=True)
    found = [i for i, (old, new) in enumerate(pairs) if old is not new and old != new]
    for i in found:
        old = before.listeners[i]
        if plan.listeners[i] != replace(
            old,
            route=plan.listeners[i].route,
            route_kind=plan.listeners[i].route_kind,
            backends=plan.listeners[i].backends,
        ):
            return None
    return found


def _policy_id(numbered_listener: NumberedListener, ids: Mapping[PolicyEntry, int]) -> int:
    policy = numbered_listener.listener.policy
    return ids[policy_ids.entry_of(policy)] if policy is not None else 0


def _shared(
    listeners: Iterable[NumberedListener], endpoints: Mapping[PoolRef, tuple[Endpoint, ...]]
) -> dict[int, tuple[NumberedListener, tuple[Share, ...]]]:
    """pool_id -> whose it is, and how it is shared."""
    return {
        pool_id: (x, pools.shares(x.listener, version, endpoints))
        for x in listeners
        for version, pool_id in x.pools.items()
    }


def _wanted(
    shared: Mapping[int, tuple[NumberedListener, tuple[Share, ...]]],
) -> list[tuple[Identity, Endpoint]]:
    """Every backend that is in slots."""
    return [
        (_identity(x, share, endpoint), endpoint)
        for x, shares in shared.values()
        for share in sorted(shares, key=lambda share: share.ref.position)
        for endpoint in share.endpoints
    ]


def _recipe(listener: NumberedListener, shares: Iterable[Share], ids: Mapping[Identity, int]) -> Recipe:
    return tuple(
        pools.recipe_part(share, [ids[_identity(listener, share, x)] for x in share.endpoints]) for share in shares
    )


def _backend_names(
    shared: Mapping[int, tuple[NumberedListener, tuple[Share, ...]]], ids: Mapping[Identity, int]
) -> dict[int, BackendName]:
    """Names of the backends that are in slots."""
    return {
        ids[_identity(x, share, endpoint)]: BackendName(
            share.ref.name, share.ref.weight, _fraction(quota), endpoint.target
        )
        for x, shares in shared.values()
        for share in shares
        for endpoint, quota in zip(share.endpoints, share.quotas, strict=True)
    }


@lru_cache(maxsize=POOL_SLOTS + 1)  # not a number of its own for each of ten thousand backends
def _fraction(quota: int) -> float:
    return quota / POOL_SLOTS


def _gateways(plan: Plan, held: Held) -> dict[Address, int]:
    return {x: GATEWAY_NODE_ADDRESS if x in held.node_addresses else 0 for x in plan.gateway_addresses}


def _pools_after(
    previous: MapImage, recipes: Mapping[int, Recipe], changed: Collection[int] | None = None
) -> PoolTable:
    before = previous.pools
    return before.after(recipes, changed) if isinstance(before, PoolTable) else PoolTable(recipes)


def _indexed(image: MapImage, index: Index) -> MapImage:
    image = replace(image, index=index)
    index.move(image)
    return image


def _identity(listener: NumberedListener, share: Share, endpoint: Endpoint) -> Identity:
    return Identity(listener.listener_id, endpoint.address, endpoint.port, share.ref.position)


def _with_ids(listener: NumberedListener, share: Share, ids: Collection[Identity]) -> Share:
    return pools.only(share, [x for x in share.endpoints if _identity(listener, share, x) in ids])


def _retired_names(backends: Mapping[int, BackendEntry], known: Mapping[int, BackendName]) -> dict[int, BackendName]:
    """Names of the backends that nobody wants any more."""
    return {
        id_: replace(known[id_], share=0.0)
        for id_, entry in backends.items()
        if entry.state not in (BackendState.ACTIVE, BackendState.FREE) and id_ in known
    }


def _listener_names(
    listeners: Iterable[Listener], keys: Mapping[ListenerKey, ListenerEntry]
) -> dict[int, ListenerName]:
    return {
        keys[key].listener_id: ListenerName(x.gateway, x.name, x.port, x.protocol, x.route, x.route_kind)
        for x in listeners
        for address in x.addresses
        if (key := ListenerKey(address, x.port, x.protocol)) in keys
    }


def _outlived(backends: Mapping[int, BackendEntry], held: Held) -> dict[int, ListenerName]:
    """Names of the listeners that backends may outlive."""
    used = {x.listener_id for x in backends.values() if x.state is not BackendState.FREE}
    return {id_: name for id_, name in held.names.listeners.items() if id_ in used}


def _sorted(mapping: Mapping[int, _V]) -> dict[int, _V]:
    return dict(sorted(mapping.items()))
