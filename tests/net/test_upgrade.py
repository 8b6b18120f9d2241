"""An upgrade, and the way back, are not felt by traffic; whoever dies in the midst of one leaves a whole gateway."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.dataplane.sets import IN_FORCE, folders, in_force
from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.process import Argument
from lab.servers.witness import PORT, STREAM_PORT, witness
from lab.shares import wrong_shares
from lab.topology import FAMILIES, GATEWAY, Lab, Shape
from lab.traffic.ask import outcomes
from lab.wait import until
from loader.errors import LoaderError
from loader.maps import Map
from tests.net.traffic import Traffic
from tests.net.upgrades import SMALL, in_kernel, upgrade
from tests.net.versions import Versions
from tests.net.world import PODS

WEIGHTS = {"a": 70, "b": 30}
WORLD = World(
    listeners=(
        Listener("TCP", PORT, WEIGHTS),
        Listener("UDP", PORT, WEIGHTS),
        Listener("TCP", STREAM_PORT, WEIGHTS, target=STREAM_PORT),
    ),
    services={"a": (Pod(PODS["a"]),), "b": (Pod(PODS["b"]),)},
)


@pytest.fixture(scope="module", params=("stack", "redirect"))
def lab_gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("upgrade", Shape(PODS)))
        manifests = lab.directory / "manifests"
        write(WORLD, manifests)
        yield stack.enter_context(Gateway(lab, manifests, delivery=request.param, options=SMALL))


@pytest.fixture
def traffic(lab_gateway: Gateway) -> Iterator[Traffic]:
    with ExitStack() as stack:
        witnesses = [stack.enter_context(witness(lab_gateway.lab, pod)) for pod in PODS]
        running = Traffic(lab_gateway.lab, witnesses)
        running.start(stack)
        yield running


def new_flows_are_served(gateway: Gateway) -> None:
    for family in FAMILIES:
        for protocol in ("TCP", "UDP"):
            seen = outcomes(gateway.lab.client, GATEWAY[family], PORT, protocol, 100)
            assert wrong_shares(seen, WEIGHTS) == []


def forwarded(gateway: Gateway) -> int:
    """Packets, as the running agent counts them."""
    counted = gateway.status()["traffic"]["verdicts"]
    return int(next(x["packets"] for x in counted if x["verdict"] == "forwarded" and x["hook"] == "uplink_ingress"))


def test_other_programs_layouts_and_sizes_and_back(lab_gateway: Gateway, traffic: Traffic, versions: Versions) -> None:
    gateway = lab_gateway
    first = in_kernel(gateway)
    steps: tuple[tuple[tuple[Argument, ...], bool, bool], ...] = (
        (("--object-dir", versions.programs), True, False),
        (("--object-dir", versions.layout), True, True),
        (("--object-dir", versions.layout, "--tcp-flows", 16384, "--udp-flows", 10000), False, True),
        ((), True, True),
    )
    before = first
    for options, other_build, other_tables in steps:
        counted = forwarded(gateway)
        upgrade(gateway, *options)
        now = in_kernel(gateway)
        assert (now.tags != before.tags) is other_build
        assert (now.maps != before.maps) is other_tables
        assert forwarded(gateway) > counted
        traffic.goes_on()
        new_flows_are_served(gateway)
        before = now
    assert before.tags == first.tags
    traffic.finish()


def test_commands_of_another_version_say_which_is_needed(lab_gateway: Gateway, versions: Versions) -> None:
    gateway = lab_gateway
    upgrade(gateway, "--object-dir", versions.layout)
    for command in (("status",), ("flows",), ("top", "--once")):
        said = gateway.command(*command, check=False)
        assert said.returncode == 5, said
        assert "is of another version of Penstock, and has no zone" in said.stderr
        assert gateway.command(*command, "--object-dir", versions.layout).stdout
    asked = ("explain", "tcp", "10.200.0.2", f"{GATEWAY[4]}:{PORT}")
    assert gateway.command(*asked, check=False).returncode == 5
    assert "forwarded" in gateway.command(*asked, "--object-dir", versions.layout).stdout
    upgrade(gateway)
    assert gateway.command("status").stdout


def test_of_two_versions_at_once_one_runs(lab_gateway: Gateway, versions: Versions) -> None:
    gateway = lab_gateway
    before = in_kernel(gateway)
    said = gateway.command(
        *("run", "--manifests", gateway.manifests, "--uplink", "uplink0", "--object-dir", versions.layout),
        *("--metrics-address", "127.0.0.1:9465"),
        check=False,
    )
    assert said.returncode == 5, said
    assert f"another agent (pid {gateway.status()['pid']}) runs" in said.stderr
    assert in_kernel(gateway) == before


def is_moving(gateway: Gateway) -> bool:
    """Whether flows stand still right now."""
    with contextlib.suppress(LoaderError), Map.open_pinned(folders(gateway.pins)[0] / IN_FORCE) as table:
        return bool(table.get(0)["moving_until"] > time.clock_gettime(time.CLOCK_MONOTONIC))
    return False  # it has just been discarded


MOMENTS: Mapping[str, Callable[[Gateway, Path | None], bool]] = {
    "a set is begun": lambda gateway, was: folders(gateway.pins) != [was],
    "flows move": lambda gateway, was: is_moving(gateway) or in_force(gateway.pins) != was,
    "the new set is in force": lambda gateway, was: in_force(gateway.pins) != was,
}


def test_being_killed_in_the_midst_of_upgrades_costs_nothing(
    lab_gateway: Gateway, traffic: Traffic, versions: Versions
) -> None:
    gateway = lab_gateway
    dice = random.Random(7)
    gateway.stop()
    is_other, ends = False, set()
    for what, has_come in [*MOMENTS.items()] * 3:
        was = in_force(gateway.pins)
        gateway.options = (*SMALL, *(() if is_other else ("--object-dir", versions.layout)))
        gateway.launch()
        until(lambda was=was, has_come=has_come: has_come(gateway, was), what, every=0.001)
        time.sleep(dice.choice((0, 0.01, 0.1, 0.5)))
        gateway.kill()
        is_other = is_other is (in_force(gateway.pins) == was)
        ends.add(in_force(gateway.pins) == was)
        traffic.goes_on(seconds=0.2)
        until(lambda: not is_moving(gateway), "new flows may begin, though nobody said so")
        new_flows_are_served(gateway)
    assert ends == {True, False}, "some must have been too early, and some too late"
    gateway.options = SMALL
    gateway.start()
    in_kernel(gateway)  # asserts that there is one set
    traffic.goes_on()
    new_flows_are_served(gateway)
    traffic.finish()
