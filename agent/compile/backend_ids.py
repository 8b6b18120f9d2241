"""Numbers of backends, and what becomes of those that nobody wants any more.

Decides ids, generations and states. Rules:
  - a backend is (listener_id, address, port, backendRef position); the same backend keeps its id;
  - its generation grows when the id passes to another endpoint: another identity (only ids that are FREE or GONE
    pass on), a return after GONE, or another pod behind the same address and port. A flow of an older generation
    finds it GONE;
  - wanted: ACTIVE. Not wanted any more: DRAINING while its address and port is some pool's endpoint, ABSENT when it
    is none's, GONE when it was ABSENT for the grace time (`Held.expired`) or when another pod serves at its address
    and port, FREE when no flow refers to it (`Held.unused`); GONE stays GONE until the id is used again.
Must never free an ACTIVE id or pass it on (it is in slots until they are rewritten), nor take a stale
`expired` for true once the endpoint is back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.compile.image import BACKEND_FIRST, BackendEntry, BackendState, Held
from routes.plan import Address, Endpoint, PoolRef

_REUSABLE = frozenset({BackendState.FREE, BackendState.GONE})
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
    carried: Iterable[int],
    endpoints: Mapping[PoolRef, tuple[Endpoint, ...]],
) -> tuple[Mapping[Identity, int], dict[int, BackendEntry]]:
    """Ids of the wanted that have room, and every entry but the carried ones: wanted, left over and free.

    `carried` are held ids that are wanted as they are, by listeners that are not compiled now. New ids are given in the
    order of `wanted`, the smallest first.
    """
    carried = frozenset(carried)
    rest = {id_: entry for id_, entry in held.backends.items() if id_ not in carried}
    known = {identity(rest[id_]): id_ for id_ in sorted(rest, reverse=True) if rest[id_].state is not BackendState.FREE}
    ids: dict[Identity, int] = {}
    entries: dict[int, BackendEntry] = {}
    for key, endpoint in wanted:
        id_ = known.get(key)
        if id_ is not None:
            ids[key] = id_
            entries[id_] = _kept(rest.pop(id_), endpoint, _target(held, id_))
    entries |= _left_over(rest, held, endpoints)
    in_use = {id_ for id_, entry in entries.items() if entry.state not in _REUSABLE}
    in_slots = {id_ for id_, entry in held.backends.items() if entry.state is BackendState.ACTIVE}
    blocked = in_use | in_slots | carried
    free = (id_ for id_ in range(BACKEND_FIRST, held.room.backends) if id_ not in blocked)
    for key, _ in wanted:
        if key not in ids and (id_ := next(free, None)) is not None:
            ids[key] = id_
            before = entries[id_].generation if id_ in entries else 0
            entries[id_] = BackendEntry(
                key.address, key.port, _next(before), BackendState.ACTIVE, key.listener_id, key.ref
            )
    return ids, entries


def _kept(entry: BackendEntry, endpoint: Endpoint, target: str) -> BackendEntry:
    other_pod = target and endpoint.target and target != endpoint.target
    if other_pod or entry.state is BackendState.GONE:
        return replace(entry, state=BackendState.ACTIVE, generation=_next(entry.generation))
    return replace(entry, state=BackendState.ACTIVE)


def _left_over(
    rest: Mapping[int, BackendEntry], held: Held, endpoints: Mapping[PoolRef, tuple[Endpoint, ...]]
) -> dict[int, BackendEntry]:
    present: dict[tuple[Address, int], set[str]] = {}
    if any(entry.state not in _REUSABLE for entry in rest.values()):
        for pool in endpoints.values():
            for endpoint in pool:
                present.setdefault((endpoint.address, endpoint.port), set()).add(endpoint.target)
    return {id_: replace(entry, state=_state(id_, entry, held, present)) for id_, entry in rest.items()}


def _state(id_: int, entry: BackendEntry, held: Held, present: Mapping[tuple[Address, int], set[str]]) -> BackendState:
    if entry.state is not BackendState.ACTIVE and id_ in held.unused:
        return BackendState.FREE
    if entry.state in _REUSABLE:
        return entry.state
    targets = present.get((entry.address, entry.port))
    if targets is None:
        return BackendState.GONE if id_ in held.expired else BackendState.ABSENT
    target = _target(held, id_)
    if target and target not in targets and "" not in targets:
        return BackendState.GONE
    return BackendState.DRAINING


def _target(held: Held, id_: int) -> str:
    name = held.names.backends.get(id_)
    return name.target if name is not None else ""


def _next(generation: int) -> int:
    return generation % _GENERATIONS + 1
