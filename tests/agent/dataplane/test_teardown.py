"""`down` removes every trace, whatever is left of it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.dataplane import Dataplane, down
from agent.dataplane.errors import AlreadyRunning
from agent.dataplane.lock import AgentLock
from agent.settings import Settings
from loader.attach import attachments, detach

from .images import GATEWAY, GATEWAY6, make_image

INGRESS = 0xFFFFFFF2  # linux/pkt_sched.h: TC_H_CLSACT, TC_H_MIN_INGRESS
IMAGE = make_image(gateways={GATEWAY: 0, GATEWAY6: 0})


@pytest.fixture
def installed(node, settings: Settings) -> Settings:
    """An agent ran here and ended."""
    node.add_veth("eth0", "10.220.0.1/24")
    with Dataplane.open(settings) as opened:
        opened.apply(IMAGE)
        opened.reconcile_interfaces(IMAGE)
    return settings


def traces(node, settings: Settings) -> list[object]:
    joined = [x for x in Path("/proc/thread-self/net/dev_mcast").read_text().splitlines() if x.split()[3] != "0"]
    return [
        *(x for x in (settings.pin_dir, settings.run_dir) if x.exists()),
        *(x for x in node.links() if x.startswith("penstock")),
        *node.netlink.route("dump", proto=112),
        *joined,
    ]


def remove_interface(node, settings: Settings) -> None:
    node.netlink.link("del", ifname="penstock0")


def remove_uplink(node, settings: Settings) -> None:
    node.netlink.link("del", ifname="eth0")


def remove_hooks(node, settings: Settings) -> None:
    pins = settings.pin_dir / "v1"
    for hook in attachments(pins):
        detach(hook, pins)


def remove_tables(node, settings: Settings) -> None:
    for path in (settings.pin_dir / "v1").iterdir():
        if path.is_file():
            path.unlink()


def add_another_layout(node, settings: Settings) -> None:
    (settings.pin_dir / "v0" / "links").mkdir(parents=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda node, settings: None,
        remove_interface,
        remove_uplink,
        remove_hooks,
        remove_tables,
        add_another_layout,
    ],
)
def test_nothing_is_left(node, installed: Settings, damage: Callable[[object, Settings], None]) -> None:
    damage(node, installed)
    assert down(installed.pin_dir, installed.run_dir)
    assert traces(node, installed) == []
    assert not down(installed.pin_dir, installed.run_dir)


def test_the_agents_files_go_while_no_other_agent_can_start(node, installed: Settings, monkeypatch) -> None:
    last_good = installed.run_dir / "last-good" / "0123456789abcdef"
    last_good.mkdir(parents=True)
    (last_good / "web.yaml").write_text("kind: Gateway")
    (installed.run_dir / "report.json").write_text("{}")
    left: list[str] = []
    discard = AgentLock.discard

    def seen(lock: AgentLock) -> None:
        left.extend(x.name for x in installed.run_dir.iterdir())
        discard(lock)

    monkeypatch.setattr(AgentLock, "discard", seen)
    down(installed.pin_dir, installed.run_dir)
    assert left == ["agent.lock"]
    assert traces(node, installed) == []


def test_what_was_removed_is_told(node, installed: Settings) -> None:
    removed = down(installed.pin_dir, installed.run_dir)
    assert (removed.hooks, removed.routes, removed.interface) == (3, 2, True)
    assert removed.pins > 20


def test_where_nothing_ever_was(node, settings: Settings) -> None:
    assert not down(settings.pin_dir, settings.run_dir)
    assert traces(node, settings) == []


def test_not_while_an_agent_runs(node, installed: Settings) -> None:
    with Dataplane.open(installed) as opened:
        with pytest.raises(AlreadyRunning):
            down(installed.pin_dir, installed.run_dir)
        assert not opened.read_back(IMAGE).differences


def test_files_of_others_stay(node, installed: Settings) -> None:
    (installed.run_dir / "notes").write_text("mine")
    (installed.pin_dir / "theirs").mkdir()
    down(installed.pin_dir, installed.run_dir)
    assert [x.name for x in installed.run_dir.iterdir()] == ["notes"]
    assert [x.name for x in installed.pin_dir.iterdir()] == ["theirs"]


def test_somebody_elses_filter_on_the_uplink_stays(node, loaded, settings: Settings) -> None:
    eth0 = node.add_veth("eth0", "10.220.0.1/24")
    node.netlink.tc("add", "clsact", index=eth0)
    fd = loaded.programs.program("pod_ingress").fd
    node.netlink.tc("add-filter", "bpf", index=eth0, parent=INGRESS, fd=fd, name="stranger", direct_action=True, prio=5)
    with Dataplane.open(settings) as opened:
        opened.reconcile_interfaces(IMAGE)
    down(settings.pin_dir, settings.run_dir)
    filters = [x for x in node.netlink.get_filters(index=eth0, parent=INGRESS) if x["handle"]]
    assert [x.get("options").get_attr("TCA_BPF_NAME") for x in filters] == ["stranger"]
