"""XDP in the drivers of both uplinks: real connections to a machine behind one of them, carried there and not at TC.

On veths, whose drivers have XDP: forced, for by itself the agent would not. Both other ends have NAPI (GRO) and finish
their checksums, as a wire would.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.gateway import Gateway
from lab.manifests import write
from lab.netns import Namespace
from lab.process import Argument, Process
from lab.servers.witness import PORT, witness_in
from lab.topology import FAMILIES, GATEWAY, Lab, Shape, backend_addresses
from lab.topology import UPLINK as FIRST_UPLINK
from lab.traffic.ask import ask, associate, outcomes
from lab.wait import until
from tests.net.accelerated import OPEN, WORLD, asked_for, both_ways, carries, counted, restart
from tests.net.remote import HERE, REMOTE, UPLINK, attached
from tests.net.tracing import records, tracing
from tests.net.traffic import Traffic
from tests.net.upgrades import SMALL
from tests.net.versions import Versions

PORTS = range(10_000, 30_000)
OPTIONS: tuple[Argument, ...] = (*SMALL, "--uplink", UPLINK)
FORCED: tuple[Argument, ...] = (*OPTIONS, "--xdp", "force")


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[Gateway, Namespace, Process]]:
    """A gateway without XDP, the machine behind its second uplink, and the server there."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("nxnet", Shape(offloads=False)))
        remote = attached(lab, stack)
        for end in (lab.client, remote):
            end.run("ethtool", "-K", "eth0", "gro", "on")
        server = stack.enter_context(witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT))
        manifests = lab.directory / "manifests"
        write(WORLD, manifests)
        yield stack.enter_context(Gateway(lab, manifests, options=OPTIONS)), remote, server


def test_each_packet_is_carried_and_counted_once(
    far: tuple[Gateway, Namespace, Process], family: int, protocol: str
) -> None:
    gateway, _, _ = far
    restart(gateway, *FORCED)
    assert {x.split(",")[0] for x in gateway.status()["xdp"].values()} == {"on"}
    with OPEN[protocol](gateway.lab.client, GATEWAY[family], PORT) as endpoint:
        until(lambda: both_ways(gateway, endpoint), "XDP carries both ways")
        before, start = counted(gateway), time.monotonic()
        (answer,) = {ask(endpoint) for _ in range(50)}
        moved, seconds = counted(gateway) - before, time.monotonic() - start
    assert answer.backend == "remote"
    assert answer.peer[0] == HERE[family]
    assert answer.peer[1] in PORTS
    requests, replies = (moved["uplink_xdp", x] + moved["uplink_ingress", x] for x in ("forwarded", "replied"))
    if protocol == "UDP":
        assert (requests, replies) == (50, 50)
    assert min(requests, replies) >= 50
    assert max(moved["uplink_ingress", x] for x in ("forwarded", "replied")) <= asked_for(seconds)


def test_a_trace_shows_what_it_carries(far: tuple[Gateway, Namespace, Process], family: int) -> None:
    gateway, _, _ = far
    restart(gateway, *FORCED)
    with associate(gateway.lab.client, GATEWAY[family], PORT) as endpoint:
        until(lambda: both_ways(gateway, endpoint), "XDP carries both ways")
        words = ("--hook", "uplink_xdp", "--gateway", str(GATEWAY[family]), "--seconds", "30", "-o", "json")
        with tracing(gateway, *words, "--count", "8") as process:
            while process.status is None:
                ask(endpoint)
            *packets, summary = records(process)
        port = endpoint.getsockname()[1]
    assert {(x["verdict"], x["interface"]) for x in packets} == {("forwarded", FIRST_UPLINK), ("replied", UPLINK)}
    for x in packets:
        assert (x["hook"], x["backend"], x["protocol"]) == ("uplink_xdp", f"default/remote:{PORT}", "UDP")
        assert port in (x["packet"]["sport"], x["became"]["dport"])
    assert (summary["shown"], summary["lost"]) == (8, 0)


def test_many_flows(far: tuple[Gateway, Namespace, Process], family: int, protocol: str) -> None:
    gateway, _, _ = far
    restart(gateway, *FORCED)
    assert outcomes(gateway.lab.client, GATEWAY[family], PORT, protocol, 200) == {"remote": 200}


def test_connections_do_not_notice_that_it_comes_and_goes(
    far: tuple[Gateway, Namespace, Process], versions: Versions
) -> None:
    """Nor that it is replaced, by one with other tables, nor that its agent dies."""
    gateway, remote, server = far
    restart(gateway, *OPTIONS, "--xdp", "off")
    with ExitStack() as stack:
        traffic = Traffic(gateway.lab, [server], (remote,))
        traffic.start(stack)
        for options in (FORCED, (*FORCED, "--object-dir", versions.layout), FORCED):
            restart(gateway, *options)
            assert carries(gateway, traffic)
        gateway.kill()
        assert carries(gateway, traffic)
        restart(gateway, *OPTIONS)
        assert gateway.status()["xdp"][FIRST_UPLINK] == f"off: {FIRST_UPLINK} is a veth and no NIC"
        assert not carries(gateway, traffic)
        traffic.finish()


def test_nothing_of_it_is_left(far: tuple[Gateway, Namespace, Process]) -> None:
    gateway, _, _ = far
    restart(gateway, *FORCED)
    links = ("ip", "-o", "link", "show", "type", "veth")
    assert gateway.lab.node.run(*links).stdout.count("prog/xdp") == len(FAMILIES)
    gateway.stop()
    gateway.command_from_outside("down")
    assert "xdp" not in gateway.lab.node.run(*links).stdout
    gateway.start()
