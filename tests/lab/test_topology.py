"""The laboratory itself: it forwards, keeps to its shape, and survives a run that died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.netns import NETNS
from lab.servers.witness import PORT, witness
from lab.topology import CLIENT, FAMILIES, Attachment, Lab, LabBusy, Shape, features
from lab.traffic.ask import ask_tcp, ask_udp
from lab.wait import until

NAME = "self"
PODS = {"a": 11, "b": 12}


@pytest.mark.parametrize("attachment", Attachment)
def test_plain_forwarding_joins_client_and_pods(attachment: Attachment) -> None:
    with Lab(NAME, Shape(PODS, attachment)) as lab, witness(lab, "b"):
        for family in FAMILIES:
            for question in (ask_tcp, ask_udp):
                answer = question(lab.client, lab.address("b", family), PORT)
                assert (answer.backend, answer.peer[0]) == ("b", CLIENT[family])
                assert question(lab.backends["a"], lab.address("b", family), PORT).peer[0] == lab.address("a", family)


@pytest.mark.parametrize("wanted", [True, False])
def test_offloads_are_as_asked_on_every_interface(wanted: bool) -> None:
    with Lab(NAME, Shape(PODS, offloads=wanted)) as lab:
        ends = [("eth0", lab.client), ("uplink0", lab.node), ("eth0", lab.backends["a"]), ("pod-a", lab.node)]
        for interface, namespace in ends:
            found = features(interface, namespace)
            assert found["tx-checksumming"] is wanted
            assert found["tcp-segmentation-offload"] is wanted


def test_nothing_is_left_behind() -> None:
    with Lab(NAME, Shape(PODS)) as lab:
        traces = [*NETNS.glob(f"{lab.prefix}*"), lab.directory]
        assert all(path.exists() for path in traces)
    assert not any(path.exists() for path in traces)


def test_a_lab_is_used_by_one_run_at_a_time() -> None:
    with Lab(NAME, Shape(PODS)), pytest.raises(LabBusy), Lab(NAME, Shape(PODS)):
        pass


def test_what_a_run_that_died_left_behind_is_no_hindrance() -> None:
    program = (
        "import signal; from lab.topology import Lab, Shape; from lab.servers.witness import witness\n"
        f"with Lab({NAME!r}, Shape({PODS!r})) as lab, witness(lab, 'a') as server:\n"
        "    print(server.pid, flush=True); signal.pause()\n"
    )
    repository = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], cwd=repository, stdout=subprocess.PIPE, text=True) as died:
        assert died.stdout is not None
        server = int(died.stdout.readline())
        os.kill(died.pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{server}").exists(), "its servers died with it")
    lab = Lab(NAME, Shape(PODS))
    assert lab.node.path.exists()
    with lab:
        lab.client.run("ping", "-c", "1", "-W", "5", str(lab.address("a", 4)))
