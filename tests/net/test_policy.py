"""FlowPolicies under real clients: who is let in, and what becomes of the others; old flows never notice an edit.

Two clients' addresses, by family; policies are edited while the gateway runs, and each test leaves none behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_network
from socket import socket
from typing import Any

import pytest

from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.servers.witness import PORT, witness
from lab.topology import CLIENT, FAMILIES, GATEWAY, Lab, Shape
from lab.traffic.ask import REFUSED, SILENCE, ask, associate, connect
from lab.wait import until
from tests.net.policies import policies, policy

PODS = {"a": 11, "b": 12}
OTHER = {family: address + 1 for family, address in CLIENT.items()}
WORLD = World(
    listeners=tuple(Listener(protocol, PORT, {"a": 1, "b": 1}) for protocol in ("TCP", "UDP")),
    services={name: (Pod(number),) for name, number in PODS.items()},
)


@pytest.fixture(scope="module", params=("stack", "redirect"))
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway without policies."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("policy", Shape(PODS)))
        lab.client.ip(f"addr add {OTHER[4]}/24 dev eth0", f"addr add {OTHER[6]}/64 dev eth0 nodad")
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        write(WORLD, lab.directory / "manifests")
        yield stack.enter_context(Gateway(lab, lab.directory / "manifests", delivery=request.param))


def both(*networks: str | int) -> list[str]:
    """The networks of exactly these addresses, of both families."""
    return [str(ip_network(x)) for x in networks]


def comes_to(gateway: Gateway, protocol: str, source: Any) -> str:
    """Of a new flow from that address: who serves it, or REFUSED, SILENCE."""
    address = GATEWAY[source.version]
    try:
        if protocol == "TCP":
            with connect(gateway.lab.client, address, PORT, (str(source), 0)) as connection:
                return ask(connection).backend
        with associate(gateway.lab.client, address, PORT, str(source)) as endpoint:
            endpoint.settimeout(2)
            return ask(endpoint).backend
    except ConnectionRefusedError:
        return REFUSED
    except TimeoutError:
        return SILENCE


def verdict(gateway: Gateway, name: str) -> int:
    rows = gateway.status()["traffic"]["verdicts"]
    return sum(x["packets"] for x in rows if (x["hook"], x["verdict"]) == ("uplink_ingress", name))


def test_those_who_are_denied_hear_nothing(gateway: Gateway, family: int, protocol: str) -> None:
    before = verdict(gateway, "drop_denied")
    kind = {"TCP": "TCPRoute", "UDP": "UDPRoute"}[protocol]
    route = f"lab-{protocol.lower()}-{PORT}"
    with policies(gateway, policy("p", kind, route, sources={"deny": both(OTHER[4], OTHER[6])})):
        assert comes_to(gateway, protocol, OTHER[family]) == SILENCE
        assert comes_to(gateway, protocol, CLIENT[family]) in PODS
    assert verdict(gateway, "drop_denied") > before
    assert comes_to(gateway, protocol, OTHER[family]) in PODS


def test_only_those_who_are_allowed_come_in(gateway: Gateway, family: int, protocol: str) -> None:
    sources = {"allow": both(CLIENT[4], CLIENT[6]), "denied": "Reject"}
    with policies(gateway, policy("p", "Gateway", "lab", sources=sources)):
        assert comes_to(gateway, protocol, CLIENT[family]) in PODS
        assert comes_to(gateway, protocol, OTHER[family]) == REFUSED


def test_the_routes_policy_comes_before_the_gateways(gateway: Gateway, family: int) -> None:
    refusing = {"deny": ["0.0.0.0/0", "::/0"], "denied": "Reject"}
    route = policy(
        "of-the-route", "TCPRoute", f"lab-tcp-{PORT}", sources={"deny": both(OTHER[4], OTHER[6]), "denied": "Reject"}
    )
    with policies(gateway, policy("of-the-gateway", "Gateway", "lab", sources=refusing), route):
        assert comes_to(gateway, "UDP", CLIENT[family]) == REFUSED
        assert comes_to(gateway, "TCP", CLIENT[family]) in PODS
        assert comes_to(gateway, "TCP", OTHER[family]) == REFUSED


def test_what_is_open_stays_open_when_its_source_is_denied(gateway: Gateway) -> None:
    with ExitStack() as stack:
        flows = [
            stack.enter_context(make(gateway.lab.client, GATEWAY[family], PORT))
            for make in (connect, associate)
            for family in FAMILIES
        ]
        served = [ask(x).backend for x in flows]
        with policies(
            gateway, policy("p", "Gateway", "lab", sources={"deny": ["0.0.0.0/0", "::/0"], "denied": "Reject"})
        ):
            for family in FAMILIES:
                assert comes_to(gateway, "TCP", CLIENT[family]) == REFUSED
            assert [ask(x).backend for x in flows] == served
        assert [ask(x).backend for x in flows] == served


def test_who_is_denied_is_told_by_explain_and_status(gateway: Gateway, family: int) -> None:
    with policies(
        gateway,
        policy("p", "Gateway", "lab", sources={"deny": both(OTHER[4], OTHER[6])}),
        policy("q", "Gateway", "lab"),
    ):
        at = f"{OTHER[4]}:40000" if family == 4 else f"[{OTHER[6]}]:40000"
        to = f"{GATEWAY[4]}:{PORT}" if family == 4 else f"[{GATEWAY[6]}]:{PORT}"
        said = gateway.command("explain", "tcp", at, to).stdout
        assert (
            f"FlowPolicy default/p does not let {OTHER[family]} begin flows: {ip_network(OTHER[family])} is in deny"
            in said
        )
        conditions = {
            x["name"]: [(y["type"], y["reason"]) for place in x["places"] for y in place["conditions"]]
            for x in gateway.status()["objects"]
            if x["kind"] == "FlowPolicy"
        }
        assert conditions == {
            "p": [("Accepted", "Accepted"), ("Effective", "Effective")],
            "q": [("Accepted", "Conflicted")],
        }


def test_a_new_agent_finds_the_policy_in_force(gateway: Gateway, family: int) -> None:
    with policies(
        gateway, policy("p", "Gateway", "lab", sources={"deny": both(OTHER[4], OTHER[6]), "denied": "Reject"})
    ):
        gateway.kill()
        assert comes_to(gateway, "TCP", OTHER[family]) == REFUSED
        gateway.start()
        assert comes_to(gateway, "TCP", OTHER[family]) == REFUSED


def test_one_client_has_one_backend(gateway: Gateway, family: int, protocol: str) -> None:
    """Of TCP and UDP the same, since the two listeners have the same backends."""
    with policies(gateway, policy("p", "Gateway", "lab", affinity={"type": "ClientAddress"})):
        served = {comes_to(gateway, x, CLIENT[family]) for x in ("TCP", "UDP") for _ in range(8)}
        assert len(served & PODS.keys()) == len(served) == 1
        at = f"{CLIENT[4]}:40000" if family == 4 else f"[{CLIENT[6]}]:40000"
        to = f"{GATEWAY[4]}:{PORT}" if family == 4 else f"[{GATEWAY[6]}]:{PORT}"
        said = gateway.command("explain", protocol.lower(), at, to).stdout
        assert f"default/{served.pop()}:{PORT}" in said
        assert "\nslot " in said


def test_a_silent_connection_is_forgotten(gateway: Gateway, family: int) -> None:
    """It goes on all the same: where the backend sees the client's address it is taken up again in its middle."""

    def live() -> int:
        flows = map(json.loads, gateway.command("flows", "-o", "json").stdout.splitlines())
        return sum(1 for x in flows if x["client"]["port"] == own)

    with (
        policies(gateway, policy("p", "Gateway", "lab", idle={"tcp": "1s"})),
        connect(gateway.lab.client, GATEWAY[family], PORT) as connection,
    ):
        own = connection.getsockname()[1]
        backend = ask(connection).backend
        until(lambda: not live(), "the flow is forgotten", every=0.5)
        assert ask(connection).backend == backend


