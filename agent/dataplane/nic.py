"""What an interface's driver says of itself (ethtool's ioctl).

Rules: reads only; what a driver does not tell is "", 0 or False. Must never: raise for an interface that is gone.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
from dataclasses import dataclass

from pyroute2.ethtool.ioctl import EthtoolError, IoctlEthtool

_SIOCETHTOOL = 0x8946  # linux/sockios.h
_GDRVINFO = 0x3  # linux/ethtool.h


class _DriverInfo(ctypes.Structure):
    """struct ethtool_drvinfo; the name is told, the rest is counted off."""

    _fields_ = (("cmd", ctypes.c_uint32), ("driver", ctypes.c_char * 32), ("rest", ctypes.c_char * 160))


class _Request(ctypes.Structure):
    """struct ifreq with a pointer."""

    _fields_ = (("name", ctypes.c_char * 16), ("data", ctypes.c_void_p), ("rest", ctypes.c_char * 16))


@dataclass(frozen=True, slots=True)
class Nic:
    """`driver`: its name. `lro` and `gro_hw`: segments are merged before anybody sees them; `gro_hw_fixed`: for good.
    `strips_tags`: VLAN tags are taken off frames before XDP sees them. `queues` of `most_queues` that it could have."""

    driver: str = ""
    lro: bool = False
    gro_hw: bool = False
    gro_hw_fixed: bool = False
    strips_tags: bool = False
    queues: int = 0
    most_queues: int = 0


def read_nic(name: str) -> Nic:
    """The interface of that name in this network namespace."""
    try:
        ethtool = IoctlEthtool(name)
    except (EthtoolError, OSError):
        return Nic()
    try:
        on, fixed = _features(ethtool)
        queues, most = _queues(ethtool)
    finally:
        ethtool.close()
    return Nic(
        _driver(name),
        "rx-lro" in on,
        "rx-gro-hw" in on,
        "rx-gro-hw" in fixed,
        "rx-vlan-hw-parse" in on,  # `ethtool -k` calls it rx-vlan-offload
        queues,
        most,
    )


def _features(ethtool: IoctlEthtool) -> tuple[frozenset[str], frozenset[str]]:
    """Those that are on, and those that stay as they are."""
    try:
        found = ethtool.get_features()
        names = tuple(found.keys())
        return (
            frozenset(x for x in names if found.is_active(x)),
            frozenset(x for x in names if not found.is_available(x) or found.is_never_changed(x)),
        )
    except (EthtoolError, OSError):
        return frozenset(), frozenset()


def _queues(ethtool: IoctlEthtool) -> tuple[int, int]:
    try:
        found = ethtool.get_channels()
    except (EthtoolError, OSError):
        return 0, 0
    return (
        found["combined_count"] or found["rx_count"],
        found["max_combined"] or found["max_rx"],
    )


def _driver(name: str) -> str:
    info = _DriverInfo(cmd=_GDRVINFO)
    request = _Request(name=os.fsencode(name), data=ctypes.addressof(info))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
        except OSError:
            return ""
    told: bytes = info.driver
    return told.decode(errors="replace")
