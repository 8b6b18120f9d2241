"""Numbers of backends, and what becomes of those that nobody wants any more.

Decides ids, generations and states. Rules:
  - a backend is (listener_id, address, port, backendRef position); the same backend keeps its id;
  - its generation grows when the id passes to another endpoint: another identity (only ids that are FREE or GONE
    pass on), a return after GONE, or another pod behind the same address and port. A flow of an older generation
    finds it GONE;
  - wanted: ACTIVE. Not wanted any more: DRAINING while its address and port is some pool's endpoint, ABSENT when it
    is none's, GONE when it was ABSENT for the grace time (`Held.expired`) or when another pod serves at its address
    and port, FREE when no flow refers to it (`Held.unused`); GONE stays GONE until the id is used again;
  - a pod that is an endpoint at another port only is still there: its TCP flows go on (DRAINING), those of UDP, which
    need not, choose again (ABSENT).
Must never free an ACTIVE id or pass it on (it is in slots until they are rewritten), nor take a stale
`expired` for true once the endpoint is back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import chain
from types import MappingProxyType

from agent.compile.image import BACKEND_FIRST, BackendEntry, BackendState, Held
from agent.compile.index import REUSABLE, Index
from routes.plan import Address, Endpoint, PoolRef, Protocol

_GENERATIONS = 65535


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a backend the same one."""

    listener_id: int
    address: Address
    port: int
    ref: int


def identity(entry: BackendEntry) -> Identity:
    return Identity(entry.listener_id, entry.address, entry.port, entry.ref)


def assigned(
    wanted: Sequence[tuple[Identity, Endpoint]],
    held: Held,
    endpoints: Mapping[PoolRef, tuple[Endpoint, ...]],
) -> tuple[Mapping[Identity, int], dict[int, BackendEntry]]:
    """Ids of the wanted that have room, and every entry: wanted, left over and free.

    New ids are given in the order of `wanted`, the smallest first.
    """
    targets = {id_: x.target for id_, x in held.names.backends.items()}
    ids, entries, rest = _found(wanted, dict(held.backends), targets)
    present: dict[Address, list[Endpoint]] = {}
    if any(entry.state not in REUSABLE for entry in rest.values()):
        for pool in endpoints.values():
            for endpoint in pool:
                present.setdefault(endpoint.address, []).append(endpoint)
    entries |= {id_: replace(x, state=_state(id_, x, held, present, targets)) for id_, x in rest.items()}
    in_use = {id_ for id_, entry in entries.items() if entry.state not in REUSABLE}
    in_slots = {id_ for id_, entry in held.backends.items() if entry.state is BackendState.ACTIVE}
    blocked = in_use | in_slots
    free = (id_ for id_ in range(BACKEND_FIRST, held.room.backends) if id_ not in blocked)
    _give(wanted, free, ids, entries)
    return ids, entries


def reassigned(
    wanted: Sequence[tuple[Identity, Endpoint]], held: Held, listeners: Collection[int], index: Index
) -> tuple[Mapping[Identity, int], dict[int, BackendEntry]]:
    """The same as `assigned` for the backends of some listeners, all else that they want being as it was.

    The entries are those of these listeners and of backends that nobody wants any more.
    """
    concerned = {id_ for x in listeners for id_ in index.of_listener.get(x, ())} | index.retired
    before = {id_: held.backends[id_] for id_ in concerned}
    targets = {id_: held.names.backends[id_].target for id_ in concerned if id_ in held.names.backends}
    ids, entries, rest = _found(wanted, dict(before), targets)
    entries |= {id_: replace(x, state=_state(id_, x, held, index.present, targets)) for id_, x in rest.items()}
    given_back = [
        id_
        for id_, x in entries.items()
        if x.state in REUSABLE and before[id_].state not in REUSABLE and before[id_].state is not BackendState.ACTIVE
    ]
    ends = chain(index.spare, range(index.top, held.room.backends))
    free = (x for x in merge(ends, sorted(given_back)) if x not in entries or entries[x].state in REUSABLE)
    _give(wanted, (x for x in free if x < held.room.backends), ids, entries, held.backends)
    return ids, entries


def _found(
    wanted: Sequence[tuple[Identity, Endpoint]], held: dict[int, BackendEntry], targets: Mapping[int, str]
) -> tuple[dict[Identity, int], dict[int, BackendEntry], dict[int, BackendEntry]]:
    """Ids and entries of the wanted that are held, and what is held besides."""
    known = {identity(held[id_]): id_ for id_ in sorted(held, reverse=True) if held[id_].state is not BackendState.FREE}
    ids: dict[Identity, int] = {}
    entries: dict[int, BackendEntry] = {}
    for key, endpoint in wanted:
        id_ = known.get(key)
        if id_ is not None:
            ids[key] = id_
            entries[id_] = _kept(held.pop(id_), endpoint, targets.get(id_, ""))
    return ids, entries, held


def _give(
    wanted: Iterable[tuple[Identity, Endpoint]],
    free: Iterator[int],
    ids: dict[Identity, int],
    entries: dict[int, BackendEntry],
    held: Mapping[int, BackendEntry] = MappingProxyType({}),
) -> None:
    """Free ids to those of the wanted that have none, as far as there are."""
    for key, _ in wanted:
        if key not in ids and (id_ := next(free, None)) is not None:
            ids[key] = id_
            last = entries.get(id_) or held.get(id_)
            before = last.generation if last is not None else 0
            entries[id_] = BackendEntry(
                key.address, key.port, _next(before), BackendState.ACTIVE, key.listener_id, key.ref
            )


def _kept(entry: BackendEntry, endpoint: Endpoint, target: str) -> BackendEntry:
    other_pod = target and endpoint.target and target != endpoint.target
    if other_pod or entry.state is BackendState.GONE:
        return replace(entry, state=BackendState.ACTIVE, generation=_next(entry.generation))
    return replace(entry, state=BackendState.ACTIVE)


def _state(
    id_: int,
    entry: BackendEntry,
    held: Held,
    present: Mapping[Address, Collection[Endpoint]],
    own_targets: Mapping[int, str],
) -> BackendState:
    """What becomes of a backend that nobody wants; `present` has the endpoints at an address."""
    if entry.state is not BackendState.ACTIVE and id_ in held.unused:
        return BackendState.FREE
    if entry.state in REUSABLE:
        return entry.state
    there = present.get(entry.address, ())
    own = own_targets.get(id_, "")
    at_port = {x.target for x in there if x.port == entry.port}
    if at_port:
        return BackendState.DRAINING if _may_be(own, at_port) else BackendState.GONE
    listener = held.names.listeners.get(entry.listener_id)
    if (listener is None or listener.protocol is Protocol.TCP) and _may_be(own, {x.target for x in there}):
        return BackendState.DRAINING
    return BackendState.GONE if id_ in held.expired else BackendState.ABSENT


def _may_be(target: str, targets: Collection[str]) -> bool:
    """Whether one of those may be the pod: not every endpoint says which it is."""
    return bool(targets) and (not target or target in targets or "" in targets)


def _next(generation: int) -> int:
    return generation % _GENERATIONS + 1
