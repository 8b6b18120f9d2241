"""A wire that loses packets and doubles others, the same ones in every run, costs time and nothing else.

So whoever waits for something that goes over it has patience for what TCP does on its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.gateway import Gateway
from lab.loss import lossy
from lab.manifests import Listener, Pod, World, write
from lab.netns import Namespace
from lab.process import Process
from lab.servers.witness import PORT, STREAM_PORT, streams, witness, witness_in
from lab.topology import FAMILIES, GATEWAY, Lab, Shape, backend_addresses
from lab.traffic.transfer import Transfer
from lab.wait import until
from tests.net.lossy import served, until_closed
from tests.net.remote import REMOTE, UPLINK, attached
from tests.net.world import PODS, STREAM, TO_A

ONE_IN_SEVEN = 143  # of a thousand
OCTETS = 200_000
LISTENERS = {"a": (PORT, STREAM_PORT), "remote": (7010, 7011)}  # to be asked, and for streams

BOTH = World(
    listeners=tuple(
        Listener("TCP", port, {name: 1}, target=target)
        for name, ports in LISTENERS.items()
        for port, target in zip(ports, (PORT, STREAM_PORT), strict=True)
    ),
    services={"a": (Pod(PODS["a"]),), "remote": (Pod(REMOTE),)},
)


def test_streams_arrive_whole_and_no_connection_fails(gateway: Gateway, family: int) -> None:
    with lossy(gateway.lab, gateway.lab.client, seed=family, lose=10) as loss:
        with Transfer(gateway.lab.client, GATEWAY[family], STREAM, octets_per_second=0) as transfer:
            transfer.until_moved(5_000_000)
            assert transfer.finish().whole
        assert served(gateway.lab.client, family, TO_A, 50) == {"a": 50}
        assert loss.lost() > 0


@pytest.fixture(scope="module", params=("stack", "redirect"))
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Gateway, dict[str, tuple[Namespace, Process]]]]:
    """A gateway with a local and a remote (SNAT) backend, and both: without offloads, a packet is one of a wire's."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("lsloss", Shape({"a": PODS["a"]}, offloads=False)))
        remote = attached(lab, stack)
        serving = witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT)
        backends = {
            "a": (lab.backends["a"], stack.enter_context(witness(lab, "a"))),
            "remote": (remote, stack.enter_context(serving)),
        }
        write(BOTH, lab.directory / "manifests")
        options = ("--uplink", UPLINK)
        yield (
            stack.enter_context(Gateway(lab, lab.directory / "manifests", delivery=request.param, options=options)),
            backends,
        )


def resets(*ends: Namespace) -> list[int]:
    """Connections that were reset at the ends. What answers a doubled last ACK with a reset breaks no connection."""
    return [end.counters()["TcpEstabResets"] for end in ends]


def unwanted(gateway: Gateway) -> Counter[str]:
    """Packets that were dropped or refused, by verdict."""
    rows = gateway.status()["traffic"]["verdicts"]
    found: Counter[str] = Counter()
    for row in rows:
        if row["verdict"].startswith(("drop_", "refused_", "rejected_")):
            found[row["verdict"]] += row["packets"]
    return +found


@pytest.mark.parametrize("side", ["client", "backend"])
@pytest.mark.parametrize("backend", LISTENERS)
def test_one_packet_in_seven_lost_and_one_doubled_is_no_reset(
    both: tuple[Gateway, dict[str, tuple[Namespace, Process]]], backend: str, side: str
) -> None:
    gateway, backends = both
    client, (serving, process) = gateway.lab.client, backends[backend]
    resets_before, unwanted_before, ended = resets(client, serving), unwanted(gateway), len(streams(process))
    ask_port, stream_port = LISTENERS[backend]
    end = client if side == "client" else serving
    for family in FAMILIES:
        with lossy(gateway.lab, end, seed=family, lose=ONE_IN_SEVEN, double=ONE_IN_SEVEN) as wire:
            with Transfer(client, GATEWAY[family], stream_port, octets_per_second=0) as transfer:
                transfer.until_moved(OCTETS)
                result = transfer.finish()
                assert result.whole, result
            assert served(client, family, ask_port, 5) == {backend: 5}
            until_closed(client, serving)
            assert wire.lost() > 0
            assert wire.doubled() > 0
    until(lambda: len(streams(process)) >= ended + len(FAMILIES), "the streams ended at their server")
    assert [x.intact for x in streams(process)[ended:]] == [True] * len(FAMILIES)
    assert resets(client, serving) == resets_before
    assert unwanted(gateway) == unwanted_before
