"""XDP: one program of ours on an interface, in its driver, by a link (kernel 5.9) that is pinned and so outlives us.

Rules: one pin per program and interface (links.py) in xdp/. Driver mode alone: the generic one costs more than it
saves. An interface has one program: a stranger's is left alone (HookTaken). What the driver says when it refuses comes
by netlink only, so it is asked that way for its words. The links of a set of pins can be handed over to the next one: a
move within the BPF file system, in which the program goes on.
Must never: detach what is not ours; leave an interface with a program that no pin of ours holds.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loader import bpffs, links
from loader.errors import DriverRefused, HookTaken, InterfaceGone, LoaderError, describe, from_errno
from loader.libbpf import bpf, ffi, lib, messages
from loader.program import Program

ATTACH_TYPE = 37
"""BPF_XDP: what a program says at its load that it is for. A program that another one calls must have said the same."""
_LINK_TYPE = 6  # BPF_LINK_TYPE_XDP
_IF_NONE, _DRIVER = 1 << 0, 1 << 2  # linux/if_link.h: XDP_FLAGS_UPDATE_IF_NOEXIST, XDP_FLAGS_DRV_MODE
_DIRECTORY = "xdp"
_SAID = "Kernel error message: "  # libbpf's


@dataclass(frozen=True, slots=True)
class XdpAttachment:
    """A program on an interface. `alive` is False for a pinned link whose interface has gone."""

    program: str
    ifindex: int
    program_id: int
    alive: bool


def attach(program: Program, ifindex: int, pin_dir: Path) -> None:
    """Attaches, or replaces the program of the link that is pinned.

    InterfaceGone, HookTaken, DriverRefused, NoBpffs, PermissionDenied.
    """
    directory = pin_dir / _DIRECTORY
    bpffs.make_directory(directory)
    pin = links.pin_of(directory, program.name, ifindex)
    if not links.replace(pin, program, _LINK_TYPE, lambda about: about.ifindex == ifindex):
        pin.unlink(missing_ok=True)
        links.pin(_create(program, ifindex), pin)


def attachments(pin_dir: Path) -> Iterator[XdpAttachment]:
    """Every link that is pinned, dead ones too."""
    for program, ifindex, about in links.pinned(pin_dir / _DIRECTORY, _LINK_TYPE):
        yield XdpAttachment(program, ifindex, about.prog_id, alive=bool(about.ifindex))


def detach(attachment: XdpAttachment, pin_dir: Path) -> None:
    """Removes the link and its pin; nothing if they have gone."""
    links.remove(links.pin_of(pin_dir / _DIRECTORY, attachment.program, attachment.ifindex))


def inherit(pin_dir: Path, predecessor: Path) -> None:
    """Have `pin_dir` hold what `predecessor` held: the programs stay where they are, until they are replaced."""
    before = predecessor / _DIRECTORY
    if not before.is_dir():
        return
    bpffs.make_directory(pin_dir / _DIRECTORY)
    for pin in before.iterdir():
        pin.rename(pin_dir / _DIRECTORY / pin.name)


def _create(program: Program, ifindex: int) -> int:
    attr = ffi.new(
        "struct tcx_link_create *",
        {"prog_fd": program.fd, "target_ifindex": ifindex, "attach_type": ATTACH_TYPE, "flags": _DRIVER},
    )
    try:
        return bpf(links.CREATE, attr, f"attaching XDP to interface {ifindex}")
    except InterfaceGone:
        raise
    except LoaderError as error:
        raise _explained(program, ifindex) from error


def _explained(program: Program, ifindex: int) -> LoaderError:
    """Why it cannot be: the same is asked for by netlink, whose answer has the driver's words."""
    with messages() as said:
        result = lib().bpf_xdp_attach(ifindex, program.fd, _DRIVER | _IF_NONE, ffi.NULL)
        if result == 0:
            lib().bpf_xdp_detach(ifindex, _DRIVER, ffi.NULL)
    if result in (-errno.EBUSY, -errno.EEXIST):
        return HookTaken("another XDP program is on it, which is left alone")
    words = [line.partition(_SAID)[2].strip() for text in said for line in text.splitlines() if _SAID in line]
    if result in (-errno.EPERM, -errno.EACCES, -errno.ENODEV):
        return from_errno(-result, f"attaching XDP to interface {ifindex}")
    return DriverRefused(words[0] if words and words[0] else describe(-result) if result else "it did not at first")
