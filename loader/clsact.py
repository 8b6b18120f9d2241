"""Attaching as a cls_bpf filter of a clsact qdisc: for kernels without TCX (before 6.6).

Rules: our filter has a priority and a handle of its own and a name that begins with ours. One that is there under all
three is replaced in place, by one netlink message. Somebody else's filter under our priority and handle is left alone:
HookTaken. One program per interface, direction and set: sets v1, v2 .. of pins take two handles in turn, so that two
of them can be on a hook while one follows the other. The later one stands behind the earlier (tcx.py says why): under
one priority the newest is asked first, so it takes the next priority, and keeps it until it is the earlier one. A qdisc
that we made is remembered by a directory qdiscs/<ifindex> among the pins (bpffs holds no files), and is removed with
our last filter if nobody else's is on it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import nlmsg_base
from pyroute2.netlink.exceptions import NetlinkError

from loader import bpffs
from loader.errors import HookTaken, from_errno
from loader.hook import Attachment, Direction, Mechanism
from loader.libbpf import checked, lib
from loader.program import Program
from loader.quiescence import wait_for_running_programs

PRIORITY = 47  # lower ones are asked first
_BEHIND = PRIORITY + 1  # of the later of two sets
HANDLE = 0x50454E53
OTHER_HANDLE = HANDLE + 1  # of sets with an even number
OWNER = "penstock:"
_ETH_P_ALL = 3
_PARENT = {Direction.INGRESS: 0xFFFFFFF2, Direction.EGRESS: 0xFFFFFFF3}
_TCA_BPF_ID = 11


def attach(
    program: Program, ifindex: int, direction: Direction, pin_dir: Path, behind: Path | None = None
) -> Attachment:
    """Attaches, or replaces our filter. InterfaceGone, HookTaken, NoBpffs, PermissionDenied, NotSupported.

    `behind`: the pins of another set, whose program on that hook is to be asked first.
    """
    marks = pin_dir / "qdiscs"
    bpffs.make_directory(marks)
    with _netlink(f"attaching {program.name} to the {direction.value} of interface {ifindex}") as netlink:
        _require_qdisc(netlink, ifindex, marks / str(ifindex))
        handle = _handle(pin_dir)
        priority = next((_priority(x) for x in _ours(netlink, ifindex, direction, {handle})), PRIORITY)
        if behind is not None:
            for earlier in _ours(netlink, ifindex, direction, {_handle(behind)}):
                _to_the_front(netlink, ifindex, direction, earlier)
                priority = _BEHIND
        _require_no_stranger(netlink, ifindex, direction, priority, handle)
        _put(netlink, program.fd, OWNER + program.name, _place(ifindex, direction, priority, handle))
    return Attachment(program.name, ifindex, direction, Mechanism.CLSACT, program.id)


def attachments(pin_dir: Path) -> Iterator[Attachment]:
    """Our filters on all interfaces of this network namespace: those of the set, or of any if the folder is none."""
    handles = {_handle(pin_dir)} if _number(pin_dir) else {HANDLE, OTHER_HANDLE}
    with _netlink("listing filters") as netlink:
        indexes = [x["index"] for x in netlink.get_qdiscs() if x.get("kind") == "clsact"]
        for ifindex in indexes:
            for direction in Direction:
                for found in _ours(netlink, ifindex, direction, handles):
                    name = _option(found, "TCA_BPF_NAME").removeprefix(OWNER)
                    yield Attachment(name, ifindex, direction, Mechanism.CLSACT, _program_id(found))


def detach(attachment: Attachment, pin_dir: Path) -> None:
    """Removes our filter, and the qdisc if we made it and nobody uses it; nothing if they have gone."""
    ifindex, mark = attachment.ifindex, pin_dir / "qdiscs" / str(attachment.ifindex)
    with _netlink(f"detaching {attachment.program} from interface {ifindex}") as netlink:
        if not _clsact(netlink, ifindex):
            return
        for found in _ours(netlink, ifindex, attachment.direction, {HANDLE, OTHER_HANDLE}):
            if _program_id(found) == attachment.program_id:
                _take_off(netlink, ifindex, attachment.direction, found)
        in_use = any(_filters(netlink, ifindex, x) for x in Direction)
        if mark.is_dir() and not in_use:
            netlink.tc("del", "clsact", index=ifindex)
            mark.rmdir()


def inherit(pin_dir: Path, predecessor: Path) -> None:
    """Remember as made by us, in a new set of pins, the qdiscs that the set before it made."""
    there = predecessor / "qdiscs"
    for mark in sorted(there.iterdir()) if there.is_dir() else ():
        bpffs.make_directory(pin_dir / "qdiscs" / mark.name)


def _number(pin_dir: Path) -> int:
    """Of a set, 0 if the folder is no set's."""
    found = re.search(r"v([0-9]+)$", pin_dir.name)
    return int(found[1]) if found else 0


