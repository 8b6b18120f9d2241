"""Attaching as a cls_bpf filter of a clsact qdisc: for kernels without TCX (before 6.6).

Rules: our filter has a priority and a handle of its own and a name that begins with ours. One that is there under all
three is replaced in place, by one netlink message. Somebody else's filter under our priority and handle is left alone:
HookTaken. One program per interface and direction. A qdisc that we made is remembered by a directory qdiscs/<ifindex>
among the pins (bpffs holds no files), and is removed with our last filter if nobody else's filter is on it.
"""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import nlmsg_base
from pyroute2.netlink.exceptions import NetlinkError

from loader import bpffs
from loader.errors import HookTaken, from_errno
from loader.hook import Attachment, Direction, Mechanism
from loader.program import Program

PRIORITY = 47  # lower ones are asked first
HANDLE = 0x50454E53
OWNER = "penstock:"
_ETH_P_ALL = 3
_PARENT = {Direction.INGRESS: 0xFFFFFFF2, Direction.EGRESS: 0xFFFFFFF3}
_TCA_BPF_ID = 11


def attach(program: Program, ifindex: int, direction: Direction, pin_dir: Path) -> Attachment:
    """Attaches, or replaces our filter. InterfaceGone, HookTaken, NoBpffs, PermissionDenied, NotSupported."""
    marks = pin_dir / "qdiscs"
    bpffs.make_directory(marks)
    with _netlink(f"attaching {program.name} to the {direction.value} of interface {ifindex}") as netlink:
        _require_qdisc(netlink, ifindex, marks / str(ifindex))
        _require_no_stranger(netlink, ifindex, direction)
        netlink.tc(
            "replace-filter",
            "bpf",
            fd=program.fd,
            name=OWNER + program.name,
            direct_action=True,
            **_place(ifindex, direction),
        )
    return Attachment(program.name, ifindex, direction, Mechanism.CLSACT, program.id)


def attachments() -> Iterator[Attachment]:
    """Our filters on all interfaces of this network namespace."""
    with _netlink("listing filters") as netlink:
        indexes = [x["index"] for x in netlink.get_qdiscs() if x.get("kind") == "clsact"]
        for ifindex in indexes:
            for direction in Direction:
                for found in _ours(netlink, ifindex, direction):
                    name = _option(found, "TCA_BPF_NAME").removeprefix(OWNER)
                    yield Attachment(name, ifindex, direction, Mechanism.CLSACT, _program_id(found))


def detach(attachment: Attachment, pin_dir: Path) -> None:
    """Removes our filter, and the qdisc if we made it and nobody uses it; nothing if they have gone."""
    ifindex, mark = attachment.ifindex, pin_dir / "qdiscs" / str(attachment.ifindex)
    with _netlink(f"detaching {attachment.program} from interface {ifindex}") as netlink:
        if not _clsact(netlink, ifindex):
            return
        for _ in _ours(netlink, ifindex, attachment.direction):
            netlink.tc("del-filter", "bpf", **_place(ifindex, attachment.direction))
        in_use = any(_filters(netlink, ifindex, x) for x in Direction)
        if mark.is_dir() and not in_use:
            netlink.tc("del", "clsact", index=ifindex)
            mark.rmdir()


def _place(ifindex: int, direction: Direction) -> dict[str, int]:
    return {
        "index": ifindex,
        "parent": _PARENT[direction],
        "handle": HANDLE,
        "prio": PRIORITY,
        "protocol": _ETH_P_ALL,
    }


def _require_qdisc(netlink: IPRoute, ifindex: int, mark: Path) -> None:
    if _clsact(netlink, ifindex):
        return
    try:
        netlink.tc("add", "clsact", index=ifindex)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        raise HookTaken(f"interface {ifindex} has somebody else's ingress qdisc, which leaves no egress") from error
    mark.mkdir(exist_ok=True)


def _clsact(netlink: IPRoute, ifindex: int) -> bool:
    return any(x.get("kind") == "clsact" for x in netlink.get_qdiscs(ifindex))


def _require_no_stranger(netlink: IPRoute, ifindex: int, direction: Direction) -> None:
    for found in _filters(netlink, ifindex, direction):
        if found["info"] >> 16 != PRIORITY:
            continue
        kind, name = found.get("kind"), _option(found, "TCA_BPF_NAME")
        if kind != "bpf" or (found["handle"] == HANDLE and not name.startswith(OWNER)):
            raise HookTaken(
                f"interface {ifindex}, {direction.value}: priority {PRIORITY}, handle {HANDLE:#x} "
                f"is taken by the filter {name or kind}"
            )


def _ours(netlink: IPRoute, ifindex: int, direction: Direction) -> list[Any]:
    return [
        x
        for x in _filters(netlink, ifindex, direction)
        if x["handle"] == HANDLE and x["info"] >> 16 == PRIORITY and _option(x, "TCA_BPF_NAME").startswith(OWNER)
    ]


def _filters(netlink: IPRoute, ifindex: int, direction: Direction) -> list[Any]:
    """The filters of a hook; those without a handle are the heads of their priority and no filters."""
    return [x for x in netlink.get_filters(index=ifindex, parent=_PARENT[direction]) if x["handle"]]


def _option(found: Any, name: str) -> str:
    options = found.get("options")
    return (options.get_attr(name) if options is not None else None) or ""


def _program_id(found: Any) -> int:
    """TCA_BPF_ID, which pyroute2 0.9 knows only as an attribute with octets."""
    for _, value in found.get("options")["attrs"]:
        if isinstance(value, nlmsg_base) and value["header"]["type"] == _TCA_BPF_ID:
            return int.from_bytes(value.data[value.offset + 4 : value.offset + 8], sys.byteorder)
    return 0


@contextlib.contextmanager
def _netlink(what: str) -> Iterator[IPRoute]:
    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as error:
        raise from_errno(error.code, what) from error