def test_a_listener_has_so_many_connections_at_a_time(gateway: Gateway, family: int) -> None:
    with ExitStack() as stack, policies(gateway, policy("p", "Gateway", "lab", connections={"perListener": 2})):
        flows = [stack.enter_context(connect(gateway.lab.client, GATEWAY[family], PORT)) for _ in range(2)]
        served = [ask(x).backend for x in flows]
        assert comes_to(gateway, "TCP", OTHER[family]) == REFUSED
        assert comes_to(gateway, "UDP", OTHER[family]) in PODS
        at = f"{OTHER[4]}:40000" if family == 4 else f"[{OTHER[6]}]:40000"
        to = f"{GATEWAY[4]}:{PORT}" if family == 4 else f"[{GATEWAY[6]}]:{PORT}"
        said = gateway.command("explain", "tcp", at, to).stdout
        assert "has as many connections as FlowPolicy default/p allows" in said
        gateway.kill()
        gateway.start()
        assert comes_to(gateway, "TCP", OTHER[family]) == REFUSED
        flows.pop().close()
        until(lambda: comes_to(gateway, "TCP", OTHER[family]) in PODS, "a connection is let in")
        assert ask(flows[0]).backend == served[0]


def connected(gateway: Gateway, family: int) -> socket:
    return connect(gateway.lab.client, GATEWAY[family], PORT, (str(CLIENT[family]), 0))


