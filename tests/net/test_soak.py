"""Hours of mixed traffic in fast-forward: at the end nothing is left, neither entry nor port, count nor descriptor.

Limits are a sixtieth of the usual ones where they may be that short, so that seconds stand for minutes. Clients are the
node's neighbour, the node itself and a pod; backends are pods here and, by SNAT from few ports, a machine out there.
The agent is killed in the midst. `make soak` lets it run for two minutes, which stand for two hours.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.servers.witness import PORT, witness, witness_in
from lab.topology import FAMILIES, GATEWAY, Lab, Shape, backend_addresses
from lab.traffic.ask import abort_on_close, ask, connect
from lab.wait import until
from tests.net.policies import policy, write_policies
from tests.net.remote import REMOTE, UPLINK, attached
from tests.net.rounds import (
    FIRST_NEVER_COMES,
    LAST_NEVER_COMES,
    LISTENERS,
    STRANGERS,
    TO_A,
    TO_REMOTE,
    Served,
    goes_on,
    mixed_clients,
)
from tests.net.tables import Tables
from tests.net.world import PODS

SECONDS = float(os.environ.get("SOAK_SECONDS", "10"))
"""Of traffic, for each way of delivery."""

SNAT_PORTS = (10_000, 10_479)
IDLE = 10  # the shortest that there is for an established connection
HALF_OPEN = 1
OPTIONS = {
    "--uplink": UPLINK,
    "--snat-ports": "{}-{}".format(*SNAT_PORTS),
    "--tcp-flows": 16_384,
    "--udp-flows": 16_384,
    "--limit-tcp-established": IDLE,
    "--limit-closing": 2,
    "--limit-closed": 1,
    "--limit-reset": 1,
    "--limit-half-open": HALF_OPEN,
    "--limit-udp": 2,
}
ENDS = {
    # Ends that wait 60 times as long as the gateway would hold ports that it thinks free: they forget as soon.
    "net.ipv4.tcp_max_tw_buckets": 0,
    "net.ipv4.tcp_synack_retries": 0,
    # Each datagram to a closed port is answered.
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv6.icmp.ratelimit": 0,
}
SILENT = 5
RSS_MORE = 8 << 20  # octets that an allocator may keep; what is leaked by the hour is more

WORLD = World(
    listeners=(
        *(Listener(protocol, PORT, {"a": 1, "b": 1}) for protocol in ("TCP", "UDP")),
        *LISTENERS,
    ),
    services={"a": (Pod(PODS["a"]),), "b": (Pod(PODS["b"]),), "remote": (Pod(REMOTE),)},
)
COUNTED = policy("counted", "Gateway", WORLD.gateway, connections={"perListener": 10_000, "perSource": 10_000})


@pytest.fixture(params=("stack", "redirect"))
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway of the test's own, with backends here and out there."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("sksoak", Shape(PODS)))
        remote = attached(lab, stack)
        for namespace in (remote, *lab.backends.values()):
            namespace.sysctl(ENDS)
        for pod in ("a", "b"):
            stack.enter_context(witness(lab, pod))
        stack.enter_context(witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT))
        manifests = lab.directory / "manifests"
        write(WORLD, manifests)
        write_policies(manifests, COUNTED)
        options = tuple(str(word) for option in OPTIONS.items() for word in option)
        yield stack.enter_context(Gateway(lab, manifests, delivery=request.param, options=options))


def descriptors_and_memory(gateway: Gateway) -> tuple[int, int]:
    """What the agent has open, and its resident octets."""
    assert gateway.agent is not None
    process = Path(f"/proc/{gateway.agent.pid}")
    pages = int((process / "statm").read_text().split()[1])
    return len(os.listdir(process / "fd")), pages * os.sysconf("SC_PAGE_SIZE")


def counted(gateway: Gateway) -> Counter[Served]:
    """Flows that the gateway says that it gave to each backend."""
    found: Counter[Served] = Counter()
    for listener in gateway.status()["traffic"]["listeners"]:
        for backend in listener["backends"]:
            name = backend["name"].split("/")[1].split(":")[0]
            found[listener["protocol"], listener["port"], name] += backend["connections"]
    return found


def fall_silent(lab: Lab, stack: ExitStack) -> Counter[Served]:
    """Connections that from now on say nothing, not even that they end, as long as the stack is open."""
    served = Counter[Served]()
    for family in FAMILIES:
        for port in (TO_A, TO_REMOTE):
            for _ in range(SILENT):
                connection = stack.enter_context(connect(lab.client, GATEWAY[family], port))
                abort_on_close(connection)
                served["TCP", port, ask(connection).backend] += 1
    return served


def test_nothing_is_left_of_hours_of_mixed_traffic(gateway: Gateway) -> None:
    lab, tables = gateway.lab, Tables(gateway)
    clients = mixed_clients(lab.client, lab.node, lab.backends["c"], stranger=lab.client)
    expired = tables.usage()["expired"]
    ending = time.monotonic() + SECONDS
    for client in clients:
        client.start()
    goes_on(clients)
    gateway.kill()
    goes_on(clients)
    gateway.start()
    goes_on(clients)
    descriptors, memory = descriptors_and_memory(gateway)
    while time.monotonic() < ending - IDLE:
        goes_on(clients)
    with ExitStack() as stack:
        silent = fall_silent(lab, stack)
        assert tables.open_connections() >= silent.total()
        assert sum(tables.source_slots().values()) >= silent.total()
        while time.monotonic() < ending:
            goes_on(clients)
        for client in clients:
            client.finish()
        tally = sum((client.tally for client in clients), silent)
        until(lambda: not tables.left(), "no entry is left", every=0.5, seen=tables.left)
    assert tables.usage()["expired"] > expired
    nothing_is_counted_or_waits(tables)
    only_strangers_are_remembered(tables)
    until(
        lambda: counted(gateway) == tally, "as many are counted as were served", seen=lambda: counted(gateway) - tally
    )
    the_agent_has_no_more_than(gateway, descriptors, memory)
    every_port_serves(gateway)


def nothing_is_counted_or_waits(tables: Tables) -> None:
    assert tables.live() == dict.fromkeys(FAMILIES, 0)
    assert tables.open_connections() == 0
    assert tables.source_slots() == {}
    until(lambda: not tables.waiting(), "nobody waits to be looked at", every=1, seen=tables.waiting)


def only_strangers_are_remembered(tables: Tables) -> None:
    """By tables that forget what has outlived its limit when they need the room; nothing else may stand in them."""
    strangers = set(STRANGERS.values())
    handshakes = tables.handshakes()
    assert handshakes
    assert {client for client, _ in handshakes} <= strangers
    assert min(idle for _, idle in handshakes) > HALF_OPEN
    partial = tables.partial()
    assert {x.sender for x in partial} <= strangers
    assert {(x.table, x.number % 4) for x in partial} == {
        ("held_fragments", FIRST_NEVER_COMES),
        ("datagrams", LAST_NEVER_COMES),
    }


def the_agent_has_no_more_than(gateway: Gateway, descriptors: int, memory: int) -> None:
    """A question that was just answered has its descriptor for a moment more."""
    until(
        lambda: descriptors_and_memory(gateway)[0] <= descriptors,
        f"the agent has no more open than {descriptors}",
        seen=lambda: descriptors_and_memory(gateway),
    )
    assert descriptors_and_memory(gateway)[1] <= memory + RSS_MORE


def every_port_serves(gateway: Gateway) -> None:
    """Of those that are lent for connections to other nodes: as many connections as there are ports, all at once."""
    first, last = SNAT_PORTS
    for family in FAMILIES:
        with ExitStack() as stack:
            seen = []
            for _ in range(first, last + 1):
                connection = stack.enter_context(connect(gateway.lab.client, GATEWAY[family], TO_REMOTE))
                abort_on_close(connection)
                seen.append(ask(connection).peer[1])
            assert sorted(seen) == list(range(first, last + 1))
