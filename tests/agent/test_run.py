"""The agent on a real kernel: what the manifests say is what `penstock status` and the kernel's tables say."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.agent.node import PENSTOCK, Node
from tests.agent.objects import GATEWAY, endpoint_slice, route, service

WEB = (GATEWAY, route(a=3, b=1), service("a"), service("b"))
ENDPOINTS = (endpoint_slice("a", "10.232.0.1", "10.232.0.2"), endpoint_slice("b", "10.232.0.3"))


@pytest.fixture
def served(machine: Node) -> Node:
    """A node with an agent that serves one listener with two backends."""
    machine.write("web.yaml", *WEB)
    machine.write("endpoints.yaml", *ENDPOINTS)
    machine.start()
    machine.until(lambda x: x["ready"])
    return machine


def backends(status: Mapping[str, Any]) -> dict[str, tuple[int, dict[str, str]]]:
    """Name -> weight and the states of its endpoints, of the only listener."""
    (listener,) = status["listeners"]
    return {x["name"]: (x["weight"], {y["address"]: y["state"] for y in x["endpoints"]}) for x in listener["backends"]}


def ids(status: Mapping[str, Any]) -> set[tuple[int, str, int]]:
    """Listener, endpoint and the endpoint's id."""
    return {
        (x["id"], z["address"], z["id"]) for x in status["listeners"] for y in x["backends"] for z in y["endpoints"]
    }


def conditions(status: Mapping[str, Any], kind: str) -> dict[str, str]:
    (found,) = (x for x in status["objects"] if x["kind"] == kind)
    return {x["type"]: x["status"] for place in found["places"] for x in place["conditions"]}


_HOOKS = """
from pathlib import Path
from loader.attach import attachments
print(*sorted(map(repr, attachments(Path("/run/bpf/penstock/v1")))), sep="\\n")
"""


def hooks(machine: Node) -> list[str]:
    """What of ours hangs on the node's interfaces, asked of the kernel."""
    return machine.command(sys.executable, "-c", _HOOKS).stdout.splitlines()


def states(status: Mapping[str, Any]) -> set[str]:
    (listener,) = status["listeners"]
    return {x["state"] for x in (*(y for x in listener["backends"] for y in x["endpoints"]), *listener["leftover"])}


def test_what_the_manifests_say_is_held_and_said(served: Node) -> None:
    status = served.until(lambda x: x["ready"])
    assert backends(status) == {
        "default/a:80": (3, {"10.232.0.1": "active", "10.232.0.2": "active"}),
        "default/b:80": (1, {"10.232.0.3": "active"}),
    }
    assert conditions(status, "Gateway")["Programmed"] == "True"
    assert conditions(status, "TCPRoute") == {"Accepted": "True", "ResolvedRefs": "True"}
    assert (status["agent_running"], status["uplinks"], status["source"]["errors"]) == (True, ["uplink0"], [])
    dump = served.command("bpftool", "map", "dump", "pinned", "/run/bpf/penstock/v1/listeners").stdout
    assert dump.count('"port": 80') == 2  # IPv4 and IPv6


def test_a_new_weight_and_a_new_endpoint(served: Node) -> None:
    status = served.changed(lambda: served.write("web.yaml", GATEWAY, route(a=1, b=1), *WEB[2:]))
    assert {name: weight for name, (weight, _) in backends(status).items()} == {"default/a:80": 1, "default/b:80": 1}
    more = (endpoint_slice("a", "10.232.0.1", "10.232.0.9"), ENDPOINTS[1])
    status = served.changed(lambda: served.write("endpoints.yaml", *more))
    assert backends(status)["default/a:80"][1]["10.232.0.9"] == "active"
    assert backends(status)["default/b:80"] == (1, {"10.232.0.3": "active"})


def test_a_backend_without_slices_is_absent(served: Node) -> None:
    status = served.changed(lambda: served.write("endpoints.yaml", endpoint_slice("a", "10.232.0.1")))
    assert states(status) == {"active", "absent"}


