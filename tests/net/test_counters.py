"""What is counted is what happened: every packet at every hook once, every connection at the backend that served it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.gateway import Gateway
from lab.manifests import write
from lab.servers.witness import witness
from lab.topology import GATEWAY, UPLINK, Lab, Shape
from lab.traffic.ask import REFUSED, SILENCE, outcomes
from lab.wait import until
from tests.net.world import HALF_REJECTED, PODS, SPLIT, UNHEARD, WORLD


@pytest.fixture(scope="module", params=("stack", "redirect"))
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway that serves WORLD; without offloads, so that an interface counts packets as a wire would."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("count", Shape(PODS, offloads=False)))
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        write(WORLD, lab.directory / "manifests")
        yield stack.enter_context(Gateway(lab, lab.directory / "manifests", delivery=request.param))


def verdicts(gateway: Gateway) -> Counter[tuple[str, str]]:
    """Packets by hook and verdict."""
    rows = gateway.status()["traffic"]["verdicts"]
    return Counter({(row["hook"], row["verdict"]): row["packets"] for row in rows})


def uncounted(gateway: Gateway) -> dict[str, int]:
    """Packets that the uplink received, and sent, before the programs were there: never changes afterwards."""

    def looked() -> dict[str, int]:
        counted = verdicts(gateway)
        links = json.loads(gateway.lab.node.run("ip", "-s", "-j", "link", "show", UPLINK).stdout)
        met = {"uplink_ingress": links[0]["stats64"]["rx"]["packets"]}
        met["uplink_egress"] = links[0]["stats64"]["tx"]["packets"]
        # What is dropped on its way out never reaches the interface.
        reached = {key: n for key, n in counted.items() if key[0] == "uplink_ingress" or "drop" not in key[1]}
        return {hook: n - sum(packets for key, packets in reached.items() if key[0] == hook) for hook, n in met.items()}

    def settled() -> dict[str, int] | None:
        first = looked()
        return first if first == looked() else None

    return until(settled, "the counters are at rest", every=0.2) or {}


def test_each_packet_at_each_hook_ends_in_one_verdict(gateway: Gateway, family: int) -> None:
    before = uncounted(gateway)
    client = gateway.lab.client
    for protocol in ("TCP", "UDP"):
        for port in (SPLIT, HALF_REJECTED, UNHEARD):
            outcomes(client, GATEWAY[family], port, protocol, 30)
    client.run("ping", "-c", "2", "-i", "0.2", str(GATEWAY[family]))
    assert uncounted(gateway) == before


def test_each_connection_is_counted_at_the_backend_that_served_it(gateway: Gateway, family: int, protocol: str) -> None:
    def counted() -> Counter[str]:
        listeners = gateway.status()["traffic"]["listeners"]
        here = [x for x in listeners if (x["port"], x["protocol"]) == (SPLIT, protocol)]
        return Counter({y["name"].split("/")[1].split(":")[0]: y["connections"] for x in here for y in x["backends"]})

    before = counted()
    seen = outcomes(gateway.lab.client, GATEWAY[family], SPLIT, protocol, 100)
    assert counted() - before == seen


REFUSALS = [
    (UNHEARD, "TCP", REFUSED, "rejected_rst"),
    (UNHEARD, "UDP", REFUSED, "rejected_icmp"),
    (HALF_REJECTED, "TCP", REFUSED, "rejected_rst"),
    (HALF_REJECTED, "UDP", SILENCE, "drop_reject_share"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["no TCP listener", "no UDP listener", "TCP share", "UDP share"])
def test_each_refusal_is_counted_with_its_reason(
    gateway: Gateway, family: int, refusal: tuple[int, str, str, str]
) -> None:
    port, protocol, outcome, verdict = refusal
    before = verdicts(gateway)
    seen = outcomes(gateway.lab.client, GATEWAY[family], port, protocol, 50)
    refused = {key: n for key, n in (verdicts(gateway) - before).items() if key[1] == verdict}
    assert refused == {("uplink_ingress", verdict): seen[outcome]}
