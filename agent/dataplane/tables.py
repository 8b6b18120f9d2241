"""The pinned tables of one layout, opened.

Decides: which tables there are (their names are those of bpf/maps.h, and of `bpftool map`), where they are pinned, and
what the words in them are: enums come from the BTF of the programs' own object file. Rules: opening reads nothing and
changes nothing; closing leaves every table as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from agent.dataplane.errors import NotInstalled
from loader.btf import Btf
from loader.maps import Map

PROGRAMS = "tc.bpf.o"
AGEING = "age.bpf.o"

_WRITTEN = ("interfaces", "snat_sources", "symmetric", "route_mtus", "gateways", "listeners", "pools", "backends")
_COUNTED = ("verdicts", "listener_counts", "backend_counts", "flow_usage")
FLOWS = ("tcp_flows4", "tcp_flows6", "half_open4", "half_open6", "udp_flows4", "udp_flows6")


def layout_of(btf: Btf) -> int:
    """PENSTOCK_LAYOUT of the object file."""
    return int(btf.enum("layout")["PENSTOCK_LAYOUT"])


def pins_of(pin_dir: Path, layout: int) -> Path:
    """Where the tables and hooks of a layout are pinned."""
    return pin_dir / f"v{layout}"


class Tables:
    """Owns one fd per table. Attributes are named as the tables are."""

    interfaces: Map
    snat_sources: Map
    symmetric: Map
    route_mtus: Map
    gateways: Map
    listeners: Map
    pools: Map
    backends: Map
    verdicts: Map
    listener_counts: Map
    backend_counts: Map
    flow_usage: Map

    def __init__(self, pins: Path, btf: Btf, opened: Mapping[str, Map], owner: contextlib.ExitStack) -> None:
        self.pins = pins
        self.btf = btf
        self.all = opened
        self.flows = {name: opened[name] for name in FLOWS}
        for name in _WRITTEN + _COUNTED:
            setattr(self, name, opened[name])
        self._owner = owner

    @classmethod
    def open(cls, pin_dir: Path, object_dir: Path) -> Tables:
        """Open what is pinned. Raises NotInstalled when nothing is, LoaderError when the kernel refuses."""
        btf = Btf.from_object_file(object_dir / PROGRAMS)
        pins = pins_of(pin_dir, layout_of(btf))
        if not (pins / _WRITTEN[0]).exists():
            raise NotInstalled(f"nothing is pinned in {pins}: no agent has run on this node since it booted")
        if missing := [x for x in (*_WRITTEN, *_COUNTED, *FLOWS) if not (pins / x).exists()]:
            raise NotInstalled(f"{pins} lacks {missing[0]}: an agent is starting, or died while it did; start it again")
        with contextlib.ExitStack() as stack:
            opened = {
                path.name: stack.enter_context(Map.open_pinned(path))
                for path in sorted(pins.iterdir())
                if path.is_file()
            }
            return cls(pins, btf, opened, stack.pop_all())

    def names(self, enum: str) -> tuple[str, ...]:
        """Names of an enum's members by their number; the member that counts the others is left out."""
        return tuple(x.name for x in sorted(self.btf.enum(enum)) if not x.name.endswith("_COUNT"))

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