def test_a_backend_that_stays_absent_is_gone(machine: Node) -> None:
    machine.write("web.yaml", *WEB)
    machine.write("endpoints.yaml", *ENDPOINTS)
    machine.start("--absent-grace", "1")
    machine.until(lambda x: x["ready"])
    machine.write("endpoints.yaml", endpoint_slice("a", "10.232.0.1"))
    machine.until(lambda x: states(x) == {"active", "gone"})


def test_a_mistake_is_told_and_changes_nothing(served: Node) -> None:
    status = served.changed(lambda: served.write("web.yaml", GATEWAY, route(a=-1), *WEB[2:]))
    (error,) = status["source"]["errors"]
    assert (error["object"], error["field"]) == ("TCPRoute web", "spec.rules[0].backendRefs[0].weight")
    assert error["origin"].endswith("web.yaml")
    assert backends(status)["default/a:80"][0] == 3
    assert status["ready"]
    status = served.changed(lambda: served.write("web.yaml", GATEWAY, route(a=2), *WEB[2:]))
    assert status["source"]["errors"] == []
    assert backends(status)["default/a:80"][0] == 2


_SABOTAGE = """
from pathlib import Path
from loader.maps import Map
with Map.open_pinned(Path("/run/bpf/penstock/v1/listeners")) as listeners:
    listeners.delete_many([key for key, _ in listeners.items()])
"""