def _handle(pin_dir: Path) -> int:
    return OTHER_HANDLE if _number(pin_dir) % 2 == 0 else HANDLE


def _place(ifindex: int, direction: Direction, priority: int, handle: int) -> dict[str, int]:
    return {
        "index": ifindex,
        "parent": _PARENT[direction],
        "handle": handle,
        "prio": priority,
        "protocol": _ETH_P_ALL,
    }


def _put(netlink: IPRoute, fd: int, name: str, place: dict[str, int]) -> None:
    netlink.tc("replace-filter", "bpf", fd=fd, name=name, direct_action=True, **place)


def _take_off(netlink: IPRoute, ifindex: int, direction: Direction, found: Any) -> None:
    netlink.tc("del-filter", "bpf", **_place(ifindex, direction, _priority(found), found["handle"]))


def _to_the_front(netlink: IPRoute, ifindex: int, direction: Direction, found: Any) -> None:
    """Moves a filter of ours to the first of the two places.

    For a moment it has both, and a packet meets it twice. That does no harm: what the first one passes on was not ours,
    or has been rewritten and is not ours any more, so the second one leaves it as it is.
    """
    if _priority(found) == PRIORITY:
        return
    _require_no_stranger(netlink, ifindex, direction, PRIORITY, found["handle"])
    fd = checked(lib().bpf_prog_get_fd_by_id(_program_id(found)), "opening a program of ours")
    try:
        _put(netlink, fd, _option(found, "TCA_BPF_NAME"), _place(ifindex, direction, PRIORITY, found["handle"]))
    finally:
        os.close(fd)
    wait_for_running_programs()  # one may be past the first place, and not at the second yet
    _take_off(netlink, ifindex, direction, found)


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


def _require_no_stranger(netlink: IPRoute, ifindex: int, direction: Direction, priority: int, handle: int) -> None:
    for found in _filters(netlink, ifindex, direction):
        if _priority(found) != priority:
            continue
        kind, name = found.get("kind"), _option(found, "TCA_BPF_NAME")
        if kind != "bpf" or (found["handle"] == handle and not name.startswith(OWNER)):
            raise HookTaken(
                f"interface {ifindex}, {direction.value}: priority {priority}, handle {handle:#x} "
                f"is taken by the filter {name or kind}"
            )


def _ours(netlink: IPRoute, ifindex: int, direction: Direction, handles: Collection[int]) -> list[Any]:
    return [
        x
        for x in _filters(netlink, ifindex, direction)
        if x["handle"] in handles
        and _priority(x) in (PRIORITY, _BEHIND)
        and _option(x, "TCA_BPF_NAME").startswith(OWNER)
    ]


def _filters(netlink: IPRoute, ifindex: int, direction: Direction) -> list[Any]:
    """The filters of a hook; those without a handle are the heads of their priority and no filters."""
    return [x for x in netlink.get_filters(index=ifindex, parent=_PARENT[direction]) if x["handle"]]


def _priority(found: Any) -> int:
    return int(found["info"] >> 16)


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
