"""`penstock explain` on a node with a gateway: what it says is what then happens, and it changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Raw

from agent.compile.image import BackendState
from agent.dataplane.flows import Endpoint
from agent.dataplane.tables import FLOWS
from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.process import run
from lab.servers.witness import PORT, witness, witness_in
from lab.topology import CLIENT, FAMILIES, GATEWAY, NODE, UPLINK, Lab, Shape, backend_addresses
from lab.traffic.ask import REFUSED, Answer, ask, associate, connect, outcomes
from loader.maps import Map, MapType
from tests.agent.node import PENSTOCK, Node
from tests.agent.objects import GATEWAY as MANIFEST
from tests.agent.objects import endpoint_slice, route, service
from tests.net.remote import HERE, REMOTE, attached
from tests.net.remote import UPLINK as SECOND_UPLINK

PODS = {"a": 11, "b": 12}
SPLIT, HALF, EMPTY, ONE, SAME, FAR, CLOSED = PORT, 7020, 7021, 7030, 7031, 7040, 9
WORLD = World(
    listeners=tuple(
        Listener(protocol, port, weights)
        for protocol in ("TCP", "UDP")
        for port, weights in {
            SPLIT: {"a": 1, "b": 1},
            HALF: {"a": 1, "missing": 1},
            EMPTY: {"missing": 1},
            ONE: {"a": 1},
            SAME: {"a": 1},
            FAR: {"remote": 1},
        }.items()
    ),
    services={**{name: (Pod(number),) for name, number in PODS.items()}, "remote": (Pod(REMOTE),)},
)
OPEN = {"TCP": connect, "UDP": associate}
QUEUES = frozenset({MapType.QUEUE})  # cannot be read without taking something out
MOVING = frozenset({"ageing", "flow_usage"})  # ageing moves these


@pytest.fixture(scope="module", params=["stack", "redirect"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """Two pods on the node, and a backend behind a second uplink."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("explain", Shape(PODS)))
        remote = attached(lab, stack)
        stack.enter_context(witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT))
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        write(WORLD, lab.directory / "manifests")
        options = ("--uplink", SECOND_UPLINK)
        yield stack.enter_context(Gateway(lab, lab.directory / "manifests", delivery=request.param, options=options))


@pytest.fixture(params=FAMILIES, ids=("IPv4", "IPv6"))
def family(request: pytest.FixtureRequest) -> int:
    """The address family of the packets."""
    found: int = request.param
    return found


@pytest.fixture(params=["TCP", "UDP"])
def protocol(request: pytest.FixtureRequest) -> str:
    """The protocol of the packets."""
    found: str = request.param
    return found


def explain(gateway: Gateway, *words: object) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(gateway.command("explain", "-o", "json", *map(str, words)).stdout)
    assert "note" not in steps(said), "the programs that are hooked are those of the file"
    return said


def steps(said: dict[str, Any]) -> dict[str, str]:
    return {x["topic"]: x["text"] for x in said["steps"]}


def at_gateway(family: int, port: int) -> Endpoint:
    return Endpoint(GATEWAY[family], port)


def endpoint(name: str, family: int) -> str:
    number = REMOTE if name == "remote" else PODS[name]
    return str(Endpoint(backend_addresses(number)[family], PORT))


def explained_then_asked(
    gateway: Gateway, protocol: str, family: int, port: int, *, client: str = "client", source: int = 0
) -> tuple[dict[str, Any], Answer]:
    """What is said of a new flow from a port that is free, and how that very flow then went."""
    namespace, address = (
        (gateway.lab.client, CLIENT[family]) if client == "client" else (gateway.lab.node, NODE[family])
    )
    if protocol == "UDP":
        with associate(namespace, GATEWAY[family], port) as waiting:
            own = Endpoint(address, waiting.getsockname()[1])
            return explain(gateway, "udp", own, at_gateway(family, port)), ask(waiting)
    own = Endpoint(address, source)
    said = explain(gateway, "tcp", own, at_gateway(family, port))
    with connect(namespace, GATEWAY[family], port, (str(address), source)) as connection:
        return said, ask(connection)


# ---- new flows: what is said, and then the same flow for real


