"""The guest is what it claims to be: the kernel asked for, with what Penstock needs there.

Runs inside the virtual machine, before everything else: when this fails, what follows tests the wrong thing. On a
kernel that the agent refuses nothing follows.
"""

import os
import platform
import subprocess

import pytest
from vmtest.result import REFUSED

from agent.dataplane import checks


@pytest.fixture
def dummy() -> str:
    name = "vmsmoke0"
    ip("link", "add", name, "type", "dummy")
    yield name
    ip("link", "del", name)


def test_runs_the_kernel_that_was_asked_for():
    assert platform.release() == os.environ["PENSTOCK_KERNEL"]


def test_the_agent_finds_no_fault_but_that_forwarding_is_off(request, record_property):
    *faults, forwarding = checks.faults()
    if faults:
        record_property(REFUSED, "; ".join(faults))
        request.session.shouldfail = "Penstock refuses this kernel; nothing else can be tried on it"
    assert faults == []
    assert forwarding.startswith("forwarding is off")


def test_has_a_bpf_file_system():
    assert subprocess.check_output(["stat", "-f", "-c", "%T", "/sys/fs/bpf"], text=True).strip() == "bpf_fs"


def test_clsact_takes_a_classifier_in_both_directions(dummy):
    subprocess.check_call(["tc", "qdisc", "add", "dev", dummy, "clsact"])
    for direction in ("ingress", "egress"):
        # One classic instruction: return 0, no match.
        subprocess.check_call(["tc", "filter", "add", "dev", dummy, direction, "bpf", "bytecode", "1,6 0 0 0"])
        shown = subprocess.check_output(["tc", "filter", "show", "dev", dummy, direction], text=True)
        assert "bytecode '1,6 0 0 0'" in shown


def ip(*words: str) -> None:
    subprocess.check_call(["ip", *words])
