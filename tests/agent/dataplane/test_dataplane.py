"""The agent's handle: opened, killed, opened again, refused."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from agent.compile.image import BackendName, BackendState, ListenerKey, ListenerName, Names, Touched
from agent.dataplane import Dataplane, View
from agent.dataplane.dataplane import ReadBack
from agent.dataplane.errors import AlreadyRunning, KernelRefused, NodeUnfit, NotInstalled, TableFull
from agent.dataplane.guards import Refusals
from agent.run_dir import MEMORY
from agent.settings import Settings
from loader.attach import attachments
from routes.plan import Protocol

from .images import GATEWAY, backend, make_image, pool
from .packets import CLIENT, datagram

NAMES = Names(
    {1: ListenerName("default/edge", "web", 80, Protocol.TCP, "default/web", "TCPRoute")},
    {2: BackendName("default/web", 1, 1.0, "Pod default/web-0")},
)
IMAGE = make_image(names=NAMES)

AGENT = """
import sys
from pathlib import Path
from agent.dataplane import Dataplane
from agent.settings import Settings, TableSizes
sys.path.insert(0, sys.argv[3])
from dataplane.images import make_image
sizes = TableSizes(tcp_flows=1024, half_open=1024, udp_flows=1024, max_gateways=8, max_listeners=8, max_pools=8,
                   max_backends=64, max_interfaces=16, max_policies=8, max_source_ranges=8)
pins, run = Path(sys.argv[1]), Path(sys.argv[2])
dataplane = Dataplane.open(Settings(uplinks=("eth0",), tables=sizes, pin_dir=pins, run_dir=run))
dataplane.apply(make_image())
dataplane.reconcile_interfaces(make_image())
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def eth0(node) -> int:
    return node.add_veth("eth0", "10.220.0.1/24")


def test_an_image_is_applied_read_back_and_remembered(settings: Settings) -> None:
    with Dataplane.open(settings) as opened:
        assert opened.read_back(IMAGE).differences
        written = opened.apply(IMAGE)
        assert written.gateways == IMAGE.gateways
        assert written.listeners == IMAGE.listeners
        assert opened.read_back(IMAGE) == ReadBack(frozenset(IMAGE.listeners), ())
        assert not opened.apply(IMAGE)
        held = opened.held()
    assert held.listeners == IMAGE.listeners
    assert held.backends == IMAGE.backends
    assert held.names == NAMES
    assert ip_address("10.220.0.1") in held.node_addresses
    with View.open(settings.pin_dir, settings.run_dir, settings.object_dir) as view:
        assert view.names() == NAMES


def test_a_small_change_is_written_read_back_and_remembered(settings: Settings) -> None:
    name = BackendName("default/web", 1, 0.5, "Pod default/web-1")
    touched = Touched(frozenset({1}), frozenset({2, 3}), frozenset({1}))
    changed = replace(
        IMAGE,
        pools={1: pool(3)},
        backends={2: backend(state=BackendState.DRAINING), 3: backend(3)},
        names=Names(NAMES.listeners, {**NAMES.backends, 3: name}),
        touched=touched,
    )
    with Dataplane.open(settings) as opened:
        assert opened.apply_touched(changed) is None  # nobody knows what the tables hold
        opened.apply(IMAGE)
        assert opened.read_back_touched(changed)
        assert opened.apply_touched(changed) is None  # it is not what was applied
        opened.apply(IMAGE)
        written = opened.apply_touched(changed)
        assert written is not None
        assert (set(written.pools), set(written.backends_up), set(written.backends_down)) == ({1}, {3}, {2})
        assert written.fresh_backends == {3}
        assert opened.read_back_touched(changed) == ()
        assert opened.read_back(changed) == ReadBack(frozenset(IMAGE.listeners), ())
    with Dataplane.open(settings) as opened:
        assert opened.held().names == changed.names


def test_an_agent_that_starts_again_finds_everything(settings: Settings) -> None:
    for first in (True, False):
        with Dataplane.open(settings) as opened:
            assert bool(opened.read_back(IMAGE).differences) is first
            assert opened.held().names == (Names() if first else NAMES)
            opened.apply(IMAGE)
            opened.reconcile_interfaces(IMAGE)


def test_a_memory_older_than_the_tables_knows_no_name(settings: Settings) -> None:
    other = make_image(names=Names({}, {2: BackendName("default/web", 1, 1.0, "Pod default/web-1")}))
    with Dataplane.open(settings) as opened:
        opened.apply(IMAGE)
        before = (settings.run_dir / MEMORY).read_bytes()
        opened.apply(replace(other, backends={2: backend(generation=2)}))
    (settings.run_dir / MEMORY).write_bytes(before)
    with Dataplane.open(settings) as opened:
        assert opened.held().names.backends == {}


