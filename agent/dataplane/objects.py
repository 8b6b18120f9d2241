"""Loading the programs, and taking over what is pinned.

Decides: which setting becomes which constant of the programs (bpf/settings.h); and whether the tables that are in force
go on or have successors. Rules: if every one of them fits, and none is missing or too many, the set goes on with these
programs, which replace the old ones in place; else a new set takes its place, with what the tables hold
(succession.py). A size that leaves no room for what is live, and whatever else cannot be carried over, stops the start
and is named, and all stays as it was; `penstock down` is the way out. Must never: unpin what is in force.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.dataplane.errors import DataplaneError, PinsOfAnother
from agent.dataplane.footprint import require_memory
from agent.dataplane.sets import IN_FORCE, discard, folders, in_force, number_of, put_in_force, tables_in
from agent.dataplane.sizes import Change, changes, lacking, max_entries
from agent.dataplane.succession import TIMERS, Lapsed, Succession, hook_where_hooked
from agent.dataplane.tables import AGEING, FLOWS, PROGRAMS, XDP
from agent.settings import Settings
from loader.attach import attachments
from loader.btf import Btf
from loader.btf_types import Enum
from loader.errors import Incompatible, LoaderError
from loader.maps import Map
from loader.objects import Object
from loader.spec import ObjectSpec

log = logging.getLogger(__name__)

_REMEDY = "or else `penstock down` removes what is there, and ends all flows"
_NARROW = ("flow_state", "flow_flag", "gateway_flag", "policy_flag", "promotion", "backend_id")
"""Enums whose numbers stand in the tables without BTF saying so (bpf/abi.h)."""
_ATTEMPTS = 3  # to carry flows over, on a node that stops us for seconds


def load(settings: Settings, local_ifindex: int) -> tuple[Object, Object]:
    """The hooked programs and the ageing ones, in force, with their tables.

    Raises PinsOfAnother, NodeUnfit (too little memory), or LoaderError when the kernel refuses; then what was in force
    is.
    """
    btf = Btf.from_object_file(settings.object_dir / PROGRAMS)
    sizes = max_entries(settings.tables)

    def specs(number: int) -> tuple[ObjectSpec, ObjectSpec]:
        constants = {**rodata(settings, local_ifindex, btf), "set_number": number}
        programs, ageing = (ObjectSpec(settings.object_dir / x, constants, sizes) for x in (PROGRAMS, AGEING))
        return programs, ageing

    try:
        current = _clear_leftovers(settings.pin_dir)
        if current is None:
            require_memory(specs(1), None, settings.tables)
            return _first(specs(1), settings.pin_dir / "v1")
        _require_same_numbers(current, btf)
        differs = _differences(specs(number_of(current)), current)
        changed = changes(current, settings.tables)
        if lacks := tuple(lacking(current, changed, settings.limits.half_open)):
            raise PinsOfAnother(f"{'; '.join(lacks)}; {_REMEDY}")
        if not differs:
            return _in_place(specs(number_of(current)), current)
        require_memory(specs(number_of(current)), current, settings.tables)
        _tell(changed, differs)
        number = number_of(current) + 1
        return _successor(specs(number), current, settings.pin_dir / f"v{number}", settings.limits.half_open)
    except Incompatible as error:
        raise PinsOfAnother(_explain(error)) from error


def _tell(changed: Sequence[Change], differs: Sequence[Incompatible | str]) -> None:
    """What an operator should know of why the tables are replaced."""
    if changed:
        log.info(
            "other sizes than the agent before had, by the options of this one: %s; open connections are carried over",
            ", ".join(map(str, changed)),
        )
    if others := [str(x) for x in differs if not isinstance(x, Incompatible) or x.field != "max_entries"]:
        log.info("another version made the tables: what they hold is carried over into new ones")
        log.debug("what differs: %s", "; ".join(others))


def load_xdp(settings: Settings, local_ifindex: int) -> Object:
    """XDP's programs, with the tables of the set in force. LoaderError when the kernel refuses."""
    current = in_force(settings.pin_dir)
    if current is None:
        raise LoaderError(f"no set of tables is in force in {settings.pin_dir}")
    path = settings.object_dir / XDP
    constants = {**rodata(settings, local_ifindex, Btf.from_object_file(path)), "set_number": number_of(current)}
    return Object.load(ObjectSpec(path, constants, max_entries(settings.tables)), current)


def start_ageing(ageing: Object) -> None:
    """Arm the timer that forgets idle flows, or give the one that runs the new program. Raises DataplaneError."""
    result = ageing.program("start_ageing").test_run(bytes(64))
    if result.retval:
        raise DataplaneError(f"the kernel refused to start ageing (step {result.retval} of start_ageing)")


