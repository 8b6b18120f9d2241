"""What a `*.in.yaml` of tests/agent/compile/goldens must come to: states that follow each other, and the maps of each.

A document is one step; what a step does not say is as in the step before. Its fields:
  listeners  `GATEWAY NAME ADDRESS[,ADDRESS] PORT/PROTOCOL` -> backendRefs `NAMESPACE/SERVICE:PORT weight N`, with `bad`
             at the end for one that leads nowhere; no list: no route is attached
  endpoints  `NAMESPACE/SERVICE:PORT` -> `ADDRESS PORT`, with `draining` and `pod=NAME` where wanted
  expired, unused (backend ids), node (addresses), restarted (the agent forgot all names): for this step only
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml

from agent.compile import Held, MapImage, Names, compile
from agent.compile.image import BACKEND_REJECT, GATEWAY_NODE_ADDRESS, POOL_SLOTS
from routes.plan import Endpoint, EndpointState, Listener, Plan, PoolRef, Protocol, WeightedRef

GOLDENS = Path(__file__).parent / "goldens"


def inputs() -> list[Path]:
    return sorted(GOLDENS.glob("*.in.yaml"))


def out_path(in_path: Path) -> Path:
    return in_path.with_name(in_path.name.replace(".in.yaml", ".out.yaml"))


def documents(in_path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(in_path.read_text()))


def outcome(steps: Iterable[dict[str, Any]]) -> str:
    """The image of each step, each held by the kernel before the next."""
    told: list[dict[str, Any]] = []
    state: dict[str, Any] = {"listeners": {}, "endpoints": {}}
    held = Held()
    image: MapImage | None = None
    for step in steps:
        state |= {key: step[key] or {} for key in state if key in step}
        held = replace(
            held,
            expired=frozenset(step.get("expired", ())),
            unused=frozenset(step.get("unused", ())),
            node_addresses=frozenset(map(ip_address, step.get("node", ()))),
            names=Names() if step.get("restarted") else held.names,
        )
        before = image
        plan, pools = plan_and_endpoints(state["listeners"], state["endpoints"])
        image = compile(plan, pools, held)
        told.append(_image(image, before))
        held = Held(image.listeners, image.backends, names=image.names)
    return yaml.safe_dump_all(told, sort_keys=False, width=200, explicit_start=len(told) > 1)


def plan_and_endpoints(
    listeners: Mapping[str, list[str] | None], endpoints: Mapping[str, list[str]]
) -> tuple[Plan, Mapping[PoolRef, tuple[Endpoint, ...]]]:
    """The plan and the endpoints; a Service port has its endpoints for TCP and for UDP."""
    planned = sorted((_listener(text, refs) for text, refs in listeners.items()), key=lambda x: (x.gateway, x.name))
    addresses = sorted({a for x in planned for a in x.addresses}, key=lambda x: (x.version, int(x)))
    pools = {
        _pool(name, protocol): tuple(_endpoint(x) for x in found)
        for name, found in endpoints.items()
        for protocol in Protocol
    }
    return Plan(tuple(planned), tuple(addresses)), pools


def _listener(text: str, refs: list[str] | None) -> Listener:
    gateway, name, addresses, place = text.split()
    port, protocol = place.split("/")
    backends = []
    for position, ref in enumerate(refs or ()):
        words = ref.split()
        pool = None if words[-1] == "bad" else _pool(words[0], Protocol[protocol])
        backends.append(WeightedRef(position, int(words[2]), pool, words[0], "" if pool else "bad"))
    return Listener(
        gateway=gateway,
        name=name,
        addresses=tuple(map(ip_address, addresses.split(","))),
        port=int(port),
        protocol=Protocol[protocol],
        route=f"default/{name}" if refs is not None else None,
        route_kind=f"{protocol}Route" if refs is not None else None,
        backends=tuple(backends),
    )


def _pool(name: str, protocol: Protocol) -> PoolRef:
    namespace, _, rest = name.partition("/")
    service, _, port = rest.partition(":")
    return PoolRef(namespace, service, int(port), protocol)


def _endpoint(text: str) -> Endpoint:
    address, port, *more = text.split()
    state = EndpointState.DRAINING if "draining" in more else EndpointState.READY
    target = next((x.removeprefix("pod=") for x in more if x.startswith("pod=")), "")
    return Endpoint(ip_address(address), int(port), state, target)


def _image(image: MapImage, before: MapImage | None) -> dict[str, Any]:
    return {
        "gateways": {
            str(a): "node address" if x == GATEWAY_NODE_ADDRESS else "ours" for a, x in image.gateways.items()
        },
        "listeners": {
            f"{key.address} {key.port}/{key.protocol.name}": f"listener {entry.listener_id}, pool {entry.pool_id}"
            for key, entry in image.listeners.items()
        },
        "pools": {id_: _slots(pool, before.pools.get(id_) if before else None) for id_, pool in image.pools.items()},
        "backends": {
            id_: f"{entry.state.name} {entry.address} {entry.port}, generation {entry.generation}, "
            f"listener {entry.listener_id}, ref {entry.ref}{_name(image, id_)}"
            for id_, entry in image.backends.items()
        },
        "names": {
            id_: f"{x.gateway} {x.listener}, {x.route_kind} {x.route}" for id_, x in image.names.listeners.items()
        },
    }


def _slots(pool: bytes, before: bytes | None) -> dict[str, str]:
    slots = array("I", pool)
    told = {
        "REJECT" if id_ == BACKEND_REJECT else f"backend {id_}": f"{count} slots, {100 * count / POOL_SLOTS:.2f} %"
        for id_, count in sorted(Counter(slots).items())
    }
    if before is not None:
        told["changed"] = f"{sum(x != y for x, y in zip(slots, array('I', before), strict=True))} slots"
    return told


def _name(image: MapImage, id_: int) -> str:
    name = image.names.backends.get(id_)
    if name is None:
        return ", no name"
    pod = f", pod {name.target}" if name.target else ""
    return f", {name.name} weight {name.weight}, share {name.share:.4f}{pod}"
