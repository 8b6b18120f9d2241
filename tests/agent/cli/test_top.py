"""`penstock top` on a node whose gateway carries real traffic."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.dataplane.flows import Endpoint
from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.servers.witness import PORT, STREAM_PORT, witness
from lab.topology import CLIENT, GATEWAY, Lab, Shape, backend_addresses
from lab.traffic.ask import ask, associate, connect, outcomes_udp
from lab.traffic.transfer import Transfer
from lab.wait import until

PODS = {"a": 11, "b": 12}
WORLD = World(
    listeners=(
        Listener("TCP", STREAM_PORT, {"a": 1}, target=STREAM_PORT),
        Listener("TCP", PORT, {"a": 1}),
        Listener("UDP", PORT, {"a": 1, "b": 1}),
    ),
    services={name: (Pod(number),) for name, number in PODS.items()},
)
STREAMS = f"tcp-{STREAM_PORT}"
QUESTIONS = f"tcp-{PORT}"
DATAGRAMS = f"udp-{PORT}"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway with listeners for streams, for questions and for datagrams."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("top", Shape(PODS)))
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        write(WORLD, lab.directory / "manifests")
        yield stack.enter_context(Gateway(lab, lab.directory / "manifests"))


@pytest.fixture(params=(4, 6), ids=("IPv4", "IPv6"))
def stream(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[int]:
    """A connection that moves octets both ways meanwhile; its address family."""
    family: int = request.param
    with Transfer(gateway.lab.client, GATEWAY[family], STREAM_PORT) as transfer:
        transfer.until_moved(100_000)
        yield family


def top(gateway: Gateway, *options: str) -> dict[str, Any]:
    done = gateway.command("top", "--once", "-o", "json", "--interval", "0.2", *options)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def refused(gateway: Gateway, *options: str) -> str:
    done = gateway.command("top", *options, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_by_route(gateway: Gateway, stream: int) -> None:
    def moving() -> dict[str, Any] | None:
        said = top(gateway, "--source", str(CLIENT[stream]), "--listener", STREAMS)
        (row,) = said["rows"]
        return said if row["request_bit_rate"] > 0 and row["reply_bit_rate"] > 0 else None

    said = until(moving, "octets move both ways")
    (row,) = said["rows"]
    assert (said["by"], said["sort"], said["rows_in_all"]) == ("route", "rate", 1)
    assert (row["route_kind"], row["route"]) == ("TCPRoute", f"default/lab-{STREAMS}")
    assert row["connections"] >= 1
    assert row["packets"] > 0
    assert row["bytes"] > 200_000
    assert row["bit_rate"] == pytest.approx(row["request_bit_rate"] + row["reply_bit_rate"])
    assert said["seconds"] > 0


@pytest.mark.parametrize("family", [4, 6])
def test_by_flow(gateway: Gateway, family: int) -> None:
    pod = backend_addresses(PODS["a"])[family]
    with connect(gateway.lab.client, GATEWAY[family], PORT) as connection:
        ask(connection)
        client = str(Endpoint(CLIENT[family], connection.getsockname()[1]))
        rows = top(gateway, "--by", "flow", "--listener", f"lab/{QUESTIONS}", "--source", str(CLIENT[family]))["rows"]
    (row,) = (x for x in rows if x["client"] == client)
    assert (row["protocol"], row["state"], row["connections"]) == ("TCP", "established", 1)
    assert row["address"] == str(Endpoint(GATEWAY[family], PORT))
    assert row["endpoint"] == str(Endpoint(pod, PORT))
    assert (row["gateway"], row["listener"], row["backend"]) == ("default/lab", QUESTIONS, f"default/a:{PORT}")


def test_backends_have_the_flows_that_they_answered(gateway: Gateway) -> None:
    def connections() -> Counter[str]:
        rows = top(gateway, "--by", "backend", "--listener", DATAGRAMS)["rows"]
        return Counter({x["backend"].split("/")[1].split(":")[0]: x["connections"] for x in rows})

    before = connections()
    seen = outcomes_udp(gateway.lab.client, GATEWAY[4], PORT, 40)
    assert connections() - before == seen


def test_sources_have_the_packets_that_they_sent(gateway: Gateway) -> None:
    def packets(*options: str) -> dict[str, int]:
        rows = top(gateway, "--by", "source", "--listener", DATAGRAMS, *options)["rows"]
        return {x["source"]: x["packets"] for x in rows}

    before = packets()
    for family in (4, 6):
        with associate(gateway.lab.client, GATEWAY[family], PORT) as endpoint:
            for _ in range(3):
                ask(endpoint)
    after = packets()
    assert {x: after[x] - before.get(x, 0) for x in after} == {str(CLIENT[4]): 6, str(CLIENT[6]): 6}
    assert packets("--source", f"{CLIENT[4]}/24") == {str(CLIENT[4]): after[str(CLIENT[4])]}
    assert packets("--source", "203.0.113.0/24") == {}


def test_names_are_there_without_an_agent(gateway: Gateway, stream: int) -> None:
    gateway.stop()
    try:
        assert f"default/lab-{STREAMS}" in {x["route"] for x in top(gateway)["rows"]}
    finally:
        gateway.start()


@pytest.mark.parametrize("by", ["route", "backend", "source", "flow"])
def test_it_fits_eighty_columns(gateway: Gateway, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcomes_udp(gateway.lab.client, GATEWAY[6], PORT, 3)
    lines = gateway.command("top", "--once", "--interval", "0.1", "--by", by, "-n", "2").stdout.splitlines()
    assert "rates over" in lines[0]
    assert lines[1].rstrip().endswith("most bits a second first")
    assert max(map(len, lines)) <= 80


def test_it_is_drawn_again_and_again_until_it_is_interrupted(gateway: Gateway) -> None:
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        command = gateway.command_line("top", "--interval", "0.1")
        shown = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        try:
            seen = b""
            while seen.count(b"rates over") < 3:
                seen += screen.read(1 << 16)
            shown.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # EIO: the last one has left the terminal
                while screen.read(1 << 16):
                    pass
            assert shown.wait(60) == 0
        finally:
            shown.kill()
            shown.wait()
    assert b"Flows by route, most bits a second first" in seen


def test_who_interrupts_it_before_it_is_done_hears_nothing(gateway: Gateway) -> None:
    command = gateway.command_line("top", "--once", "--interval", "3600")
    shown = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        tables = Path(f"/proc/{shown.pid}/fd")
        until(lambda: any("bpf-map" in str(x.readlink()) for x in tables.iterdir()), "it reads the tables")
        shown.send_signal(signal.SIGINT)
        assert (shown.communicate(timeout=60)[0], shown.returncode) == (b"", 130)
    finally:
        shown.kill()
        shown.wait()


def test_a_wrong_command_line_says_what_is_wrong(gateway: Gateway) -> None:
    assert "it goes with --once" in refused(gateway, "-o", "json")
    assert "'10.0.0.0/33' does not appear to be" in refused(gateway, "--once", "--source", "10.0.0.0/33")
    said = refused(gateway, "--once", "--listener", "nobody")
    assert "no listener is named 'nobody'; there are: " in said
    assert all(f"default/lab/{x}" in said for x in (STREAMS, QUESTIONS, DATAGRAMS))