def test_a_source_has_so_many_connections_at_a_time(gateway: Gateway, family: int) -> None:
    connections = {"perSource": 2, "sourcePrefix": {"ipv6": 128}}
    with ExitStack() as stack, policies(gateway, policy("p", "Gateway", "lab", connections=connections)):
        flows = [stack.enter_context(connected(gateway, family)) for _ in range(2)]
        served = [ask(x).backend for x in flows]
        assert comes_to(gateway, "TCP", CLIENT[family]) == REFUSED
        assert comes_to(gateway, "TCP", OTHER[family]) in PODS
        assert comes_to(gateway, "UDP", CLIENT[family]) in PODS
        at = f"{CLIENT[4]}:40000" if family == 4 else f"[{CLIENT[6]}]:40000"
        to = f"{GATEWAY[4]}:{PORT}" if family == 4 else f"[{GATEWAY[6]}]:{PORT}"
        said = gateway.command("explain", "tcp", at, to).stdout
        assert f"source {ip_network(CLIENT[family])} has as many connections as FlowPolicy default/p allows" in said
        gateway.kill()
        gateway.start()
        assert comes_to(gateway, "TCP", CLIENT[family]) == REFUSED
        flows.pop().close()
        until(lambda: comes_to(gateway, "TCP", CLIENT[family]) in PODS, "a connection is let in")
        assert ask(flows[0]).backend == served[0]


def test_a_source_keeps_its_count_in_an_upgrade(gateway: Gateway) -> None:
    """To tables of another size, and back; of IPv6 a /64 is one source."""
    with ExitStack() as stack, policies(gateway, policy("p", "Gateway", "lab", connections={"perSource": 1})):
        flows = [stack.enter_context(connected(gateway, family)) for family in FAMILIES]
        served = [ask(x).backend for x in flows]
        for options in (("--tcp-flows", 65536), ()):
            gateway.stop()
            gateway.options = options
            gateway.start()
            for family in FAMILIES:
                assert comes_to(gateway, "TCP", CLIENT[family]) == REFUSED
            assert comes_to(gateway, "TCP", OTHER[4]) in PODS
            assert comes_to(gateway, "TCP", OTHER[6]) == REFUSED
            assert [ask(x).backend for x in flows] == served
        for flow in flows:
            flow.close()
        for family in FAMILIES:
            until(lambda family=family: comes_to(gateway, "TCP", CLIENT[family]) in PODS, "a connection is let in")