def rodata(settings: Settings, local_ifindex: int, btf: Btf) -> Mapping[str, int]:
    """Constants of bpf/settings.h."""
    return {
        "delivery": btf.enum("delivery")[f"DELIVERY_{settings.delivery.name}"],
        "local_ifindex": local_ifindex,
        "tcp_flows_max": settings.tables.tcp_flows,
        "udp_flows_max": settings.tables.udp_flows,
        "source_buckets": max_entries(settings.tables)["source_connections"],
        "reply_rate_limit": settings.reply_rate_limit,
        "has_symmetric": bool(settings.symmetric),
        "snat_port_min": settings.snat_ports[0],
        "snat_port_max": settings.snat_ports[1],
        "limit_tcp_established": settings.limits.tcp_established,
        "limit_half_open": settings.limits.half_open,
        "limit_closing": settings.limits.closing,
        "limit_closed": settings.limits.closed,
        "limit_reset": settings.limits.reset,
        "limit_udp": settings.limits.udp,
    }


def _clear_leftovers(pin_dir: Path) -> Path | None:
    """The set in force; what is left of others has gone. PinsOfAnother if a set is hooked that knows no others."""
    current = in_force(pin_dir)
    for folder in folders(pin_dir):
        if current is None and not (folder / IN_FORCE).exists() and attachments(folder):
            raise PinsOfAnother(f"{folder} is of a version of Penstock that none can follow: run that one; {_REMEDY}")
        if folder != current:
            discard(folder)
    return current


def _differences(specs: Sequence[ObjectSpec], current: Path) -> Sequence[Incompatible | str]:
    """Why the set cannot go on as it is: one for each table that does not fit, is not there, or is nobody's."""
    told = {name: x for spec in specs for name, x in Object.compare(spec, current).items()}
    if told.get(IN_FORCE) is not None:
        raise PinsOfAnother(f"{current} is of a version of Penstock that none can follow: run that one; {_REMEDY}")
    there = tables_in(current)
    return [
        *(x for x in told.values() if x is not None),
        *(f"{name} is new" for name in sorted(told.keys() - there)),
        *(f"{name} is not used any more" for name in sorted(there - told.keys())),
    ]


def _require_same_numbers(current: Path, btf: Btf) -> None:
    with Map.open_pinned(current / FLOWS[0]) as flows:
        pinned = flows.value.types
    for found in pinned:
        if isinstance(found, Enum) and found.name in _NARROW:
            wanted = btf.enum(found.name).__members__
            for name in found.values.keys() & wanted.keys():
                if found.values[name] != wanted[name]:
                    raise PinsOfAnother(
                        f"{name} is {found.values[name]} in the tables in {current}, and {int(wanted[name])} to this "
                        f"version, which cannot be carried over: run the version that made them; {_REMEDY}"
                    )


def _first(specs: Sequence[ObjectSpec], folder: Path) -> tuple[Object, Object]:
    loaded = _both(lambda spec: Object.load(spec, folder), specs)
    put_in_force(folder)
    return loaded


def _in_place(specs: Sequence[ObjectSpec], current: Path) -> tuple[Object, Object]:
    """The programs are replaced one hook after the other: both versions mean the same by the same tables."""
    programs, ageing = _both(lambda spec: Object.load(spec, current), specs)
    try:
        hook_where_hooked(programs.programs, current, current)
    except BaseException:
        programs.close()
        ageing.close()
        raise
    return programs, ageing


def _successor(specs: Sequence[ObjectSpec], current: Path, folder: Path, handshake_limit: int) -> tuple[Object, Object]:
    attempt = 1
    while True:
        try:
            return _succeeded(specs, current, folder, handshake_limit)
        except Lapsed:
            discard(folder)
            if attempt == _ATTEMPTS:
                raise DataplaneError(
                    f"this process was stopped for seconds while flows were carried over, {attempt} times in a row"
                ) from None
            attempt += 1
        except BaseException:
            if in_force(folder.parent) != folder:
                discard(folder)
            raise


def _succeeded(specs: Sequence[ObjectSpec], current: Path, folder: Path, handshake_limit: int) -> tuple[Object, Object]:
    programs, ageing = _both(lambda spec: Object.load_after(spec, folder, current, TIMERS), specs)
    try:
        maps = {**ageing.maps, **programs.maps}
        succession = Succession(current, folder, maps, programs.programs, ageing.btf, handshake_limit=handshake_limit)
        succession.carry_out(lambda: start_ageing(ageing))
    except BaseException:
        programs.close()
        ageing.close()
        raise
    return programs, ageing


def _both(load_one: Callable[[ObjectSpec], Object], specs: Sequence[ObjectSpec]) -> tuple[Object, Object]:
    programs = load_one(specs[0])
    try:
        return programs, load_one(specs[1])
    except BaseException:
        programs.close()
        raise


def _explain(error: Incompatible) -> str:
    if error.field == "max_entries":  # it came to be too much meanwhile
        return f"table {error.map} has room for {error.pinned}, and would have {error.wanted}: too few; {_REMEDY}"
    return (
        f"table {error.map} cannot be carried over: {error.field} is {error.pinned}, this agent wants {error.wanted}: "
        f"run the version of Penstock that made it; {_REMEDY}"
    )