@pytest.mark.parametrize("source", [31_001, 31_002])
def test_a_new_flow_reaches_the_backend_that_was_named(
    gateway: Gateway, protocol: str, family: int, source: int
) -> None:
    said, answer = explained_then_asked(gateway, protocol, family, SPLIT, source=source)
    assert said["endpoint"] == endpoint(answer.backend, family)
    assert said["seen_as"] == str(Endpoint(*answer.peer)) == str(Endpoint(*answer.client))
    assert (said["verdict"], said["hook"], said["interface"]) == ("forwarded", "uplink_ingress", UPLINK)
    assert (said["gateway"], said["listener"]) == ("default/lab", f"{protocol.lower()}-{SPLIT}")
    assert said["route"] == f"default/lab-{protocol.lower()}-{SPLIT}"
    assert said["backend"] == f"default/{answer.backend}:{PORT}"
    assert said["slot"] is not None
    assert said["met"] is None
    way = {"stack": "up the stack", "redirect": f"past the stack, to the pod behind pod-{answer.backend}"}
    assert steps(said)["way"] == way[gateway.delivery]
    hops = 64 - (gateway.delivery == "redirect")
    assert f"{answer.client[1]} -> {said['endpoint']}" in said["became"]
    assert said["became"].endswith(f" {hops}")


def test_a_client_on_the_node(gateway: Gateway, protocol: str, family: int) -> None:
    said, answer = explained_then_asked(gateway, protocol, family, SPLIT, client="node", source=31_003)
    assert said["endpoint"] == endpoint(answer.backend, family)
    assert said["seen_as"] == str(Endpoint(*answer.peer))
    assert answer.peer[0] == GATEWAY[family]
    assert (said["interface"], said["hook"]) == ("penstock0", "local_egress")
    assert "the client is on this node" in steps(said)["backend sees"]


def test_a_client_in_a_pod(gateway: Gateway, family: int) -> None:
    pod = Endpoint(backend_addresses(PODS["a"])[family], 31_004)
    said = explain(gateway, "tcp", pod, at_gateway(family, ONE))
    assert (said["interface"], said["seen_as"]) == ("penstock0", str(at_gateway(family, 31_004)))


def test_a_backend_behind_an_uplink(gateway: Gateway, protocol: str, family: int) -> None:
    said, answer = explained_then_asked(gateway, protocol, family, FAR, source=20_100)
    assert said["endpoint"] == endpoint("remote", family)
    assert said["seen_as"].startswith(str(Endpoint(HERE[family], 0)).removesuffix("0"))
    assert answer.peer[0] == HERE[family]
    if 10_000 <= answer.client[1] < 30_000:
        assert said["seen_as"] == str(Endpoint(*answer.peer))
    assert f"the backend is behind {SECOND_UPLINK}" in steps(said)["backend sees"]
    assert steps(said)["way"] == "past the stack, straight out of an uplink"


def test_a_port_that_another_listeners_flow_has_at_the_same_backend(gateway: Gateway, family: int) -> None:
    source = (str(CLIENT[family]), 31_005)
    with connect(gateway.lab.client, GATEWAY[family], ONE, source) as first:
        assert ask(first).peer[0] == CLIENT[family]
        said, answer = explained_then_asked(gateway, "TCP", family, SAME, source=31_005)
    assert answer.peer[0] == GATEWAY[family]
    assert said["seen_as"] == str(Endpoint(*answer.peer))
    assert "another flow has the client's address and port there" in steps(said)["backend sees"]


# ---- flows that are there


def test_an_existing_flow_both_ways(gateway: Gateway, protocol: str, family: int) -> None:
    with OPEN[protocol](gateway.lab.client, GATEWAY[family], SPLIT) as open_:
        answer = ask(open_)
        client, pod = str(Endpoint(*answer.client)), endpoint(answer.backend, family)
        flags = ("--flags", "A") if protocol == "TCP" else ()
        asked = explain(gateway, protocol.lower(), client, at_gateway(family, SPLIT), *flags)
        answered = explain(gateway, protocol.lower(), pod, client, *flags)
    state = "established" if protocol == "TCP" else "udp"
    for said in (asked, answered):
        assert (said["met"]["state"], said["met"]["client"], said["met"]["backend"]) == (state, client, pod)
        assert (said["endpoint"], said["slot"], said["listener"]) == (pod, None, f"{protocol.lower()}-{SPLIT}")
        assert said["met"]["packets"] > 1
    assert (asked["verdict"], answered["verdict"]) == ("forwarded", "replied")
    hook = {"stack": "uplink_egress", "redirect": "pod_ingress"}[gateway.delivery]
    assert answered["hook"] == hook
    assert f"{at_gateway(family, SPLIT)} -> {client}" in answered["became"]