def test_a_memory_newer_than_the_tables_knows_what_they_hold(settings: Settings) -> None:
    """An agent remembers, then writes; this one could not write."""
    later = {2: backend(generation=2), 64: backend(64)}
    names = {x: BackendName("default/web", 1, 0.5, f"Pod default/web-{x}") for x in later}
    with Dataplane.open(settings) as opened:
        opened.apply(IMAGE)
        with pytest.raises(TableFull):
            opened.apply(make_image(backends=later, names=Names(NAMES.listeners, names)))
        assert opened.held().names == NAMES
    with Dataplane.open(settings) as opened:
        assert opened.held().names == NAMES


def test_an_agent_that_is_killed_leaves_packets_flowing(node, settings: Settings) -> None:
    paths = [settings.pin_dir, settings.run_dir, Path(__file__).parents[1]]
    command = [sys.executable, "-c", AGENT, *map(str, paths)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "ready\n"
        with pytest.raises(AlreadyRunning, match=f"pid {agent.pid}"):
            Dataplane.open(settings)
        agent.send_signal(signal.SIGKILL)
    before = attachments(settings.pin_dir / "v1")
    assert len(before) == 3
    with Dataplane.open(settings) as opened:
        assert not opened.read_back(make_image()).differences
        opened.reconcile_interfaces(make_image())
    after = attachments(settings.pin_dir / "v1")
    assert {(x.program, x.ifindex) for x in after} == {(x.program, x.ifindex) for x in before}
    assert all(x.alive for x in after)
    assert {x.program_id for x in after}.isdisjoint(x.program_id for x in before)  # replaced in place


def test_a_node_that_is_unfit_is_left_as_it_is(node, settings: Settings) -> None:
    node.sysctl("ipv4/ip_forward", 0)
    node.sysctl("ipv6/conf/all/forwarding", 0)
    with pytest.raises(NodeUnfit, match="forwarding is off"):
        Dataplane.open(settings)
    assert "penstock0" not in node.links()
    assert not settings.run_dir.exists()


def test_a_load_that_fails_leaves_no_interface_behind(node, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(KernelRefused, match=str(tmp_path)):
        Dataplane.open(replace(settings, object_dir=tmp_path))
    assert "penstock0" not in node.links()


def test_without_a_bpf_file_system(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(NodeUnfit, match="mount -t bpf"):
        Dataplane.open(replace(settings, pin_dir=tmp_path / "pins"))


def test_looking_where_nothing_is(settings: Settings) -> None:
    with pytest.raises(NotInstalled, match="no agent has run on this node"):
        View.open(settings.pin_dir, settings.run_dir, settings.object_dir)


def test_a_port_that_a_socket_has_is_refused_until_it_is_free(settings: Settings) -> None:
    own = ip_address("10.220.0.1")
    image = make_image(gateways={own: 1})
    key = ListenerKey(own, 80, Protocol.TCP)
    with Dataplane.open(settings) as opened:
        with socket.create_server(("0.0.0.0", 80)):
            admitted = opened.admit(image, opened.held())
            assert set(admitted.refused.listeners) == {key}
            assert key not in admitted.image.listeners
        admitted = opened.admit(image, opened.held())
        assert admitted == (image, Refusals({}, {}))
        opened.apply(admitted.image)
        with socket.create_server(("0.0.0.0", 80)):  # it came later: the flows that are there go on
            assert not opened.admit(image, opened.held()).refused


def test_a_pass_has_one_picture_of_the_node(settings: Settings) -> None:
    own = ip_address("10.220.0.1")
    image = make_image(gateways={own: 1})
    with Dataplane.open(settings) as opened:
        admitted = opened.admit(image, opened.held())
        with socket.create_server(("0.0.0.0", 80)):  # bound in the middle of the pass
            opened.apply(admitted.image)
            opened.reconcile_interfaces(admitted.image)
            assert opened.read_back(admitted.image).differences == ()


def test_backends_without_flows_are_found_when_asked_for(settings: Settings) -> None:
    def image(state: BackendState):
        return make_image(pools={1: pool(3)}, backends={2: backend(state=state), 3: backend(3)})

    with Dataplane.open(settings) as opened:
        for state, unused in (
            (BackendState.ACTIVE, set()),
            (BackendState.DRAINING, {2}),
            (BackendState.ABSENT, {2}),
            (BackendState.GONE, {2}),
            (BackendState.FREE, set()),
        ):
            opened.apply(image(state))
            assert opened.held(scan=True).unused == unused
            assert opened.held().unused == frozenset()


def test_a_backend_with_a_flow_is_not_unused(loaded, settings: Settings, eth0: int) -> None:
    with Dataplane.open(settings) as opened:
        opened.apply(make_image())
        loaded.run("uplink_ingress", datagram(CLIENT, GATEWAY, 4000, 80))
        opened.apply(make_image(pools={1: pool(3)}, backends={2: backend(state=BackendState.DRAINING), 3: backend(3)}))
        assert opened.held(scan=True).unused == frozenset()


def test_closing_twice_is_closing_once_and_frees_the_lock(settings: Settings) -> None:
    opened = Dataplane.open(settings)
    descriptors = len(os.listdir("/proc/self/fd"))
    opened.close()
    opened.close()
    assert len(os.listdir("/proc/self/fd")) < descriptors
    Dataplane.open(settings).close()
