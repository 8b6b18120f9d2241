"""Loading the programs, and adopting what is pinned.

Decides: which setting becomes which constant of the programs (bpf/settings.h) and which size of which table
(bpf/maps.h); and what an operator is told when the pins are not ours to use. Rules: tables of this layout and these
sizes are adopted with everything in them; anything else pinned stops the start, for two layouts hooked at once would
both answer, and a table made anew would end its flows. Must never: unpin anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.dataplane.errors import DataplaneError, PinsOfAnother
from agent.dataplane.tables import AGEING, PROGRAMS, layout_of, pins_of
from agent.settings import Settings, TableSizes
from loader.btf import Btf
from loader.errors import Incompatible
from loader.objects import Object
from loader.spec import ObjectSpec

# Tables whose size an operator sets: the setting to name when the pinned size is another.
_SETTING_OF = {
    "interfaces": "max_interfaces",
    "gateways": "max_gateways",
    "listeners": "max_listeners",
    "listener_counts": "max_listeners",
    "pools": "max_pools",
    "backends": "max_backends",
    "backend_counts": "max_backends",
    "tcp_flows": "tcp_flows and half_open",
    "half_open": "half_open",
    "udp_flows": "udp_flows",
    "ageing_tcp": "tcp_flows and half_open",
    "ageing_udp": "udp_flows and half_open",
}
_REMEDY = "`penstock down` removes it, and ends all flows"


def load(settings: Settings, local_ifindex: int) -> tuple[Object, Object]:
    """The hooked programs and the ageing ones, their tables pinned or adopted.

    Raises PinsOfAnother, or LoaderError when the kernel refuses.
    """
    btf = Btf.from_object_file(settings.object_dir / PROGRAMS)
    pins = pins_of(settings.pin_dir, layout_of(btf))
    _refuse_other_layouts(settings.pin_dir, pins)
    constants, sizes = rodata(settings, local_ifindex, btf), max_entries(settings.tables)
    programs = _load(ObjectSpec(settings.object_dir / PROGRAMS, constants, sizes), pins)
    try:
        return programs, _load(ObjectSpec(settings.object_dir / AGEING, constants, sizes), pins)
    except BaseException:
        programs.close()
        raise


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


def max_entries(sizes: TableSizes) -> Mapping[str, int]:
    """Sizes of the tables in entries: a flow has two, and waits in a queue of ageing once.

    TCP's table has room for every half-open flow besides: room is reserved at the SYN. The queues have more than
    their tables, since a flow that was removed keeps its place in the queue until its time is up.
    """
    families = {
        "tcp_flows": 2 * (sizes.tcp_flows + sizes.half_open),
        "half_open": 2 * sizes.half_open,
        "udp_flows": 2 * sizes.udp_flows,
        "ageing_tcp": 2 * sizes.tcp_flows + sizes.half_open,
        "ageing_udp": 2 * sizes.udp_flows + sizes.half_open,
    }
    return {
        "interfaces": sizes.max_interfaces,
        "gateways": sizes.max_gateways,
        "listeners": sizes.max_listeners,
        "listener_counts": sizes.max_listeners,
        "pools": sizes.max_pools,
        "backends": sizes.max_backends,
        "backend_counts": sizes.max_backends,
        **{f"{name}{family}": size for name, size in families.items() for family in (4, 6)},
    }


def _load(spec: ObjectSpec, pins: Path) -> Object:
    try:
        return Object.load(spec, pins)
    except Incompatible as error:
        raise PinsOfAnother(_explain(error, pins)) from error


def _refuse_other_layouts(pin_dir: Path, ours: Path) -> None:
    for path in sorted(pin_dir.glob("v*")):
        if path != ours:
            raise PinsOfAnother(
                f"{path} is pinned by a version of Penstock with another layout (this one has {ours.name}): run that "
                f"version; or else {_REMEDY}"
            )


def _explain(error: Incompatible, pins: Path) -> str:
    found = f"{pins / error.map} is pinned with {error.field} {error.pinned}, this agent wants {error.wanted}"
    if error.field == "max_entries" and error.map.rstrip("46") in _SETTING_OF:
        return f"{found}: set {_SETTING_OF[error.map.rstrip('46')]} as it was; or else {_REMEDY}"
    return f"{found}: run the version of Penstock that made it; or else {_REMEDY}"
