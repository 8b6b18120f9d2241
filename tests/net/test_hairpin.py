"""Clients beside the backends: the node, another pod, the backend itself. Replies would reach them past us, if the
backend saw them: so it sees the gateway's address, or the node's where it is behind an uplink.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from lab.gateway import Gateway
from lab.manifests import write
from lab.servers.witness import witness
from lab.topology import BRIDGE, CLIENT, GATEWAY, Address, Attachment, Lab, Shape
from lab.traffic.ask import ask, associate, connect, outcomes
from lab.traffic.transfer import Transfer
from tests.net.world import PODS, STREAM, TO_A, WORLD

OPEN = {"TCP": connect, "UDP": associate}
WHO = ("client", "node", "another pod", "the backend itself")


@dataclass(frozen=True)
class Kind:
    """A kind of node. `beside`: whom a backend sees in place of a client beside it. `options`: of `penstock run`."""

    attachment: Attachment
    beside: Mapping[int, Address]
    options: tuple[str, ...] = ()


KINDS = {
    "routed pods": Kind(Attachment.ROUTED, GATEWAY),
    "bridged pods": Kind(Attachment.BRIDGED, GATEWAY),
    # As if the bridge had the node's network card, with clients and pods in one segment.
    "the bridge is an uplink": Kind(Attachment.BRIDGED, BRIDGE, ("--uplink", "br0")),
}


@dataclass(frozen=True)
class Running:
    """A gateway, and the kind of its node."""

    gateway: Gateway
    kind: Kind


@pytest.fixture(scope="module", params=[(x, y) for x in ("stack", "redirect") for y in KINDS], ids=", ".join)
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A gateway that serves WORLD, for each way of delivery and kind of node."""
    delivery, name = request.param
    kind = KINDS[name]
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("hairpin", Shape(PODS, kind.attachment)))
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        write(WORLD, lab.directory / "manifests")
        gateway = Gateway(lab, lab.directory / "manifests", delivery=delivery, options=kind.options)
        yield Running(stack.enter_context(gateway), kind)


@pytest.mark.parametrize("who", WHO)
def test_each_client_is_served_and_seen_so_that_replies_find_it(
    running: Running, who: str, family: int, protocol: str
) -> None:
    lab = running.gateway.lab
    namespace = dict(zip(WHO, (lab.client, lab.node, lab.backends["c"], lab.backends["a"]), strict=True))[who]
    with OPEN[protocol](namespace, GATEWAY[family], TO_A) as endpoint:
        (answer,) = {ask(endpoint) for _ in range(3)}
    assert answer.backend == "a"
    said = running.gateway.sees(lab.address("a", family))
    if who != "client":
        assert answer.peer[0] == running.kind.beside[family]
    elif running.kind.options:
        assert answer.peer[0] == BRIDGE[family]
        assert (said["whom"], said["uplink"], said["addresses"]) == ("node", "br0", [str(BRIDGE[family])])
    else:
        assert answer.peer == answer.client
        assert answer.peer[0] == CLIENT[family]
        assert (said["whom"], said["uplink"]) == ("client", "")
    assert outcomes(namespace, GATEWAY[family], TO_A, protocol, 30) == {"a": 30}


@pytest.mark.parametrize("who", WHO[1:])
def test_long_streams_arrive_whole(running: Running, who: str, family: int) -> None:
    lab = running.gateway.lab
    namespace = dict(zip(WHO[1:], (lab.node, lab.backends["c"], lab.backends["a"]), strict=True))[who]
    with Transfer(namespace, GATEWAY[family], STREAM, octets_per_second=0) as transfer:
        transfer.until_moved(5_000_000)
        assert transfer.finish().whole
