"""Options that several commands share, and the command line's way to Settings.

Decides: how a setting is spelled: `--limit-udp` for `limits.udp`, `--tcp-flows` for `tables.tcp_flows`. Rules: defaults
are those of agent/settings.py, named once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar

import click

from agent.settings import LIMIT_BOUNDS, TABLE_BOUNDS, IdleLimits, Settings, TableSizes, option

_F = TypeVar("_F", bound=Callable[..., Any])

_DEFAULT = Settings()

LIMIT_PREFIX = "limit_"

_LIMIT = {
    "tcp_established": "established TCP",
    "udp": "UDP",
    "half_open": "a handshake",
    "closing": "TCP after one FIN",
    "closed": "TCP after FIN both ways",
    "reset": "TCP after an RST",
}
_ROOM = {
    "tcp_flows": "established TCP flows, per address family",
    "half_open": "handshakes at a time, per address family",
    "udp_flows": "UDP flows, per address family",
    "max_gateways": "gateway addresses",
    "max_listeners": "listeners times their addresses, and one that is none",
    "max_policies": "different policies at a time, and one that is none",
    "max_source_ranges": "networks in all policies' sources",
    "max_pools": "pools, one per listener and address family, and one that is none",
    "max_backends": "endpoints, per listener, backendRef and family, and two that are none",
    "max_interfaces": "interfaces with a hook",
}


def places(command: _F) -> _F:
    """--pin-dir, --run-dir and --object-dir."""
    for name, default, text in reversed(
        (
            ("pin-dir", _DEFAULT.pin_dir, "Where the tables are pinned."),
            ("run-dir", _DEFAULT.run_dir, "Lock, report, last good manifests."),
            ("object-dir", _DEFAULT.object_dir, "Where the BPF object files are."),
        )
    ):
        command = click.option(
            f"--{name}",
            type=click.Path(path_type=Path, resolve_path=True, readable=False),  # who may not is told what it takes
            default=default,
            show_default=True,
            envvar=f"PENSTOCK_{name}".upper().replace("-", "_"),
            help=text,
        )(command)
    return command


def sizes_and_limits(command: _F) -> _F:
    """One option for each field of TableSizes and IdleLimits."""
    for limit in reversed(dataclasses.fields(IdleLimits)):
        command = click.option(
            option(LIMIT_PREFIX + limit.name),
            type=int,
            default=limit.default,
            show_default=True,
            help=f"Seconds without a packet after which a flow is forgotten: {_LIMIT[limit.name]}. "
            + from_to(*LIMIT_BOUNDS[limit.name]),
        )(command)
    for size in reversed(dataclasses.fields(TableSizes)):
        command = click.option(
            option(size.name),
            type=int,
            default=size.default,
            show_default=True,
            help=f"Room for so many {_ROOM[size.name]}. " + from_to(*TABLE_BOUNDS[size.name]),
        )(command)
    return command


def network(_: click.Context, __: click.Parameter, value: str | None) -> IPv4Network | IPv6Network | None:
    """What an option says that takes an address or a network (click's `callback`)."""
    try:
        return None if value is None else ip_network(value, strict=False)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def from_to(lowest: int, highest: int) -> str:
    """Bounds of a number, as help says them."""
    return f"From {lowest:,} to {highest:,}."


def tables_of(values: Mapping[str, Any]) -> TableSizes:
    """The sizes among the command line's values."""
    return TableSizes(**{x.name: values[x.name] for x in dataclasses.fields(TableSizes)})


def limits_of(values: Mapping[str, Any]) -> IdleLimits:
    """The limits among the command line's values."""
    return IdleLimits(**{x.name: values[LIMIT_PREFIX + x.name] for x in dataclasses.fields(IdleLimits)})