def test_what_somebody_else_changed_is_put_back(served: Node) -> None:
    def listeners() -> int:
        return served.command("bpftool", "map", "dump", "pinned", "/run/bpf/penstock/v1/listeners").stdout.count(
            '"port"'
        )

    served.command(sys.executable, "-c", _SABOTAGE)
    assert listeners() == 0
    # Any news of the source has the kernel read back; without any it is done now and then.
    served.write("note.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    served.until(lambda x: len(x["source"]["notes"]) == 1 and x["ready"] and listeners() == 2)


def test_a_port_that_the_node_lets_go_of_is_served_without_an_error(machine: Node) -> None:
    own = GATEWAY.replace('[{value: 192.0.2.1}, {value: "2001:db8::1"}]', "[{value: 10.231.0.1}]")
    machine.write("all.yaml", own, *WEB[1:], *ENDPOINTS)
    with machine.socket_at(80):
        agent = machine.start()
        status = machine.until(lambda x: x["ready"])
        assert status["unserved"] == [
            "listener 10.231.0.1 port 80/TCP: a socket on the node has this port at the node's own address"
        ]
        assert conditions(status, "Gateway")["Programmed"] != "True"
    # Any news of the source has the node looked at again; without any it is done now and then.
    machine.write("note.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    status = machine.until(lambda x: x["unserved"] == [] and x["ready"])
    assert conditions(status, "Gateway")["Programmed"] == "True"
    assert "ERROR" not in agent.said()


_UNHOOK = """
from pathlib import Path
from loader.attach import attachments, detach
pins = Path("/run/bpf/penstock/v1")
detach(next(x for x in attachments(pins) if x.program == "uplink_egress"), pins)
"""


def test_a_hook_that_somebody_took_off_is_put_back(served: Node) -> None:
    before = hooks(served)
    served.command(sys.executable, "-c", _UNHOOK)
    assert len(hooks(served)) == len(before) - 1
    served.write("note.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    served.until(lambda x: x["ready"] and hooks(served) == before)


def test_without_its_hook_the_gateway_is_not_programmed(served: Node) -> None:
    """Something that is no hook lies where the hook is to be pinned."""
    pins = served.command("ls", "/run/bpf/penstock/v1/links").stdout.split()
    (blocked,) = (f"/run/bpf/penstock/v1/links/{x}" for x in pins if x.startswith("uplink_egress"))
    served.command(sys.executable, "-c", _UNHOOK)
    served.command("bpftool", "map", "pin", "pinned", "/run/bpf/penstock/v1/gateways", blocked)
    served.write("note.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    status = served.until(lambda x: x["applied"]["error"] != "")
    assert not status["ready"]
    assert {x for x, _ in programmed(status).values()} == {"False"}
    served.command("rm", blocked)
    status = served.until(lambda x: x["ready"])
    assert {x for x, _ in programmed(status).values()} == {"True"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_that_is_stopped_leaves_everything_running(machine: Node, number: int) -> None:
    machine.write("all.yaml", *WEB, *ENDPOINTS)
    agent = machine.start()
    before = machine.until(lambda x: x["ready"])
    held = hooks(machine)
    assert agent.end(number) == 0
    assert agent.said().rstrip().endswith("(`penstock down` would remove it)")
    after = machine.until(lambda x: not x["agent_running"])
    assert after["listeners"] == before["listeners"]
    assert hooks(machine) == held
    assert len(held) == 3, held


def test_an_agent_that_was_killed_is_followed_by_one_that_takes_over(machine: Node) -> None:
    machine.write("all.yaml", *WEB, *ENDPOINTS)
    agent = machine.start()
    before = machine.until(lambda x: x["ready"])
    agent.end(signal.SIGKILL)
    machine.write("all.yaml", GATEWAY, route(a=1, b=1), *WEB[2:], *ENDPOINTS)
    assert machine.until(lambda x: not x["agent_running"])["listeners"] == before["listeners"]
    machine.start()
    after = machine.until(lambda x: x["ready"] and x["pid"] != before["pid"])
    ids = [
        [(x["id"], [z["id"] for y in x["backends"] for z in y["endpoints"]]) for x in y["listeners"]]
        for y in (before, after)
    ]
    assert ids[0] == ids[1]
    assert {weight for weight, _ in backends(after).values()} == {1}
    times = [
        {c["last_transition_time"] for x in y["objects"] for p in x["places"] for c in p["conditions"]}
        for y in (before, after)
    ]
    assert times[0] & times[1]


# As an agent that is loading its programs.
_STARTING = """
import os
from pathlib import Path
from agent.dataplane.lock import AgentLock
with AgentLock.take(Path("/run/penstock"), Path("/run/bpf/penstock")):
    print(os.getpid(), flush=True)
    input()
"""


def test_an_agent_that_starts_is_not_taken_for_the_one_before(machine: Node) -> None:
    machine.write("all.yaml", *WEB, *ENDPOINTS)
    agent = machine.start()
    pid = machine.until(lambda x: x["ready"])["pid"]
    assert f"agent {pid} runs" in machine.penstock("status").stdout
    agent.end(signal.SIGKILL)
    with machine.running(_STARTING) as successor:
        status = machine.until(lambda x: x["agent_running"])
        assert (status["agent_pid"], status["pid"]) == (int(successor), pid)
        assert f"agent {successor} starts" in machine.penstock("status").stdout
    assert machine.until(lambda x: not x["agent_running"])["agent_pid"] is None


def test_a_folder_that_is_away_at_the_start_deletes_nothing(machine: Node) -> None:
    machine.write("all.yaml", *WEB, *ENDPOINTS)
    agent = machine.start()
    before = machine.until(lambda x: x["ready"])
    agent.end(signal.SIGTERM)
    (machine.folder / "all.yaml").write_text("kind: [\n")  # it is bad when the next agent starts
    machine.start()
    after = machine.until(lambda x: x["ready"] and x["pid"] != before["pid"])
    assert after["listeners"] == before["listeners"]
    assert len(after["source"]["errors"]) == 1


def programmed(status: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Status and message of the condition, for the Gateway ("") and each of its listeners."""
    (found,) = (x for x in status["objects"] if x["kind"] == "Gateway")
    return {
        x["place"].removeprefix("listener "): (y["status"], y["message"])
        for x in found["places"]
        for y in x["conditions"]
        if y["type"] == "Programmed"
    }


def ports(*numbers: int) -> str:
    """The Gateway with a listener on each port."""
    names = ", ".join(f"{{name: l{x}, port: {x}, protocol: TCP}}" for x in numbers)
    return GATEWAY.replace("{name: web, port: 80, protocol: TCP}", names)


def test_a_listener_without_room_is_refused_by_itself(machine: Node) -> None:
    machine.write("all.yaml", ports(80), *WEB[1:], *ENDPOINTS)
    machine.start("--max-listeners", "4")
    before = machine.until(lambda x: x["ready"])
    more = (endpoint_slice("a", "10.232.0.1", "10.232.0.2", "10.232.0.9"), ENDPOINTS[1])
    status = machine.changed(lambda: machine.write("all.yaml", ports(79, 80, 81), *WEB[1:], *more))
    assert status["ready"]
    said = programmed(status)
    assert {name: x for name, (x, _) in said.items()} == {"": "False", "l79": "True", "l80": "True", "l81": "False"}
    assert "table listeners has no room" in said["l81"][1]
    assert any("default/edge l81: table listeners" in x for x in status["unserved"])
    (kept,) = (x for x in status["listeners"] if x["port"] == 80)
    assert kept["id"] == before["listeners"][0]["id"]
    assert "10.232.0.9" in {y["address"] for x in kept["backends"] for y in x["endpoints"]}
    status = machine.changed(lambda: machine.write("all.yaml", ports(80), *WEB[1:], *ENDPOINTS))
    assert {x for x, _ in programmed(status).values()} == {"True"}


def test_everything_changes_at_once_in_tables_that_are_just_large_enough(machine: Node) -> None:
    options = ("--max-listeners", "6", "--max-pools", "7", "--max-backends", "8", "--absent-grace", "3600")
    machine.write("all.yaml", ports(80, 81, 82), route(a=1), service("a"), endpoint_slice("a", "10.232.0.1"))
    agent = machine.start(*options)
    machine.until(lambda x: x["ready"])
    manifests = (ports(90, 91, 92), route(a=1), service("a"), endpoint_slice("a", "10.232.0.2", "10.232.0.3"))
    status = machine.changed(lambda: machine.write("all.yaml", *manifests))
    assert status["ready"], status["applied"]
    assert {x for x, _ in programmed(status).values()} == {"True"}
    assert {x["port"] for x in status["listeners"]} == {90, 91, 92}
    agent.end(signal.SIGKILL)
    machine.write("all.yaml", ports(80, 81, 82), *manifests[1:3], endpoint_slice("a", "10.232.0.4", "10.232.0.5"))
    machine.start(*options)
    status = machine.until(lambda x: x["ready"] and x["pid"] != status["pid"])
    assert {x for x, _ in programmed(status).values()} == {"True"}


def test_one_agent_per_node(served: Node) -> None:
    second = served.start("--metrics-address", "127.0.0.1:9465")
    assert second.process.wait(60) == 5
    assert second.said().startswith("error: another agent (pid ")
    assert served.penstock("down", code=5).stderr.startswith("error: another agent (pid ")


def test_a_file_that_was_never_good_is_said_to_be_out_of_force(machine: Node) -> None:
    machine.write("all.yaml", *WEB, *ENDPOINTS)
    machine.write("policy.yaml", "kind: [\n")
    agent = machine.start()
    machine.until(lambda x: x["ready"])
    assert "policy.yaml:2: " in agent.said()
    assert "there is no last good state of it: NONE of its objects is in force" in agent.said()
    said = machine.penstock("status").stdout
    assert 0 < said.find("NOT IN FORCE:") < said.find("error:")


def test_a_listener_that_another_gateway_takes_is_said_to_be_lost(machine: Node) -> None:
    machine.write("all.yaml", *WEB, *ENDPOINTS)
    agent = machine.start()
    machine.until(lambda x: x["ready"])
    first = GATEWAY[GATEWAY.index("kind: Gateway\n") :].replace("name: edge", "name: another")
    machine.write("more.yaml", f"apiVersion: gateway.networking.k8s.io/v1\n{first}")
    machine.until(lambda x: x["listeners"][0]["gateway"] == "default/another" and x["ready"])
    assert "Gateway default/edge listener web is not served any more: " in agent.said()
    assert "belongs to listener web of Gateway default/another" in agent.said()
    assert "warning: TCPRoute default/web" in machine.penstock("status").stdout


def test_last_good_states_in_a_run_folder_that_outlives_a_boot(served: Node) -> None:
    served.command("sh", "-c", "kill $(cut -d' ' -f1 /run/penstock/agent.lock)")
    served.command("sh", "-c", "while ! flock -n /run/penstock/agent.lock true; do sleep 0.1; done")
    served.command("sh", "-c", "umount /run/bpf; mount -t bpf bpf /run/bpf; ip link del penstock0")  # the boot
    served.write("web.yaml", "kind: [\n")
    served.start()
    status = served.until(lambda x: x["ready"])
    assert backends(status)["default/a:80"][1] == {"10.232.0.1": "active", "10.232.0.2": "active"}
    assert (len(status["source"]["errors"]), status["source"]["absent"]) == (1, [])


def test_down_removes_every_trace(machine: Node) -> None:
    machine.write("all.yaml", *WEB, *ENDPOINTS)
    agent = machine.start()
    machine.until(lambda x: x["ready"])
    agent.end(signal.SIGTERM)
    assert machine.penstock("down").stdout.startswith("removed ")
    assert "penstock" not in machine.command("ls", "/run", "/run/bpf").stdout
    assert "penstock" not in machine.command("ip", "link").stdout
    assert hooks(machine) in ([], [""])
    assert machine.penstock("status", code=4).stderr.startswith("error: nothing is pinned")
    assert machine.penstock("down").stdout == "nothing of Penstock was on this node\n"


def test_down_says_that_it_did_not_find_the_network_namespace_of_the_agent(machine: Node) -> None:
    machine.write("all.yaml", *WEB, *ENDPOINTS)
    agent = machine.start()
    machine.until(lambda x: x["ready"])
    agent.end(signal.SIGKILL)
    machine.command("sh", "-c", f"echo {agent.process.pid} 7 > /run/penstock/agent.lock")  # no namespace has inode 7
    done = machine.penstock("down", code=3)
    assert done.stdout.startswith("removed ")
    assert "net:[7], which was not found" in done.stderr
    assert "penstock" not in machine.command("ls", "/run", "/run/bpf").stdout
    assert "penstock0" in machine.command("ip", "link").stdout  # it may be another gateway's
    assert machine.penstock("down").stdout == "removed 0 hooks, 2 routes, 0 pins, its own interface\n"


def test_metrics_and_health(served: Node) -> None:
    def get(path: str) -> str:
        done = served.command("curl", "-sS", "--max-time", "10", "-w", "%{http_code}", f"http://127.0.0.1:9464{path}")
        return done.stdout

    assert get("/readyz").endswith("200")
    assert get("/healthz").endswith("200")
    assert '"ready":true' in get("/status")
    metrics = get("/metrics")
    assert "\npenstock_ready 1.0\n" in metrics
    assert 'penstock_table_fill_ratio{table="tcp_flows4"} 0.0' in metrics
    assert 'backend="default/a:80",endpoint="10.232.0.1:8080"' in metrics


@pytest.mark.parametrize(("words", "lines"), [("status --watch -o json", 3), ("status --watch", 100), ("top", 10)])
def test_a_watch_in_a_pipe_writes_as_it_sees(served: Node, words: str, lines: int) -> None:
    command, *rest = words.split()
    # It goes on for ever, unless somebody has read enough of it.
    pipe = (
        f"{PENSTOCK} {command} --pin-dir /run/bpf/penstock --interval 0.1 {' '.join(rest)} | head -n {lines} >/dev/null"
    )
    served.command("sh", "-c", pipe)


def test_a_watch_in_json_is_a_document_a_line(served: Node) -> None:
    watch = f"{PENSTOCK} status --pin-dir /run/bpf/penstock --watch -o json --interval 0.1 | head -n 2"
    first, second = map(json.loads, served.command("sh", "-c", watch).stdout.splitlines())
    assert first.keys() == second.keys() == json.loads(served.penstock("status", "-o", "json").stdout).keys()
    rates = [
        {y["connection_rate"] for x in said["traffic"]["listeners"] for y in x["backends"]} for said in (first, second)
    ]
    assert rates == [{None}, {0.0}]


def test_tables_for_people(served: Node) -> None:
    said = served.penstock("status").stdout
    for words in (
        "ready; agent",
        "Gateway default/edge at 192.0.2.1, 2001:db8::1",
        "web TCP/80",
        "default/a:80",
        "tcp_flows4",
    ):
        assert words in said, said
    assert served.penstock("flows").stdout.rstrip().endswith("0 flows")
    assert served.penstock("flows", "-o", "json").stdout == ""
