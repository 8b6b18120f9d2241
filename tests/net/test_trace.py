"""`penstock trace`: real traffic in, a line for each packet that was asked for out, and nothing left behind."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import bcc
import pytest

from lab.gateway import Gateway
from lab.manifests import write
from lab.process import Argument, Process, run
from lab.servers.witness import PORT, witness
from lab.topology import CLIENT, GATEWAY, SECOND_GATEWAY, UPLINK, Lab, Shape
from lab.traffic.ask import REFUSED, ask_tcp, associate, outcomes
from lab.wait import until
from loader.attach import attachments
from loader.running import program_array
from tests.net.tracing import records, tracing
from tests.net.world import EMPTY, PODS, TO_A, UNHEARD, WORLD


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway that serves WORLD."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("trace", Shape(PODS)))
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        write(WORLD, lab.directory / "manifests")
        yield stack.enter_context(Gateway(lab, lab.directory / "manifests"))


def drop(gateway: Gateway, family: int, times: int = 1) -> None:
    """Datagrams in the share of a backendRef that cannot be served."""
    for _ in range(times):
        with associate(gateway.lab.client, GATEWAY[family], EMPTY) as endpoint:
            endpoint.send(b"who\n")


def one_of_each(gateway: Gateway) -> None:
    """In both families: a connection that is served, one that is refused, a datagram refused, one dropped."""
    client = gateway.lab.client
    for family, address in GATEWAY.items():
        assert outcomes(client, address, TO_A, "TCP", 1) == {"a": 1}
        for protocol in ("TCP", "UDP"):
            assert outcomes(client, address, UNHEARD, protocol, 1) == {REFUSED: 1}
        drop(gateway, family)


SELECTED: dict[str, tuple[tuple[Argument, ...], dict[tuple[str, str], int]]] = {
    "a verdict": (("--verdict", "rejected_rst"), {("TCP", "rejected_rst"): 2}),
    "two verdicts": (
        ("--verdict", "rejected rst", "--verdict", "rejected_icmp"),
        {("TCP", "rejected_rst"): 2, ("UDP", "rejected_icmp"): 2},
    ),
    "drops": (("--verdict", "drops"), {("UDP", "drop_reject_share"): 2}),
    "a port": (("--port", str(UNHEARD)), {("TCP", "rejected_rst"): 2, ("UDP", "rejected_icmp"): 2}),
    "a port and a protocol": (("--port", str(UNHEARD), "--protocol", "udp"), {("UDP", "rejected_icmp"): 2}),
    "a client's network": (("--client", "10.200.0.0/24", "--verdict", "drops"), {("UDP", "drop_reject_share"): 1}),
    "an IPv6 client": (
        ("--client", str(CLIENT[6]), "--port", str(UNHEARD), "--protocol", "tcp"),
        {("TCP", "rejected_rst"): 1},
    ),
    "nobody": (("--client", "192.0.2.0/24"), {}),
    "a gateway": (("--gateway", str(GATEWAY[4]), "--port", str(EMPTY)), {("UDP", "drop_reject_share"): 1}),
    "another gateway": (("--gateway", str(SECOND_GATEWAY[4])), {}),
    "a hook where none of it passes": (("--hook", "local_egress"), {}),
}


@pytest.mark.parametrize("name", SELECTED)
def test_exactly_what_was_asked_for_is_shown(gateway: Gateway, name: str) -> None:
    words, expected = SELECTED[name]
    with tracing(gateway, "-o", "json", *words) as process:
        one_of_each(gateway)
        *packets, summary = records(process)
    assert Counter((x["protocol"], x["verdict"]) for x in packets) == expected
    assert summary["shown"] == sum(expected.values())
    assert summary["lost"] == 0


def test_both_ways_of_a_flow_are_shown_with_whose_they_are(gateway: Gateway, family: int) -> None:
    words = ("--gateway", str(GATEWAY[family]), "--port", str(TO_A), "--protocol", "tcp", "-o", "json")
    with tracing(gateway, *words) as process:
        answer = ask_tcp(gateway.lab.client, GATEWAY[family], TO_A)
        *packets, _ = records(process)
    pod = gateway.lab.address("a", family)
    own = {"source": str(CLIENT[family]), "sport": answer.client[1], "destination": str(GATEWAY[family]), "dport": TO_A}
    there = {**own, "destination": str(pod), "dport": PORT}
    back = {"source": str(pod), "sport": PORT, "destination": own["source"], "dport": own["sport"]}
    at_last = {**back, "source": own["destination"], "sport": TO_A}
    assert {(x["hook"], x["verdict"], x["interface"]) for x in packets} == {
        ("uplink_ingress", "forwarded", UPLINK),
        ("uplink_egress", "replied", UPLINK),
    }
    syn, syn_ack = packets[:2]
    assert (syn["packet"], syn["became"], syn["flags"]) == (own, there, "S")
    assert (syn_ack["packet"], syn_ack["became"], syn_ack["flags"]) == (back, at_last, "SA")
    for x in packets:
        assert (x["listener"], x["backend"]) == (f"default/lab/tcp-{TO_A}", f"default/a:{PORT}")
        assert x["endpoint"] == (f"[{pod}]:{PORT}" if family == 6 else f"{pod}:{PORT}")


def test_lines_are_for_people(gateway: Gateway) -> None:
    with tracing(gateway, "--port", str(UNHEARD), "--count", "2") as process:
        one_of_each(gateway)
        assert process.wait() == 0
        first, second = (x for x in process.output().splitlines() if "uplink ingress" in x)
    assert " uplink ingress uplink0  rejected rst      TCP 10.200.0.2:" in first
    assert first.endswith(f" -> 10.200.0.10:{UNHEARD} S, 60 B")
    assert f" -> 10.200.0.10:{UNHEARD}, 32 B" in second
    assert "2 packets shown: 1 rejected rst, 1 rejected icmp; 0 not shown" in process.output()


def test_interfaces_are_those_of_the_agents_network_wherever_it_is_asked(gateway: Gateway) -> None:
    log = gateway.lab.directory / "outside.log"
    words = ("--port", str(UNHEARD), "--count", "1", "-o", "json")
    with Process("trace", gateway.command_line_from_outside("trace", *words), log=log) as process:
        process.until_output("tracing;")
        one_of_each(gateway)
        assert process.wait() == 0
        packet, _ = (json.loads(x) for x in process.output().splitlines() if x.startswith("{"))
    assert packet["interface"] == UPLINK


def test_what_is_beyond_the_rate_is_counted(gateway: Gateway, family: int) -> None:
    with tracing(gateway, "--verdict", "drops", "--rate", "1", "-o", "json") as process:
        drop(gateway, family, 200)
        *packets, summary = records(process)
    assert len(packets) == summary["shown"]
    assert summary["shown"] + summary["lost"] == 200
    assert summary["lost"] > 0


def test_it_ends_by_itself(gateway: Gateway) -> None:
    done = gateway.command("trace", "--seconds", "0.1", "--client", "192.0.2.0/24")
    assert "0 packets shown; 0 not shown" in done.stderr


def slots(gateway: Gateway) -> list[object]:
    """What is in the arrays of the hooked programs: ids of programs, None for nothing."""
    found = []
    with gateway.lab.node.inside():
        for hook in attachments(gateway.pins / "v1"):
            array = program_array(hook.program_id, "tracers")
            assert array is not None
            with array:
                found.append(array.get(0))
    return found


def nothing_is_left(gateway: Gateway) -> bool:
    return set(slots(gateway)) == {None}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_in_the_kernel(gateway: Gateway, number: signal.Signals) -> None:
    pinned = sorted(x.name for x in gateway.pins.rglob("*"))
    with tracing(gateway) as process:
        assert None not in slots(gateway)
        process.signal(number)
        process.wait()
    until(lambda: nothing_is_left(gateway), "the slot is empty")
    assert sorted(x.name for x in gateway.pins.rglob("*")) == pinned
    one_of_each(gateway)


def test_a_trace_goes_on_while_the_agent_is_killed_and_starts_again(gateway: Gateway) -> None:
    with tracing(gateway, "--verdict", "rejected_rst", "-o", "json") as process:
        for change in (lambda: None, gateway.kill, gateway.start):
            change()
            until(lambda: None not in slots(gateway), "all programs are traced")
            assert outcomes(gateway.lab.client, GATEWAY[4], UNHEARD, "TCP", 2) == {REFUSED: 2}
        *packets, _ = records(process)
    assert len(packets) == 6


def test_there_is_room_for_one(gateway: Gateway) -> None:
    with tracing(gateway):
        done = gateway.command("trace", "--seconds", "0.1", check=False)
    assert done.returncode == 5
    assert "another trace runs on this node (pid " in done.stderr


def test_where_nothing_is_installed(gateway: Gateway) -> None:
    done = gateway.command("trace", "--pin-dir", gateway.lab.pins / "nothing", check=False)
    assert done.returncode == 4
    assert "no agent has run on this node" in done.stderr


def test_without_bcc_it_says_what_to_install(gateway: Gateway) -> None:
    """Debian's package is hidden from this one process."""
    hidden = f'mount -t tmpfs none {Path(bcc.__file__).parent} && exec "$@"'
    command = ("unshare", "--mount", "sh", "-c", hidden, "sh", *gateway.command_line("trace", "--seconds", "0.1"))
    done = run(*command, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("error: bcc is not there (")
    assert "install Debian's python3-bpfcc" in done.stderr
    assert done.stderr.count("\n") == 1
