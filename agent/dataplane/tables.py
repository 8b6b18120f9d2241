"""The pinned tables of the set in force, opened.

Decides: which tables there are (their names are those of bpf/maps.h, and of `bpftool map`), and what the words in them
are: enums come from the BTF of the programs that are hooked, for the object file may be another version's by now; only
where nothing is hooked is it asked. Whoever reads needs the fields that its own version knows: if one is not there, it
is told so. Rules: opening changes nothing; closing leaves every table as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from agent.compile.image import BackendEntry
from agent.dataplane import records
from agent.dataplane.errors import KernelRefused, NotInstalled, TablesOfAnother
from agent.dataplane.sets import in_force
from loader.attach import attachments
from loader.btf import Btf
from loader.errors import LoaderError
from loader.maps import Map
from loader.running import types

PROGRAMS = "tc.bpf.o"
AGEING = "age.bpf.o"
XDP = "xdp.bpf.o"

WRITTEN = (
    "interfaces",
    "snat_sources",
    "symmetric",
    "route_mtus",
    "gateways",
    "listeners",
    "policies",
    "source_ranges",
    "pools",
    "backends",
)
_COUNTED = (
    "verdicts",
    "listener_counts",
    "listener_connections",
    "source_connections",
    "backend_counts",
    "flow_usage",
    "snat_ports",
)
_STRUCT_OF = {
    "interfaces": "interface",
    "listeners": "listener",
    "backends": "backend",
    "gateways": "gateway",
    "verdicts": "verdict_count",
    "listener_counts": "listener_count",
    "listener_connections": "listener_connections",
    "source_connections": "source_bucket",
    "backend_counts": "backend_count",
    "flow_usage": "flow_usage",
    "snat_ports": "snat_ports",
    "tcp_flows4": "flow",
}
"""Table -> the struct of its values."""

FLOWS = ("tcp_flows4", "tcp_flows6", "half_open4", "half_open6", "udp_flows4", "udp_flows6")


def require_objects(object_dir: Path) -> None:
    """Raises KernelRefused when the BPF objects are not there."""
    if not (object_dir / PROGRAMS).is_file():
        raise KernelRefused(f"{object_dir} has no {PROGRAMS}: --object-dir must name the folder that `make bpf` made")


class Tables:
    """Owns one fd per table. Attributes are named as the tables are."""

    interfaces: Map
    snat_sources: Map
    symmetric: Map
    route_mtus: Map
    gateways: Map
    listeners: Map
    policies: Map
    source_ranges: Map
    pools: Map
    backends: Map
    verdicts: Map
    listener_counts: Map
    listener_connections: Map
    source_connections: Map
    backend_counts: Map
    flow_usage: Map
    snat_ports: Map

    def __init__(self, pins: Path, btf: Btf, opened: Mapping[str, Map], owner: contextlib.ExitStack) -> None:
        self.pins = pins
        self.btf = btf
        self.all = opened
        self.flows = {name: opened[name] for name in FLOWS}
        for name in WRITTEN + _COUNTED:
            setattr(self, name, opened[name])
        self._owner = owner

    @classmethod
    def open(cls, pin_dir: Path, object_dir: Path) -> Tables:
        """Open what is in force. Raises NotInstalled when nothing is, TablesOfAnother, KernelRefused, LoaderError."""
        require_objects(object_dir)
        pins = in_force(pin_dir)
        if pins is None:
            raise NotInstalled(
                f"nothing is pinned in {pin_dir}: no agent has run on this node since it booted, or not with this "
                "--pin-dir; or this process sees another /sys/fs/bpf (under `ip netns exec` it does: use nsenter)"
            )
        if missing := [x for x in (*WRITTEN, *_COUNTED, *FLOWS) if not (pins / x).exists()]:
            raise NotInstalled(f"{pins} lacks {missing[0]}: an agent is starting, or died while it did; start it again")
        with contextlib.ExitStack() as stack:
            opened = {
                path.name: stack.enter_context(Map.open_pinned(path))
                for path in sorted(pins.iterdir())
                if path.is_file()
            }
            of_file = Btf.from_object_file(object_dir / PROGRAMS)
            _require_known_fields(opened, of_file)
            return cls(pins, _vocabulary(pins) or of_file, opened, stack.pop_all())

    def names(self, enum: str) -> tuple[str, ...]:
        """Names of an enum's members by their number; the member that counts the others is left out."""
        return tuple(x.name for x in sorted(self.btf.enum(enum)) if not x.name.endswith("_COUNT"))

    def endpoint(self, number: int) -> BackendEntry | None:
        """Of that number in `backends`, as it is now; None of the ids that are reserved, and past the end."""
        if number < int(self.btf.enum("backend_id")["BACKEND_FIRST"]):
            return None
        found = self.backends.get(number)
        return records.backend_of(found) if found else None

    def close(self) -> None:
        """Twice is once."""
        self._owner.close()

    def __enter__(self) -> Tables:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Map]:
        return iter(self.all.values())


def _vocabulary(pins: Path) -> Btf | None:
    """The types of a program that is hooked; None also if something else lies where a hook is pinned: that is told by
    whoever hooks, and must not hide the tables."""
    with contextlib.suppress(LoaderError):
        return next((types(x.program_id) for x in attachments(pins) if x.alive), None)
    return None


def _require_known_fields(opened: Mapping[str, Map], known: Btf) -> None:
    for name, struct in _STRUCT_OF.items():
        there = {x.path for x in opened[name].value.fields}
        if missing := [x.path for x in known.struct(struct).fields if x.path not in there]:
            raise TablesOfAnother(
                f"table {name} is of another version of Penstock, and has no {missing[0]}: use the commands of the "
                "version that runs on this node, or start an agent of this one, which takes over"
            )
