"""What the kernel was brought to hold, in words: the listeners of a report.

Decides: which entries of the tables belong to which listener and backendRef, and why a backendRef gets nothing.
Rules: pure; every listener that the kernel holds is named, with the ids under which its counters stand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from agent.compile import backends_of
from agent.compile.image import BackendEntry, BackendName, ListenerKey, MapImage
from agent.pipeline import Wanted
from agent.report import BackendReport, EndpointReport, ListenerReport
from agent.settings import option
from routes.plan import Address, EndpointState, Listener, WeightedRef


def keys_of(listener: Listener) -> frozenset[ListenerKey]:
    """Every entry of table `listeners` that a listener of the plan needs."""
    return frozenset(ListenerKey(x, listener.port, listener.protocol) for x in listener.addresses)


def listeners(wanted: Wanted, image: MapImage) -> tuple[ListenerReport, ...]:
    """The plan's listeners as `image` holds them; one that it does not hold at all is left out."""
    by_listener = backends_of(image, {x.listener_id for x in image.listeners.values()})
    found = []
    for listener in wanted.plan.listeners:
        ids = {image.listeners[x].listener_id for x in keys_of(listener) if x in image.listeners}
        for number in ids:  # one: a listener has the same id at all its addresses
            found.append(_listener(number, listener, wanted, image, by_listener.get(number, {})))
    return tuple(found)


def listeners_after(before: Sequence[ListenerReport], wanted: Wanted, image: MapImage) -> tuple[ListenerReport, ...]:
    """`listeners`, where `before` are those of the image that this one was recompiled from."""
    if image.touched is None:
        return listeners(wanted, image)
    by_listener = backends_of(image, image.touched.listeners)
    plan, positions = wanted.plan.listeners, wanted.resolved.positions
    found = list(before)
    for place, told in enumerate(before):
        if told.id in by_listener:
            listener = plan[positions[told.gateway, told.name]]
            found[place] = _listener(told.id, listener, wanted, image, by_listener[told.id])
    return tuple(found)


def left_out(image: MapImage) -> dict[tuple[str, str], str]:
    """(gateway, listener) -> why the kernel does not hold all that it asks for."""
    return {
        x: f"table {table} has no room for all of it; start the agent again with a larger {option(f'max_{table}')}"
        for x, table in image.left_out.items()
    }


def _listener(
    number: int, listener: Listener, wanted: Wanted, image: MapImage, entries: Mapping[int, BackendEntry]
) -> ListenerReport:
    total = sum(x.weight for x in listener.backends)
    names = image.names.backends
    of_ref = {
        ref.position: {
            i: x for i, x in entries.items() if x.ref == ref.position and i in names and names[i].name == ref.name
        }
        for ref in listener.backends
    }
    placed = {i for found in of_ref.values() for i in found}
    return ListenerReport(
        id=number,
        gateway=listener.gateway,
        name=listener.name,
        addresses=_texts(listener.addresses),
        port=listener.port,
        protocol=listener.protocol.name,
        route=listener.route,
        route_kind=listener.route_kind,
        backends=tuple(
            BackendReport(
                position=ref.position,
                name=ref.name,
                weight=ref.weight,
                share=ref.weight / total if total else 0.0,
                why=_why(ref, listener, wanted),
                endpoints=_endpoints(of_ref[ref.position], names),
            )
            for ref in listener.backends
        ),
        policies=listener.policy.names if listener.policy is not None else (),
        leftover=_endpoints({i: x for i, x in entries.items() if i not in placed}, names),
    )


def _endpoints(entries: Mapping[int, BackendEntry], names: Mapping[int, BackendName]) -> tuple[EndpointReport, ...]:
    nameless = BackendName("", 0, 0.0, "")
    return tuple(
        EndpointReport(
            id=number,
            address=str(x.address),
            port=x.port,
            state=sys.intern(x.state.name.lower()),
            share=names.get(number, nameless).share,
            target=names.get(number, nameless).target,
        )
        for number, x in sorted(entries.items())
    )


@lru_cache(maxsize=1024)  # the listeners of a Gateway have the same
def _texts(addresses: tuple[Address, ...]) -> tuple[str, ...]:
    return tuple(map(str, addresses))


def _why(ref: WeightedRef, listener: Listener, wanted: Wanted) -> str:
    """Why a backendRef's share is rejected, as a whole or for one address family."""
    if ref.pool is None:
        return ref.why
    ready = {x.address.version for x in wanted.endpoints.get(ref.pool, ()) if x.state is EndpointState.READY}
    lacking = sorted({x.version for x in listener.addresses} - ready)
    if not lacking or not ref.weight:
        return ""
    return "no ready endpoint" if not ready else _lack(lacking)


def _lack(versions: Iterable[int]) -> str:
    return " and ".join(f"no ready IPv{x} endpoint" for x in versions)
