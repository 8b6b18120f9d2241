"""An upgrade under way of connections to a machine behind an uplink (SNAT), by TCX and by clsact: none of them notices.

The node's own connections, and those to a pod, go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agent.dataplane.sets import in_force
from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.netns import Namespace
from lab.process import Argument, Process
from lab.servers.witness import PORT, STREAM_PORT, streams, witness, witness_in
from lab.topology import FAMILIES, GATEWAY, Lab, Shape, backend_addresses
from lab.traffic.transfer import Transfer
from loader.attach import Mechanism, attachments
from tests.net.remote import REMOTE, UPLINK, attached
from tests.net.traffic import RATE, Traffic
from tests.net.upgrades import SMALL, in_kernel, upgrade
from tests.net.versions import Versions
from tests.net.world import PODS

WEIGHTS = {"a": 1, "remote": 1}
TO = {"a": 7010, "remote": 7011}  # for streams, to one of them alone
WORLD = World(
    listeners=(
        Listener("UDP", PORT, WEIGHTS),
        Listener("TCP", STREAM_PORT, WEIGHTS, target=STREAM_PORT),
        *(Listener("TCP", port, {name: 1}, target=STREAM_PORT) for name, port in TO.items()),
    ),
    services={"a": (Pod(PODS["a"]),), "remote": (Pod(REMOTE),)},
)
SECOND_UPLINK: tuple[Argument, ...] = ("--uplink", UPLINK)


@pytest.fixture(params=[("stack", Mechanism.TCX), ("redirect", Mechanism.CLSACT)], ids=lambda x: f"{x[0]}-{x[1].value}")
def far(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, Mechanism, Namespace, list[Process]]]:
    """A gateway, how its programs are hooked, the machine behind its second uplink, the servers here and there."""
    delivery, mechanism = request.param
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("ntupgrad", Shape({"a": PODS["a"]})))
        remote = attached(lab, stack)
        there = witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT)
        witnesses = [stack.enter_context(x) for x in (witness(lab, "a"), there)]
        write(WORLD, lab.directory / "manifests")
        options = (*SMALL, *SECOND_UPLINK)
        is_tcx = mechanism is Mechanism.TCX
        gateway = Gateway(lab, lab.directory / "manifests", delivery=delivery, options=options, tcx=is_tcx)
        yield stack.enter_context(gateway), mechanism, remote, witnesses


def mechanisms(gateway: Gateway) -> set[Mechanism]:
    """How the programs in force are hooked."""
    folder = in_force(gateway.pins)
    assert folder
    with gateway.lab.node.inside():
        return {x.mechanism for x in attachments(folder)}


def test_connections_to_another_machine_do_not_notice(
    far: tuple[Gateway, Mechanism, Namespace, list[Process]], versions: Versions
) -> None:
    gateway, mechanism, remote, witnesses = far
    assert {gateway.sees(backend_addresses(REMOTE)[family])["whom"] for family in FAMILIES} == {"node"}
    with ExitStack() as stack:
        traffic = Traffic(gateway.lab, witnesses, (remote,))
        traffic.start(stack)
        for family in FAMILIES:
            for port in TO.values():
                transfer = Transfer(gateway.lab.client, GATEWAY[family], port, octets_per_second=RATE)
                traffic.transfers.append(stack.enter_context(transfer))
        before = in_kernel(gateway)
        steps: tuple[tuple[tuple[Argument, ...], bool], ...] = (
            (("--object-dir", versions.programs), False),
            (("--object-dir", versions.layout, "--tcp-flows", 16384, "--udp-flows", 10000), True),
            ((), True),
        )
        for options, other_tables in steps:
            upgrade(gateway, *SECOND_UPLINK, *options)
            now = in_kernel(gateway)
            assert (now.maps != before.maps) is other_tables
            assert mechanisms(gateway) == {mechanism}
            traffic.goes_on(seconds=0.4)
            before = now
        traffic.finish()
    assert all(len(streams(x)) >= len(FAMILIES) for x in witnesses)