@pytest.mark.parametrize(("flags", "says"), [("R", "makes it reset"), ("FA", "makes it closing")])
def test_what_a_segment_would_do_to_its_flow(gateway: Gateway, family: int, flags: str, says: str) -> None:
    with connect(gateway.lab.client, GATEWAY[family], ONE) as connection:
        client = Endpoint(*ask(connection).client)
        said = explain(gateway, "tcp", client, at_gateway(family, ONE), "--flags", flags)
        assert says in steps(said)["flow"]
        ask(connection)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_icmp_error_about_a_flow(gateway: Gateway, family: int) -> None:
    with connect(gateway.lab.client, GATEWAY[family], ONE) as connection:
        client = ask(connection).client
        ip, error = (IP, ICMP(type=3, code=4)) if family == 4 else (IPv6, ICMPv6DestUnreach())
        quoted = ip(src=str(GATEWAY[family]), dst=str(client[0])) / TCP(sport=ONE, dport=client[1])
        router = "10.200.0.99" if family == 4 else "fd00:200::99"
        packet = bytes(ip(src=router, dst=str(GATEWAY[family])) / error / quoted)
        said = explain(gateway, "--packet", packet.hex())
    assert (said["verdict"], said["met"]["client"]) == ("related", str(Endpoint(*client)))


def test_the_first_fragment_of_a_flows_datagram(gateway: Gateway) -> None:
    with associate(gateway.lab.client, GATEWAY[4], SPLIT) as open_:
        client = ask(open_).client
        fragment = IP(src=str(client[0]), dst=str(GATEWAY[4]), id=7, flags="MF") / UDP(sport=client[1], dport=SPLIT)
        said = explain(gateway, "--packet", bytes(fragment / Raw(bytes(16))).hex())
    assert (said["verdict"], said["met"]["client"]) == ("forwarded", str(Endpoint(*client)))
    assert "first fragment" in steps(said)["packet"]


# ---- what is turned away


def test_a_closed_port(gateway: Gateway, protocol: str, family: int) -> None:
    said = explain(gateway, protocol.lower(), Endpoint(CLIENT[family], 31_006), at_gateway(family, CLOSED))
    assert said["verdict"] == {"TCP": "rejected_rst", "UDP": "rejected_icmp"}[protocol]
    assert steps(said)["listener"] == f"none at {protocol}/{CLOSED}"
    assert steps(said)["because"] == "nobody listens at that port of the gateway"
    assert outcomes(gateway.lab.client, GATEWAY[family], CLOSED, protocol, 1) == {REFUSED: 1}


def test_a_rejected_share(gateway: Gateway, protocol: str, family: int) -> None:
    said = explain(gateway, protocol.lower(), Endpoint(CLIENT[family], 31_007), at_gateway(family, EMPTY))
    assert said["verdict"] == {"TCP": "rejected_rst", "UDP": "drop_reject_share"}[protocol]
    assert steps(said)["slot"].endswith("which is rejected")
    assert f"default/missing:{PORT}: there is no such Service" in steps(said)["because"]


def test_a_share_that_is_rejected_for_some(gateway: Gateway) -> None:
    seen = set()
    for source in range(31_010, 31_026):
        said = explain(gateway, "tcp", Endpoint(CLIENT[4], source), at_gateway(4, HALF))
        try:
            with connect(gateway.lab.client, GATEWAY[4], HALF, (str(CLIENT[4]), source)) as connection:
                came_to = ask(connection).backend
        except ConnectionRefusedError:
            came_to = REFUSED
        assert said["verdict"] == {REFUSED: "rejected_rst", "a": "forwarded"}[came_to]
        seen.add(came_to)
        if len(seen) == 2:
            return
    pytest.fail(f"all were {seen}")


@pytest.mark.parametrize(
    ("words", "verdict", "because"),
    [
        (("tcp", f"{CLIENT[4]}", "203.0.113.1:80"), "not_ours", "203.0.113.1 is no gateway's address"),
        (("udp", f"[{CLIENT[6]}]:1", "[2001:db8::1]:53"), "not_ours", "2001:db8::1 is no gateway's address"),
        (("tcp", "10.201.0.11:80", "203.0.113.1:80", "--interface", UPLINK, "--hook", "egress"), "not_ours", "no flow"),
        (("tcp", f"{backend_addresses(11)[4]}:{PORT}", f"{CLIENT[4]}:9"), "not_ours", "it is a reply of no flow"),
        (("icmp", f"{CLIENT[4]}", f"{GATEWAY[4]}"), "ping", ""),
        (("icmp", f"{CLIENT[6]}", f"{GATEWAY[6]}"), "ping", ""),
        (("tcp", f"{GATEWAY[4]}:1", f"{GATEWAY[4]}:{ONE}"), "drop_martian", ""),
        (("tcp", f"{CLIENT[4]}:1", f"{GATEWAY[4]}:{ONE}", "--flags", "R"), "drop_no_flow", ""),
        (("--packet", "ffffffffffff020000000002080600010800060400010200000000020ac800020000000000000ac8000a"),
         "neighbour", ""),
        (("--packet", "0200000000ff02000000000281000005080045"), "not_ours", "the frame is for 02:00:00:00:00:ff"),
        (("--packet", f"45000018000020004011 0000 0ac80002 0ac8000a {'00' * 4}"), "drop_malformed", "UDP header"),
    ],
)  # fmt: skip
def test_other_packets(gateway: Gateway, words: tuple[str, ...], verdict: str, because: str) -> None:
    said = explain(gateway, *words)
    assert said["verdict"] == verdict
    assert because in steps(said).get("because", "")


