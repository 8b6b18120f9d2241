"""`--xdp`, and what `penstock status` says of it."""

from __future__ import annotations

import signal

from tests.agent.node import UPLINK, Node


def attached(machine: Node) -> bool:
    """Is an XDP program in the uplink's driver?"""
    return "prog/xdp" in machine.command("ip", "link", "show", UPLINK).stdout


def test_it_is_put_on_left_on_and_taken_off(machine: Node) -> None:
    agent = machine.start("--xdp", "force")
    said = machine.until(lambda x: x["ready"])
    assert said["xdp"][UPLINK].startswith("on")
    assert said["settings"]["xdp"] == "force"
    assert f"XDP on {UPLINK}: on" in machine.penstock("status").stdout
    assert attached(machine)
    agent.end(signal.SIGKILL)
    assert attached(machine)
    agent = machine.start()  # auto: a veth is no NIC
    said = machine.until(lambda x: x["pid"] == agent.process.pid and x["ready"])
    assert said["xdp"] == {UPLINK: f"off: {UPLINK} is a veth and no NIC"}
    assert not attached(machine)
    assert agent.end(signal.SIGTERM) == 0
    agent = machine.start("--xdp", "force")
    machine.until(lambda x: x["pid"] == agent.process.pid and x["ready"])
    assert attached(machine)
    assert agent.end(signal.SIGTERM) == 0
    machine.penstock("down")
    assert not attached(machine)


def test_what_is_forced_and_cannot_be_keeps_the_node_from_being_ready(machine: Node) -> None:
    machine.command("ip", "link", "set", "far", "mtu", "9000")
    machine.start("--xdp", "force")
    said = machine.until(lambda x: "--xdp force" in x["applied"]["error"])
    assert not said["ready"]
    assert f"it is not on {UPLINK}: the driver refuses: " in said["applied"]["error"]
    machine.command("ip", "link", "set", "far", "mtu", "1500")
    machine.until(lambda x: x["ready"] and x["xdp"][UPLINK].startswith("on"))


def test_there_are_three_ways(machine: Node) -> None:
    said = machine.penstock("run", "--manifests", str(machine.folder), "--xdp", "on", code=2).stderr
    assert "'on' is not one of 'auto', 'off', 'force'" in said
