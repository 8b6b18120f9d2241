"""Programmed comes true only for what was read back, and statuses read as the API server takes them."""

from __future__ import annotations

import pytest
import yaml

from routes.render import rendered
from routes.resolved import resolved
from routes.status import Condition, GatewayStatus, Statuses, programmed

from .decoded import decoded

MANIFESTS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock, generation: 2}
spec: {controllerName: penstock.dev/gateway}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, generation: 3}
spec:
  gatewayClassName: penstock
  addresses: [{value: 10.0.0.1}]
  listeners:
    - {name: a, protocol: TCP, port: 80}
    - {name: b, protocol: UDP, port: 80}
    - {name: http, protocol: HTTP, port: 81}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: r, namespace: default, generation: 4}
spec:
  parentRefs: [{name: gw, sectionName: a, port: 80}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
"""


@pytest.fixture
def statuses() -> Statuses:
    return resolved(decoded(yaml.safe_load_all(MANIFESTS))[0]).statuses


@pytest.mark.parametrize(
    ("held", "gateway", "listeners"),
    [
        ([], "Unknown", {"a": "Unknown", "b": "Unknown", "http": "False"}),
        ([("default/gw", "a")], "Unknown", {"a": "True", "b": "Unknown", "http": "False"}),
        ([("default/gw", "a"), ("default/gw", "b")], "True", {"a": "True", "b": "True", "http": "False"}),
        (
            [("default/other", "a"), ("default/gw", "http")],
            "Unknown",
            {"a": "Unknown", "b": "Unknown", "http": "False"},
        ),
    ],
    ids=["nothing held", "one held", "all held", "others held"],
)
def test_programmed_follows_what_is_held(
    statuses: Statuses, held: list[tuple[str, str]], gateway: str, listeners: dict[str, str]
) -> None:
    (told,) = programmed(statuses, frozenset(held)).gateways
    assert _programmed(told.conditions) == gateway
    assert {x.name: _programmed(x.conditions) for x in told.listeners} == listeners


def test_what_cannot_be_held_says_why(statuses: Statuses) -> None:
    (told,) = programmed(statuses, {("default/gw", "b")}, {("default/gw", "a"): "table pools is full"}).gateways
    assert _programmed(told.conditions) == "False"
    assert {x.name: _programmed(x.conditions) for x in told.listeners} == {"a": "False", "b": "True", "http": "False"}
    (said,) = (x for x in told.conditions if x.type == "Programmed")
    assert (said.reason, said.message) == ("Pending", "listener a: table pools is full")
    (said,) = (x for y in told.listeners if y.name == "a" for x in y.conditions if x.type == "Programmed")
    assert (said.reason, said.message) == ("Pending", "table pools is full")


def test_programmed_changes_nothing_else(statuses: Statuses) -> None:
    told = programmed(statuses, frozenset({("default/gw", "a"), ("default/gw", "b")}))
    assert (told.classes, told.routes) == (statuses.classes, statuses.routes)
    assert [_but_programmed(x) for x in told.gateways] == [_but_programmed(x) for x in statuses.gateways]


def test_route_status_as_the_api_server_takes_it(statuses: Statuses) -> None:
    assert rendered(statuses.routes[0]) == {
        "parents": [
            {
                "parentRef": {
                    "group": "gateway.networking.k8s.io",
                    "kind": "Gateway",
                    "name": "gw",
                    "sectionName": "a",
                    "port": 80,
                },
                "controllerName": "penstock.dev/gateway",
                "conditions": [
                    {
                        "type": "Accepted",
                        "status": "True",
                        "reason": "Accepted",
                        "message": "accepted",
                        "observedGeneration": 4,
                    },
                    {
                        "type": "ResolvedRefs",
                        "status": "False",
                        "reason": "BackendNotFound",
                        "message": "backendRefs[0] default/web:80: there is no such Service",
                        "observedGeneration": 4,
                    },
                ],
            }
        ]
    }


def test_gateway_status_as_the_api_server_takes_it(statuses: Statuses) -> None:
    told = rendered(statuses.gateways[0])
    assert told["addresses"] == [{"type": "IPAddress", "value": "10.0.0.1"}]
    assert [(x["name"], x["supportedKinds"], x["attachedRoutes"]) for x in told["listeners"]] == [
        ("a", [{"group": "gateway.networking.k8s.io", "kind": "TCPRoute"}], 1),
        ("b", [{"group": "gateway.networking.k8s.io", "kind": "UDPRoute"}], 0),
        ("http", [], 0),
    ]


def _programmed(conditions: tuple[Condition, ...]) -> str:
    return next(x.status for x in conditions if x.type == "Programmed")


def _but_programmed(status: GatewayStatus) -> list[object]:
    found: list[object] = [status.key, status.addresses, [x for x in status.conditions if x.type != "Programmed"]]
    return found + [[c for c in x.conditions if c.type != "Programmed"] for x in status.listeners]