# ---- without a trace


def state(gateway: Gateway) -> dict[str, Any]:
    """Every table that the programs write, octet for octet, and every pin."""
    (pins,) = gateway.pins.glob("v*")
    found: dict[str, Any] = {"pins": sorted(str(x) for x in pins.rglob("*"))}
    for path in sorted(x for x in pins.iterdir() if x.is_file()):
        with Map.open_pinned(path) as table:
            if path.name not in MOVING and table.type not in QUEUES:
                found[path.name] = sorted(table.raw_items())
            elif path.name == "flow_usage":
                found[path.name] = (table.get(0)["tcp4"], table.get(0)["tcp6"])
    return found


def test_nothing_that_is_alive_changes(gateway: Gateway) -> None:
    with connect(gateway.lab.client, GATEWAY[4], ONE) as connection:
        client = Endpoint(*ask(connection).client)
        for words in (
            ("tcp", client, at_gateway(4, ONE), "--flags", "R"),
            ("tcp", Endpoint(CLIENT[6], 31_030), at_gateway(6, SPLIT)),
            ("udp", Endpoint(NODE[4], 31_031), at_gateway(4, FAR)),
            ("udp", Endpoint(CLIENT[4], 31_032), at_gateway(4, EMPTY)),
            ("tcp", Endpoint(CLIENT[4], 31_033), at_gateway(4, CLOSED)),
        ):
            changes = []
            # The interfaces have packets of their own now and then; what a trial changed would change every time.
            while changed := _changed_by(gateway, *words):
                changes.append(changed)
                assert len(changes) < 10, (words, changes)
        ask(connection)


def test_nobody_hears_of_a_backend_that_is_gone(gateway: Gateway) -> None:
    """A segment to one is turned into a reset, where the backend had one: not by a trial."""
    (pins,) = gateway.pins.glob("v*")
    with connect(gateway.lab.client, GATEWAY[4], ONE) as connection, Map.open_pinned(pins / "backends") as backends:
        client = Endpoint(*ask(connection).client)
        words = ("tcp", client, at_gateway(4, ONE), "--flags", "A")
        address = {"octets": backend_addresses(PODS["a"])[4].packed.ljust(16, b"\0")}
        alive = [(number, x) for number, x in backends.items() if x["address"] == address]
        for number, x in alive:
            backends.set(number, {**x, "state": BackendState.GONE})
        try:
            assert explain(gateway, *words)["verdict"] == "rejected_rst"
        finally:
            for number, x in alive:
                backends.set(number, x)
        ask(connection)


def _changed_by(gateway: Gateway, *words: object) -> list[str]:
    """Names of what is another after an explanation. Ageing may forget flows that were over meanwhile, and no more."""
    before = state(gateway)
    explain(gateway, *words)
    after = state(gateway)
    grown = [x for x in FLOWS if not set(after[x]) <= set(before[x])]
    counted = any(now > then for now, then in zip(after["flow_usage"], before["flow_usage"], strict=True))
    others = [x for x in before if x not in (*FLOWS, "flow_usage") and after[x] != before[x]]
    return [*grown, *others, *(["flow_usage"] if counted else [])]


def test_it_needs_no_agent_and_prints_lines(gateway: Gateway) -> None:
    gateway.stop()
    try:
        lines = gateway.command("explain", "tcp", str(CLIENT[4]), str(at_gateway(4, ONE))).stdout.splitlines()
    finally:
        gateway.start()
    assert lines[0] == f"packet        TCP {CLIENT[4]}:49152 -> {GATEWAY[4]}:{ONE}, flags S, TTL 64"
    assert lines[-1].startswith("verdict       forwarded. ")


def test_it_is_the_agents_network_wherever_it_is_asked(gateway: Gateway, family: int) -> None:
    words = ("tcp", str(CLIENT[family]), str(at_gateway(family, ONE)))
    outside = gateway.command_from_outside("explain", *words).stdout
    assert UPLINK in outside
    assert outside == gateway.command("explain", *words).stdout
    far = ("tcp", str(CLIENT[family]), str(at_gateway(family, FAR)))
    assert f"behind {SECOND_UPLINK}" in gateway.command_from_outside("explain", *far).stdout


