"""What the agent says about itself: one value, published as JSON, read by `penstock status` even when no agent runs.

Decides: the schema of that JSON. Rules: plain values only; ids are those of the kernel's tables, so that counters can
be joined to names without the agent; times are seconds since the epoch. `version` grows when a field changes meaning.
Must never: hold counters (they are read from the kernel when they are wanted).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

import msgspec

from agent.atomic import write_atomically
from agent.run_dir import REPORT
from agent.sources.base import SourceError

VERSION = 2


@dataclass(frozen=True, slots=True)
class Condition:
    """A Gateway API condition. `last_transition_time` is RFC 3339."""

    type: str
    status: str  # True, False, Unknown
    reason: str
    message: str
    observed_generation: int
    last_transition_time: str


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of one place in a status: `listener redis`, `parent default/edge`, "" for the object's own."""

    place: str
    conditions: tuple[Condition, ...]
    attached_routes: int | None = None


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """All conditions of one object. `namespace` is "" for kinds without one."""

    kind: str
    namespace: str
    name: str
    places: tuple[Conditions, ...]
    addresses: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """One entry of the table `backends`. `share` is its part of its pool's slots, `target` the pod that it is."""

    id: int
    address: str
    port: int
    state: str
    share: float
    target: str

    @property
    def place(self) -> str:
        """Address and port: `10.0.0.1:80`, `[fd00::1]:80`."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class BackendReport:
    """A backendRef: `share` is what its weight asks for, 0..1; `why` says why it is rejected, "" when it is served."""

    position: int
    name: str
    weight: int
    share: float
    why: str
    endpoints: tuple[EndpointReport, ...]


@dataclass(frozen=True, slots=True)
class ListenerReport:
    """A listener that the kernel holds. `leftover` are endpoints whose backendRef is gone and that have flows yet.

    `policies`: the FlowPolicies that are asked, as namespace/name.
    """

    id: int
    gateway: str
    name: str
    addresses: tuple[str, ...]
    port: int
    protocol: str
    route: str | None
    route_kind: str | None
    backends: tuple[BackendReport, ...]
    leftover: tuple[EndpointReport, ...] = ()
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceReport:
    """Where the objects come from, and what of it cannot be read. `changed_at` is when it last said something new;
    `absent`: files with errors and without a last good state, of which no object is in force.
    """

    name: str
    synced: bool
    changed_at: float
    errors: tuple[SourceError, ...] = ()
    notes: tuple[SourceError, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppliedReport:
    """The last time the kernel was brought to the state. `error` is "" when it was read back as wanted."""

    at: float | None = None
    verified_at: float | None = None
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    `written_at` is when it was made, for whoever reads the file or /status. `unserved` are listeners, addresses, ports
    and endpoints that this node cannot or must not serve, with reasons; `uplinks` the interfaces that carry our hooks,
    `xdp` whether each is accelerated, or why not; `notes` what this node takes away from the gateway.
    """

    node: str
    pid: int
    started_at: float
    written_at: float
    source: SourceReport
    applied: AppliedReport
    settings: dict[str, str] = field(default_factory=dict)
    features: dict[str, str] = field(default_factory=dict)
    objects: tuple[ObjectStatus, ...] = ()
    listeners: tuple[ListenerReport, ...] = ()
    unserved: tuple[str, ...] = ()
    uplinks: tuple[str, ...] = ()
    xdp: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    version: int = VERSION

    @property
    def ready(self) -> bool:
        """Whether the kernel was read back as wanted since the agent started, the last attempt did not fail, and an
        uplink is there: without one clients beyond the node are not served, or are seen as the gateway's address,
        however right the tables are.
        """
        holds = self.source.synced and self.applied.verified_at is not None and not self.applied.error
        return holds and bool(self.uplinks)

    def pieces(self) -> Iterator[bytes]:
        """The JSON, a field or an object a line, for people as well; in pieces, since all of it may be megabytes."""
        before = b"{\n "
        for name in (x.name for x in fields(self)):
            value = getattr(self, name)
            yield before + msgspec.json.encode(name) + b": "
            if isinstance(value, tuple):
                yield b"["
                for number, item in enumerate(value):
                    yield (b",\n  " if number else b"\n  ") + msgspec.json.encode(item)
                yield b"]"
            else:
                yield msgspec.json.encode(value)
            before = b",\n "
        yield b"\n}\n"


def save(pieces: Iterable[bytes], run_dir: Path) -> None:
    """Publish a report, given in pieces, in `run_dir`. Raises OSError."""
    run_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(run_dir / REPORT, pieces)


def load(run_dir: Path) -> Report | None:
    """The last report published in `run_dir`; None when there is none that this version understands."""
    try:
        report = msgspec.json.decode((run_dir / REPORT).read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError):
        return None
    return report if report.version == VERSION else None
