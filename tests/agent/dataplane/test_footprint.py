"""What the tables will take is told before they are made, and refused where it is not there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.dataplane.errors import NodeUnfit
from agent.dataplane.objects import load
from agent.dataplane.sizes import max_entries
from agent.dataplane.tables import PROGRAMS
from agent.settings import Settings, TableSizes
from loader.footprint import footprint
from loader.objects import Object
from loader.spec import ObjectSpec


def wanting(settings: Settings, **sizes: int) -> Settings:
    """More than an operator may say (Settings would refuse it): some nodes have memory for that."""
    wanted = replace(settings)
    object.__setattr__(wanted, "tables", replace(settings.tables, **sizes))
    return wanted


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"tcp_flows": 2_000_000_000}, "--tcp-flows 2,000,000,000 is too large for this node: new tables would take "),
        ({"udp_flows": 2_000_000_000, "tcp_flows": 2_000_000}, "--udp-flows 2,000,000,000 is too large "),
        ({"half_open": 1_000_000_000}, "--half-open 1,000,000,000 is too large "),
        ({"max_pools": 1_000_000_000}, "--max-pools 1,000,000,000 is too large "),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_what_no_node_has_is_refused_at_the_first_start(settings: Settings, wanted: dict[str, int], named: str) -> None:
    with pytest.raises(NodeUnfit) as refused:
        load(wanting(settings, **wanted), 1)
    (fault,) = refused.value.faults
    assert fault.startswith(named)
    assert " GiB of memory are available; say less" in fault
    assert not settings.pin_dir.exists() or not list(settings.pin_dir.glob("v*/*flows*"))


def test_it_is_refused_when_the_tables_are_to_grow_and_what_is_there_goes_on(settings: Settings) -> None:
    for programs in load(settings, 1):
        programs.close()
    before = sorted(x.name for x in (settings.pin_dir / "v1").iterdir())
    with pytest.raises(NodeUnfit, match=r"--udp-flows 2,000,000,000 is too large"):
        load(wanting(settings, udp_flows=2_000_000_000), 1)
    assert sorted(x.name for x in settings.pin_dir.glob("v*")) == ["v1"]
    assert sorted(x.name for x in (settings.pin_dir / "v1").iterdir()) == before
    for programs in load(settings, 1):
        programs.close()


def test_it_is_what_the_kernel_charges(settings: Settings) -> None:
    """Of the tables that are large enough for what is the same for all not to matter."""
    sizes = max_entries(TableSizes())
    spec = ObjectSpec(settings.object_dir / PROGRAMS, max_entries=sizes)
    expected = {name: footprint(x) for name, x in Object.shapes(spec).items() if footprint(x) > 1 << 20}
    with Object.load(spec, settings.pin_dir / "v1") as programs:
        charged = {name: programs.map(name).memory_bytes for name in expected}
    assert {"tcp_flows4", "tcp_flows6", "half_open4", "udp_flows6", "backends", "pools", "ageing_tcp4"} <= set(expected)
    assert expected == pytest.approx(charged, rel=0.02)