# ---- what can go wrong


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "say tcp, udp or icmp, then SOURCE[:PORT] and DESTINATION[:PORT]; or --packet HEX"),
        (("sctp", "10.0.0.1", "10.0.0.2"), "'sctp' is not one of"),
        (("tcp", "10.0.0.1", "10.0.0.2"), "say which port of 10.0.0.2: 10.0.0.2:PORT"),
        (("udp", "fd00::1", "fd00::2"), "say which port of fd00::2: [fd00::2]:PORT"),
        (("udp", "fd00::1", "fd00::2:80"), "[fd00::2:80]:PORT, or is [fd00::2]:80 meant?"),
        (("tcp", "fe80::1%eth0", "[fe80::2]:1"), "'fe80::1%eth0' is no address, or address and port"),
        (("tcp", "me", "10.0.0.2:1"), "'me' is no address, or address and port"),
        (("tcp", "10.0.0.1:x", "10.0.0.2:1"), "'10.0.0.1:x' does not end in a port"),
        (("tcp", "10.0.0.1", "10.0.0.2:70000"), "'10.0.0.2:70000' does not end in a port"),
        (("tcp", "10.0.0.1", "[fd00::1]:80"), "10.0.0.1 and fd00::1 are not of one family"),
        (("icmp", "10.0.0.1:1", "10.0.0.2"), "ICMP has no ports"),
        (("tcp", "10.0.0.1", "10.0.0.2:1", "--flags", "X"), "'X' is no TCP flag"),
        (("udp", "10.0.0.1", "10.0.0.2:1", "--flags", "S"), "--flags are TCP's"),
        (("--packet", "45zz"), "'z' is no hex digit"),
        (("--packet", "ffff"), "2 octets are no Ethernet frame and no IP packet"),
        (("--packet", "4500"), "it ends within the IP header"),
        (("tcp", "10.0.0.1", "10.0.0.2:1", "--packet", "45"), "--packet says all of a packet"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(machine: Node, words: tuple[str, ...], says: str) -> None:
    done = machine.penstock("explain", *words, code=2)
    assert says in done.stderr
    assert done.stdout == ""


def test_a_source_that_the_node_cannot_reach_is_behind_an_uplink(machine: Node) -> None:
    machine.write("web.yaml", MANIFEST, route(a=1), service("a"), endpoint_slice("a", "10.232.0.1"))
    machine.start()
    machine.until(lambda x: x["ready"])
    for source, to in (("198.51.100.1", "192.0.2.1:80"), ("2001:db8:9::1", "[2001:db8::1]:80")):
        said = machine.penstock("explain", "tcp", source, to).stdout
        assert "uplink0 ingress (uplink_ingress)" in said


def test_nothing_is_installed(machine: Node) -> None:
    (line,) = machine.penstock("explain", "tcp", "10.0.0.1", "10.0.0.2:1", code=4).stderr.splitlines()
    assert line.startswith("error: nothing is pinned in /run/bpf/penstock:")


def test_the_agents_network_has_gone(machine: Node) -> None:
    machine.command("sh", "-c", "mkdir /run/penstock; echo 1 1 > /run/penstock/agent.lock")
    (line,) = machine.penstock("explain", "tcp", "10.0.0.1", "10.0.0.2:1", code=3).stderr.splitlines()
    assert line.startswith("error: the agent's network namespace, net:[1], is not found: ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--interface", "eth9"), "there is no interface 'eth9'"),
        (("--interface", "lo"), f"these do: penstock0, {UPLINK}"),
        (("--interface", "penstock0", "--hook", "ingress"), "no hook of ours sees what penstock0 has at ingress"),
    ],
)
def test_a_place_without_a_hook(gateway: Gateway, options: tuple[str, ...], says: str) -> None:
    if gateway.delivery == "redirect":
        says = says.replace("penstock0, ", "penstock0, pod-a, pod-b, ")
    done = gateway.command("explain", "tcp", "10.0.0.1", "10.0.0.2:1", *options, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_too_few_rights(gateway: Gateway) -> None:
    places = ("--pin-dir", gateway.pins, "--run-dir", Path("/nowhere"))
    command = (PENSTOCK, "explain", *places, "tcp", "10.0.0.1", "10.0.0.2:1")
    done = run("setpriv", "--bounding-set=-all", "--inh-caps=-all", *command, check=False)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "root" in line
