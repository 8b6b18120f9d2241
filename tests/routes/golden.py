"""What a `*.in.yaml` of tests/routes/goldens must come to, written so that a person can read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from routes.endpoints import judged
from routes.errors import InvalidObject
from routes.objects.base import Object
from routes.objects.core import EndpointSlice, Service
from routes.plan import Listener, Plan, Policy
from routes.resolved import resolved
from routes.status import Condition, GatewayClassStatus, GatewayStatus, PolicyStatus, RouteStatus, Statuses

from .decoded import decoded

GOLDENS = Path(__file__).parent / "goldens"


def inputs() -> list[Path]:
    return sorted(GOLDENS.glob("*.in.yaml"))


def out_path(in_path: Path) -> Path:
    return in_path.with_name(in_path.name.replace(".in.yaml", ".out.yaml"))


def documents(in_path: Path) -> list[object]:
    return list(yaml.safe_load_all(in_path.read_text()))


def outcome(in_documents: Iterable[object]) -> str:
    """Notes, plan, endpoints and statuses of the documents, or the error."""
    try:
        objects, notes = decoded(in_documents)
        found = resolved(objects)
    except InvalidObject as error:
        return _dumped({"error": str(error)})
    return _dumped(
        {
            "notes": notes,
            "plan": _plan(found.plan),
            "endpoints": _endpoints(objects, found.plan),
            "status": _statuses(found.statuses),
        }
    )


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "gateway addresses": [str(x) for x in plan.gateway_addresses],
        "listeners": [_listener(x) for x in plan.listeners],
    }


def _listener(listener: Listener) -> dict[str, Any]:
    return {
        "listener": f"{listener.gateway} {listener.name}",
        "at": f"{', '.join(map(str, listener.addresses))} port {listener.port}/{listener.protocol.name}",
        "route": f"{listener.route_kind} {listener.route}" if listener.route else None,
        "backends": [
            f"{x.position}: weight {x.weight}, {x.pool}"
            if x.pool
            else f"{x.position}: weight {x.weight}, REJECT {x.name}: {x.why}"
            for x in listener.backends
        ],
        **({"policy": _policy(listener.policy)} if listener.policy is not None else {}),
    }


def _policy(policy: Policy) -> dict[str, Any]:
    others = "denied" if policy.allow_only else "allowed"
    return {
        "of": list(policy.names),
        "sources": {
            **{str(x.network): "allowed" if x.allowed else "denied" for x in policy.sources},
            "others": others,
        },
        "denied": "Reject" if policy.reject else "Drop",
        **({"idle": f"TCP {policy.idle_tcp}, UDP {policy.idle_udp}"} if policy.idle_tcp or policy.idle_udp else {}),
        **({"per listener": policy.per_listener} if policy.per_listener else {}),
        **({"per source": str(policy.per_source)} if policy.per_source else {}),
        **({"affinity": str(policy.affinity)} if policy.affinity else {}),
    }


def _endpoints(objects: Iterable[Object], plan: Plan) -> dict[str, list[str]]:
    slices = [x for x in objects if isinstance(x, EndpointSlice)]
    services = [x for x in objects if isinstance(x, Service)]
    forbidden = dict.fromkeys(plan.gateway_addresses, "is a gateway address")
    pools, refused = judged(slices, services, forbidden=forbidden)
    found = {
        str(pool): [f"{x.address} port {x.port} {x.state.value} {x.target}".rstrip() for x in known]
        for pool, known in sorted(pools.items())
    }
    return {**found, "refused": [str(x) for x in refused]} if refused else found


def _statuses(statuses: Statuses) -> dict[str, Any]:
    return {
        f"{x.key.kind} {x.key}": _status(x)
        for group in (statuses.classes, statuses.gateways, statuses.routes, statuses.policies)
        for x in group
    }


def _status(status: GatewayClassStatus | GatewayStatus | RouteStatus | PolicyStatus) -> Mapping[str, Any]:
    match status:
        case GatewayClassStatus():
            return _conditions(status.conditions)
        case GatewayStatus():
            return {
                **_conditions(status.conditions),
                "addresses": [str(x) for x in status.addresses],
                "listeners": {
                    x.name: {
                        **_conditions(x.conditions),
                        "kinds": [kind.kind for kind in x.supported_kinds],
                        "attached": x.attached_routes,
                    }
                    for x in status.listeners
                },
            }
        case RouteStatus():
            return {
                "/".join(
                    filter(None, (x.parent.namespace, x.parent.name, x.parent.section_name, str(x.parent.port or "")))
                ): _conditions(x.conditions)
                for x in status.parents
            }
        case PolicyStatus():
            return {
                "/".join(filter(None, (x.ancestor.kind, x.ancestor.name, x.ancestor.section_name))): _conditions(
                    x.conditions
                )
                for x in status.ancestors
            }


def _conditions(conditions: Iterable[Condition]) -> dict[str, str]:
    """`Accepted: True Accepted @3: accepted`; @3 is the observed generation."""
    return {x.type: f"{x.status} {x.reason} @{x.observed_generation}: {x.message}" for x in conditions}


def _dumped(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=200, allow_unicode=True)
