"""The map image, put together.

Decides what is computed anew and what is taken over. Rules: pure; the same arguments in any order give equal images;
a pool is computed only if its recipe changed; `recompile` equals `compile`. Must never depend on `previous` for
anything but time: without it the image is the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from agent.compile import pools
from agent.compile.backend_ids import Identity, assigned
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
)
from agent.compile.listener_ids import NumberedListener, numbered, renumbered
from agent.compile.pools import Share
from agent.compile.room import fitting
from routes.plan import Endpoint, Plan, PoolRef

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
    plan, too_many = fitting(plan, held)
    listeners, idless = numbered(plan.listeners, held)
    keys = {key: entry for x in listeners for key, entry in x.entries()}
    kept = replace(_NOTHING, left_out={**idless, **too_many})
    return _built(plan, endpoints, held, listeners, keys=keys, previous=previous, kept=kept)


def recompile(
    previous: MapImage,
    plan: Plan,
    endpoints: Mapping[PoolRef, tuple[Endpoint, ...]],
    held: Held,
    changed: Collection[PoolRef],
) -> MapImage:
    """The same as `compile` when since `previous` only the endpoints of the changed pools are different.

    Costs what the listeners that use those pools cost. `plan` must be the one that `previous` was made of, `previous`
    must have left nothing out, and `held` be what the kernel holds since `previous` was applied.
    """
    listeners = tuple(
        renumbered(x, previous.listeners) for x in plan.listeners if any(ref.pool in changed for ref in x.backends)
    )
    kept = _without(previous, listeners)
    return _built(plan, endpoints, held, listeners, keys=previous.listeners, previous=previous, kept=kept)


def _built(
    plan: Plan,
    endpoints: Mapping[PoolRef, tuple[Endpoint, ...]],
    held: Held,
    listeners: Sequence[NumberedListener],
    *,
    keys: Mapping[ListenerKey, ListenerEntry],
    previous: MapImage,
    kept: MapImage,
) -> MapImage:
    """`listeners` are compiled; `kept` has what belongs to the plan's other listeners."""
    from agent.compile.fill import slots  # noqa: PLC0415 - it says why

    shared = {
        pool_id: (x, pools.shares(x.listener, version, endpoints))
        for x in listeners
        for version, pool_id in x.pools.items()
    }
    wanted = [
        (_identity(x, share, endpoint), endpoint)
        for x, shares in shared.values()
        for share in sorted(shares, key=lambda share: share.ref.position)
        for endpoint in share.endpoints
    ]
    ids, backends = assigned(wanted, held, kept.backends, endpoints)
    left_out = dict(kept.left_out)
    if any(key not in ids for key, _ in wanted):
        for pool_id, (x, shares) in shared.items():
            shared[pool_id] = (x, tuple(_with_ids(x, share, ids) for share in shares))
            if shared[pool_id] != (x, shares):
                left_out.setdefault((x.listener.gateway, x.listener.name), "backends")
    filled, recipes, rejected = dict(kept.pools), dict(kept.recipes), dict(kept.rejected)
    names = {**kept.names.backends, **_backend_names(backends, held)}
    for pool_id, (x, shares) in shared.items():
        numbers = [[ids[_identity(x, share, endpoint)] for endpoint in share.endpoints] for share in shares]
        recipe = tuple(pools.recipe_part(*pair) for pair in zip(shares, numbers, strict=True))
        known = previous.recipes.get(pool_id) == recipe
        filled[pool_id] = previous.pools[pool_id] if known else slots(recipe)
        recipes[pool_id] = recipe
        rejected[pool_id] = pools.rejected(shares)
        for share, own in zip(shares, numbers, strict=True):
            for endpoint, quota, id_ in zip(share.endpoints, share.quotas, own, strict=True):
                names[id_] = BackendName(share.ref.name, share.ref.weight, quota / POOL_SLOTS, endpoint.target)
    backends |= kept.backends
    return MapImage(
        gateways={x: GATEWAY_NODE_ADDRESS if x in held.node_addresses else 0 for x in plan.gateway_addresses},
        listeners=keys,
        pools=_sorted(filled),
        backends=_sorted(backends),
        names=Names(_sorted({**_outlived(backends, held), **_listener_names(plan, keys)}), _sorted(names)),
        rejected=_sorted(rejected),
        recipes=_sorted(recipes),
        left_out=left_out,
    )


def _identity(listener: NumberedListener, share: Share, endpoint: Endpoint) -> Identity:
    return Identity(listener.listener_id, endpoint.address, endpoint.port, share.ref.position)


def _with_ids(listener: NumberedListener, share: Share, ids: Collection[Identity]) -> Share:
    return pools.only(share, [x for x in share.endpoints if _identity(listener, share, x) in ids])


def _without(image: MapImage, listeners: Iterable[NumberedListener]) -> MapImage:
    """What an image has of the plan's other listeners: their pools, and the backends in them."""
    ids = {x.listener_id for x in listeners}
    pool_ids = {pool_id for x in listeners for pool_id in x.pools.values()}
    backends = {
        id_: entry
        for id_, entry in image.backends.items()
        if entry.state is BackendState.ACTIVE and entry.listener_id not in ids
    }
    return replace(
        image,
        pools={id_: x for id_, x in image.pools.items() if id_ not in pool_ids},
        recipes={id_: x for id_, x in image.recipes.items() if id_ not in pool_ids},
        rejected={id_: x for id_, x in image.rejected.items() if id_ not in pool_ids},
        backends=backends,
        names=Names(image.names.listeners, {id_: image.names.backends[id_] for id_ in backends}),
    )


def _backend_names(backends: Mapping[int, BackendEntry], held: Held) -> dict[int, BackendName]:
    """Names of the backends that nobody wants any more."""
    return {
        id_: replace(held.names.backends[id_], share=0.0)
        for id_, entry in backends.items()
        if entry.state not in (BackendState.ACTIVE, BackendState.FREE) and id_ in held.names.backends
    }


def _listener_names(plan: Plan, keys: Mapping[ListenerKey, ListenerEntry]) -> dict[int, ListenerName]:
    return {
        keys[key].listener_id: ListenerName(x.gateway, x.name, x.port, x.protocol, x.route, x.route_kind)
        for x in plan.listeners
        for address in x.addresses
        if (key := ListenerKey(address, x.port, x.protocol)) in keys
    }


def _outlived(backends: Mapping[int, BackendEntry], held: Held) -> dict[int, ListenerName]:
    """Names of the listeners that backends may outlive."""
    used = {x.listener_id for x in backends.values() if x.state is not BackendState.FREE}
    return {id_: name for id_, name in held.names.listeners.items() if id_ in used}


def _sorted(mapping: Mapping[int, _V]) -> dict[int, _V]:
    return dict(sorted(mapping.items()))
