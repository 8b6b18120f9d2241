"""Numbers of listeners and pools, the same as long as their addresses and ports are.

Decides listener ids and pool ids against what the kernel holds. Rules: a listener is its (address, port, protocol)
keys, whatever its name or Gateway; where keys were split or joined, the listener with the most keys of an id keeps
it; a new id is the smallest that nobody holds: neither a key in the kernel (a packet may be between the look-up of
the listener and that of its pool) nor a backend that outlives its listener (its counters and names tell the
listener); who gets none is left out, a listener or one family of it, and named. Must never give one id twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.compile.image import LISTENER_FIRST, POOL_FIRST, BackendState, Held, ListenerEntry, ListenerKey
from routes.plan import Address, Listener


@dataclass(frozen=True, slots=True)
class NumberedListener:
    """`pools`: IP version -> pool_id, for each family that the listener has an address of."""

    listener: Listener
    listener_id: int
    pools: Mapping[int, int]

    def entries(self) -> Iterator[tuple[ListenerKey, ListenerEntry]]:
        for address in self.listener.addresses:
            yield _key(self.listener, address), ListenerEntry(self.listener_id, self.pools[address.version])


def numbered(
    listeners: Sequence[Listener], held: Held
) -> tuple[tuple[NumberedListener, ...], Mapping[tuple[str, str], str]]:
    """In the order given, with the addresses that have a pool; and MapImage.left_out."""
    outliving = {
        entry.listener_id
        for id_, entry in held.backends.items()
        if entry.state is not BackendState.FREE and id_ not in held.unused
    }
    held_ids = {key: entry.listener_id for key, entry in held.listeners.items()}
    keys = [[_key(x, a) for a in x.addresses] for x in listeners]
    ids = _assigned(keys, held_ids, outliving, LISTENER_FIRST, held.room.listener_ids)
    left_out = {(x.gateway, x.name): "listeners" for x, id_ in zip(listeners, ids, strict=True) if id_ is None}
    placed = [(x, id_) for x, id_ in zip(listeners, ids, strict=True) if id_ is not None]
    families = [(i, version) for i, (x, _) in enumerate(placed) for version in sorted({a.version for a in x.addresses})]
    keys = [[_key(placed[i][0], a) for a in placed[i][0].addresses if a.version == v] for i, v in families]
    held_pools = {key: entry.pool_id for key, entry in held.listeners.items()}
    pools: list[dict[int, int]] = [{} for _ in placed]
    pool_ids = _assigned(keys, held_pools, (), POOL_FIRST, held.room.pools)
    for (i, version), pool_id in zip(families, pool_ids, strict=True):
        if pool_id is not None:
            pools[i][version] = pool_id
        else:
            left_out[placed[i][0].gateway, placed[i][0].name] = "pools"
    return tuple(
        NumberedListener(replace(x, addresses=tuple(a for a in x.addresses if a.version in own)), id_, own)
        for (x, id_), own in zip(placed, pools, strict=True)
        if own
    ), left_out


def renumbered(listener: Listener, entries: Mapping[ListenerKey, ListenerEntry]) -> NumberedListener:
    """A listener whose keys all have entries already."""
    own = {address.version: entries[_key(listener, address)] for address in listener.addresses}
    listener_id = next(iter(own.values())).listener_id
    return NumberedListener(listener, listener_id, {version: entry.pool_id for version, entry in own.items()})


def _key(listener: Listener, address: Address) -> ListenerKey:
    return ListenerKey(address, listener.port, listener.protocol)


def _assigned(
    owners: Sequence[Sequence[ListenerKey]], held: Mapping[ListenerKey, int], taken: Iterable[int], first: int, end: int
) -> list[int | None]:
    """An id below `end` for each owner of keys: held ones by the number of keys, then the smallest free ones in order.

    None when there is none left.
    """
    claims = Counter((held[key], i) for i, keys in enumerate(owners) for key in keys if key in held)
    ids: dict[int, int] = {}
    given: set[int] = set()
    for id_, i in sorted(claims, key=lambda claim: (-claims[claim], claim)):
        if i not in ids and id_ not in given:
            ids[i] = id_
            given.add(id_)
    given.update(held.values(), taken)
    free = (id_ for id_ in range(first, end) if id_ not in given)
    return [ids[i] if i in ids else next(free, None) for i in range(len(owners))]
