"""The agent is killed in the midst of what is hard without it: no connection is reset, none is refused, none is left.

A lossy wire, endpoints that go, addresses and ports that are lent, flows of every kind at once; after the next agent's
start the kernel holds what the manifests say, and every flow is whole.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import pytest

from agent.compile.image import BackendState
from lab.gateway import Gateway
from lab.loss import lossy
from lab.manifests import Listener, Pod, World, write
from lab.netns import Namespace
from lab.servers.witness import PORT, STREAM_PORT, witness, witness_in
from lab.topology import FAMILIES, GATEWAY, Lab, Shape, backend_addresses
from lab.traffic.ask import ask, associate, connect
from lab.traffic.transfer import Transfer
from lab.wait import until
from tests.net.harm import resets, unwanted
from tests.net.lossy import served, until_closed
from tests.net.policies import policy, write_policies
from tests.net.remote import REMOTE, UPLINK, attached
from tests.net.rounds import LISTENERS, TO_REMOTE, goes_on, mixed_clients
from tests.net.tables import Tables
from tests.net.world import PODS

REMOTE_STREAM = 7011
ONE_IN_SEVEN = 143  # of a thousand
RATE, MOVED = 50_000, 25_000  # octets per second and direction; as many are to go on

A, B = (Pod(PODS[name], uid=f"pod-{name}") for name in "ab")
WORLD = World(
    listeners=(
        *(Listener(protocol, PORT, {"both": 1}) for protocol in ("TCP", "UDP")),
        Listener("TCP", STREAM_PORT, {"both": 1}, target=STREAM_PORT),
        Listener("TCP", REMOTE_STREAM, {"remote": 1}, target=STREAM_PORT),
        *LISTENERS,
    ),
    services={"a": (A,), "both": (A, B), "remote": (Pod(REMOTE),)},
)
COUNTED = policy("counted", "Gateway", WORLD.gateway, connections={"perListener": 10_000, "perSource": 10_000})
OPTIONS = {
    "--uplink": UPLINK,
    "--snat-ports": "10000-10999",  # few, so that chance hits on those that are taken
    "--absent-grace": "600",
    "--tcp-flows": "16384",
    "--udp-flows": "16384",
}


@dataclass(frozen=True)
class Running:
    """A gateway with backends here and out there."""

    gateway: Gateway
    remote: Namespace

    @property
    def lab(self) -> Lab:
        return self.gateway.lab

    def harm(self) -> tuple[dict[str, int], Counter[str]]:
        """Connections that were reset, by end; packets that were dropped or refused, by verdict."""
        ends = (self.lab.client, self.lab.node, self.remote, *self.lab.backends.values())
        return resets(*ends), unwanted(self.gateway)

    @contextmanager
    def an_agent_afterwards(self) -> Iterator[None]:
        """Runs, whatever became of it in the block."""
        try:
            yield
        finally:
            if self.gateway.agent is None:
                self.gateway.start()

    @contextmanager
    def nothing_is_felt(self) -> Iterator[None]:
        """... of what befalls the agent in the block: neither by connections nor by the tables."""
        before = self.harm()
        with self.an_agent_afterwards():
            yield
        assert self.harm() == before
        self.is_whole()

    def is_whole(self) -> None:
        """The kernel holds what the manifests say; every flow has its two halves, and is counted."""
        self.gateway.until(lambda x: bool(x["applied"]["verified_at"]) and not x["applied"]["error"], "has read back")
        tables = Tables(self.gateway)
        until(lambda: not tables.unpaired(), "every flow is whole", seen=tables.unpaired, every=0.2)

    def transfers(self, stack: ExitStack, each: int = 1) -> list[Transfer]:
        """In both families, to backends here and out there."""
        return [
            stack.enter_context(Transfer(self.lab.client, GATEWAY[family], port, octets_per_second=RATE))
            for family in FAMILIES
            for port in (STREAM_PORT, REMOTE_STREAM)
            for _ in range(each)
        ]

    def serves(self, port: int, backends: set[str], times: int = 3) -> None:
        """New connections of both families are served by these and nobody else."""
        for family in FAMILIES:
            seen = served(self.lab.client, family, port, times)
            assert seen.keys() <= backends, seen


@pytest.fixture(scope="module", params=("stack", "redirect"))
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("skkill", Shape(PODS, offloads=False)))
        remote = attached(lab, stack)
        for namespace in (remote, *lab.backends.values()):  # each datagram to a closed port is answered
            namespace.sysctl({"net.ipv4.icmp_ratelimit": 0, "net.ipv6.icmp.ratelimit": 0})
        for pod in ("a", "b"):
            stack.enter_context(witness(lab, pod))
        stack.enter_context(witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT))
        write(WORLD, lab.directory / "manifests")
        write_policies(lab.directory / "manifests", COUNTED)
        options = tuple(word for option in OPTIONS.items() for word in option)
        gateway = Gateway(lab, lab.directory / "manifests", delivery=request.param, options=options)
        yield Running(stack.enter_context(gateway), remote)


def all_move(transfers: list[Transfer]) -> None:
    for transfer in transfers:
        transfer.until_moved(MOVED)


def all_end(transfers: list[Transfer]) -> None:
    results = [x.finish() for x in transfers]
    assert all(x.whole for x in results), results


def test_while_packets_are_lost_and_doubled(running: Running) -> None:
    lab, gateway = running.lab, running.gateway
    with running.nothing_is_felt(), ExitStack() as stack:
        wire = stack.enter_context(lossy(lab, lab.client, seed=4, lose=ONE_IN_SEVEN, double=ONE_IN_SEVEN))
        transfers = running.transfers(stack)
        gateway.kill()
        for revive in (gateway.start, lambda: None):
            for port, backends in ((PORT, {"a", "b"}), (TO_REMOTE, {"remote"})):
                running.serves(port, backends)
            all_move(transfers)
            revive()
        all_end(transfers)
        until_closed(lab.client)
        assert wire.lost() > 0
        assert wire.doubled() > 0


def test_while_an_endpoint_goes_and_comes_back(running: Running) -> None:
    """First it drains, then it is in no EndpointSlice. The agent dies before it has done anything about it, or as soon
    as the kernel holds the first of it."""
    gateway, tables, had_begun = running.gateway, Tables(running.gateway), set()
    draining = replace(B, ready=False, terminating=True)
    with running.nothing_is_felt(), ExitStack() as stack:
        stack.callback(write, WORLD, gateway.manifests)
        transfers = running.transfers(stack, each=3)
        for pods, state, is_awaited in (
            ((A, draining), BackendState.DRAINING, False),
            ((A,), BackendState.ABSENT, True),
            ((A, B), BackendState.ACTIVE, False),
        ):

            def has_begun(state: BackendState = state) -> bool:
                return state in tables.endpoint_states(PODS["b"])

            assert not has_begun()
            write(replace(WORLD, services={**WORLD.services, "both": pods}), gateway.manifests)
            if is_awaited:
                until(has_begun, f"an entry is {state.name}", every=0.001)
            gateway.kill()
            had_begun.add(has_begun())
            running.serves(PORT, {"a", "b"})
            gateway.start()
            running.serves(PORT, {"a", "b"} if pods == (A, B) else {"a"})
            all_move(transfers)
        all_end(transfers)
    assert had_begun == {True, False}, "of both kinds"


def test_while_addresses_and_ports_are_lent(running: Running, protocol: str) -> None:
    """No port is lent twice, whoever was there when it was first."""
    lab, gateway = running.lab, running.gateway
    make = {"TCP": connect, "UDP": associate}[protocol]
    with running.nothing_is_felt(), ExitStack() as stack:

        def more() -> list[socket.socket]:
            return [
                stack.enter_context(make(end, GATEWAY[family], TO_REMOTE))
                for family in FAMILIES
                for end in (lab.client, lab.node)
                for _ in range(20)
            ]

        flows = more()
        seen = [ask(x).peer for x in flows]
        gateway.kill()
        flows += more()
        seen += [ask(x).peer for x in flows[len(seen) :]]
        gateway.start()
        flows += more()
        seen += [ask(x).peer for x in flows[len(seen) :]]
        assert len(set(seen)) == len(seen)
        assert [ask(x).peer for x in flows] == seen
        running.is_whole()
        assert Tables(gateway).open_connections() >= {"TCP": len(flows), "UDP": 0}[protocol]


def test_while_flows_of_every_kind_come_and_go(running: Running) -> None:
    lab, gateway = running.lab, running.gateway
    clients = mixed_clients(lab.client, lab.node)
    with running.an_agent_afterwards(), ExitStack() as stack:
        for client in clients:
            client.start()
            stack.callback(client.finish)
        goes_on(clients, rounds=1)
        gateway.kill()
        goes_on(clients)
        gateway.start()
    running.is_whole()
