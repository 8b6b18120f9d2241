"""What an operator can get wrong: one line that says what and, where it is known, what to do; and an exit code."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli.main import main
from tests.agent.node import PENSTOCK, Node
from tests.agent.objects import GATEWAY, endpoint_slice, route, service

WEB = (GATEWAY, route(a=1), service("a"), endpoint_slice("a", "10.232.0.1"))


def run(machine: Node, *options: str, code: int) -> list[str]:
    """`penstock run` that ends by itself; what it says on stderr."""
    place = ("--manifests", str(machine.folder), "--uplink", "uplink0")
    return machine.penstock("run", *place, *options, code=code).stderr.splitlines()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--manifests", "/nowhere"), "Directory '/nowhere' does not exist"),
        (("--delivery", "magic"), "'magic' is not one of 'stack', 'redirect'"),
        (("--tcp-flows", "1"), "--tcp-flows: 1 is not from 1024 to"),
        (("--limit-udp", "0"), "--limit-udp: 0 is not from 1 to"),
        (("--tcp-flows", "many"), "'many' is not a valid integer"),
        (("--metrics-address", "localhost"), "--metrics-address: 'localhost' does not end in a port"),
        (("--snat-ports", "1-2-3"), "'1-2-3' is not FIRST-LAST"),
        (("--snat-ports", "80-90"), "--snat-ports: 80-90 is no range of ports from 1024"),
        (("--snat-address", "me"), "'me' does not appear to be an IPv4 or IPv6 address"),
        (("--symmetric", "10.0.0.1/8"), "--symmetric: 10.0.0.1/8 has host bits set"),
        (("--uplink", "no/such"), "--uplink: 'no/such' cannot be the name of an interface"),
        (("--uplink", "uplink0"), "--uplink: 'uplink0' is given twice"),
    ],
)
def test_a_wrong_setting_is_a_wrong_command_line(machine: Node, options: tuple[str, ...], says: str) -> None:
    assert says in "\n".join(run(machine, *options, code=2))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PENSTOCK_RUN_TCP_FLOWS", "abc"),
        ("PENSTOCK_RUN_TCP_FLOWS", "1"),
        ("PENSTOCK_RUN_SNAT_ADDRESS", "me"),
        ("PENSTOCK_RUN_UPLINK", "no/such"),
    ],
)
def test_a_wrong_setting_of_the_environment_is_told_with_its_variable(tmp_path: Path, name: str, value: str) -> None:
    done = CliRunner().invoke(main, ["run", "--manifests", str(tmp_path)], env={name: value})
    assert done.exit_code == 2
    assert done.stderr.endswith(f" (from the environment: {name})\n")


def test_every_wrong_setting_is_named_at_once(machine: Node) -> None:
    said = "\n".join(run(machine, "--tcp-flows", "1", "--limit-udp", "0", code=2))
    assert ("--tcp-flows" in said, "--limit-udp" in said) == (True, True)


def test_no_manifests(machine: Node) -> None:
    assert "Missing option '--manifests'" in machine.penstock("run", code=2).stderr


@pytest.mark.parametrize(
    "drop",
    [
        ("--reuid=65534", "--regid=65534", "--clear-groups"),
        ("--bounding-set=-all", "--inh-caps=-all"),  # root in a container
    ],
    ids=["nobody", "root without capabilities"],
)
def test_too_few_rights(machine: Node, drop: tuple[str, ...]) -> None:
    agent = [PENSTOCK, "run", "--manifests", "/usr", "--pin-dir", "/run/bpf/penstock"]
    (line,) = machine.command("setpriv", *drop, *agent, code=3).stderr.splitlines()
    assert line.startswith("error: ")
    assert "root" in line


@pytest.mark.parametrize("mode", ["0700", "1777"])
def test_a_command_without_root(machine: Node, mode: str) -> None:
    machine.write("web.yaml", *WEB)
    agent = machine.start()
    machine.until(lambda x: x["ready"])
    agent.end(signal.SIGKILL)
    machine.command("chmod", mode, "/run/bpf")
    for command in (["status"], ["flows"], ["top"], ["trace"], ["explain", "tcp", "10.0.0.1", "10.0.0.2:80"], ["down"]):
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PENSTOCK, *command]
        (line,) = machine.command(*nobody, "--pin-dir", "/run/bpf/penstock", code=3).stderr.splitlines()
        assert (line.startswith("error: "), "root" in line) == (True, True)


def test_no_bpf_file_system(machine: Node) -> None:
    (line,) = run(machine, "--pin-dir", "/run/penstock-pins", code=3)
    assert line.startswith("error: ")
    assert "mount -t bpf" in line


def test_a_kernel_without_btf(machine: Node) -> None:
    machine.command("mount", "-t", "tmpfs", "tmpfs", "/sys/kernel/btf")
    (line,) = run(machine, code=3)
    assert line.startswith("error: /sys/kernel/btf/vmlinux is missing: this kernel was built without CONFIG_DEBUG_INFO")


def test_no_forwarding(machine: Node) -> None:
    machine.command("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
    (line,) = run(machine, code=3)
    assert "net.ipv4.ip_forward=1" in line


def test_a_port_for_http_that_is_taken(machine: Node) -> None:
    with machine.socket_at(9464):
        (line,) = run(machine, code=6)
    assert line == "error: [Errno 98] --metrics-address 127.0.0.1 port 9464: Address already in use"
    assert "penstock" not in machine.command("ls", "/run", "/run/bpf").stdout
    assert "penstock" not in machine.command("ip", "link").stdout


def test_a_second_agent_is_told_of_the_first_and_not_of_its_port(machine: Node) -> None:
    machine.write("web.yaml", *WEB)
    agent = machine.start()
    machine.until(lambda x: x["ready"])
    (line,) = run(machine, code=5)
    assert line.startswith(f"error: another agent (pid {agent.process.pid}) runs on this node")


def test_a_second_agent_with_folders_of_its_own(machine: Node) -> None:
    machine.write("web.yaml", *WEB)
    pid = machine.start().process.pid
    machine.until(lambda x: x["ready"])
    (line,) = run(machine, "--pin-dir", "/run/bpf/other", "--run-dir", "/run/other", code=5)
    assert line.startswith(f"error: another agent (pid {pid}) runs in this network namespace, with folders of its own")
    assert "other" not in machine.command("ls", "/run", "/run/bpf").stdout


def test_the_tables_of_somebody_who_knows_no_successors(machine: Node) -> None:
    machine.write("web.yaml", *WEB)
    agent = machine.start()
    machine.until(lambda x: x["ready"])
    agent.process.kill()
    agent.process.wait()
    machine.command("rm", "/run/bpf/penstock/v1/in_force")
    (line,) = run(machine, code=5)
    assert "run that one; or else `penstock down`" in line


def test_object_files_that_are_not_there(machine: Node) -> None:
    says = "error: /nowhere has no tc.bpf.o: --object-dir must name the folder that `make bpf` made"
    assert run(machine, "--object-dir", "/nowhere", code=6) == [says]
    assert machine.penstock("status", "--object-dir", "/nowhere", code=6).stderr == f"{says}\n"
    assert "penstock" not in machine.command("ls", "/run/bpf").stdout


def test_an_uplink_that_is_not_there_is_waited_for(machine: Node) -> None:
    machine.write("web.yaml", *WEB)
    machine.command("ip", "link", "set", "uplink0", "name", "other0")
    machine.start()
    status = machine.until(lambda x: x["applied"]["verified_at"] is not None)
    assert (status["ready"], status["uplinks"]) == (False, [])
    assert any("uplink0" in x for x in status["notes"])
    assert "no uplink is there" in str(status["objects"])
    machine.command("ip", "link", "set", "other0", "name", "uplink0")
    assert machine.until(lambda x: x["ready"])["uplinks"] == ["uplink0"]


def test_every_line_of_the_log_has_its_time(machine: Node) -> None:
    machine.write("web.yaml", *WEB)
    agent = machine.start()
    machine.until(lambda x: x["ready"])
    agent.end(signal.SIGTERM)
    lines = agent.said().splitlines()
    assert [x for x in lines if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ", x)] == []
    assert any("stopped; everything goes on" in x for x in lines)


@pytest.mark.parametrize("command", ["status", "flows", "top"])
def test_nothing_is_installed(machine: Node, command: str) -> None:
    (line,) = machine.penstock(command, code=4).stderr.splitlines()
    assert line.startswith("error: nothing is pinned in /run/bpf/penstock:")


@pytest.mark.parametrize("command", ["status", "top"])
def test_another_run_dir_than_the_agents(machine: Node, tmp_path: Path, command: str) -> None:
    machine.write("web.yaml", *WEB)
    machine.start()
    machine.until(lambda x: x["ready"])
    (line,) = machine.penstock(command, "--run-dir", str(tmp_path), code=4).stderr.splitlines()
    assert line.startswith(f"error: no report in {tmp_path}")


def test_flows_say_why_they_have_no_names(machine: Node, tmp_path: Path) -> None:
    machine.write("web.yaml", *WEB)
    machine.start()
    machine.until(lambda x: x["ready"])
    (line,) = machine.penstock("flows", "--run-dir", str(tmp_path)).stderr.splitlines()
    assert line.startswith(f"note: no backend's name is known: there is no dataplane.json in {tmp_path}")
    assert machine.penstock("flows").stderr == ""


@pytest.mark.parametrize("words", [("explain", "tcp", "10.0.0.1", "10.0.0.2:80"), ("trace", "--count", "1")])
def test_another_run_dir_than_the_agents_in_another_network_namespace(
    machine: Node, tmp_path: Path, words: tuple[str, ...]
) -> None:
    machine.write("web.yaml", *WEB)
    machine.start()
    machine.until(lambda x: x["ready"])
    command = [PENSTOCK, *words, "--pin-dir", "/run/bpf/penstock", "--run-dir", str(tmp_path)]
    (line,) = machine.command("unshare", "--net", *command, code=3).stderr.splitlines()
    assert line.startswith("error: the hooks that are pinned in /run/bpf/penstock/v1 are in another network namespace")
    if words[0] == "explain":
        machine.command(*command)
