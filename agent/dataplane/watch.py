"""When to look at the interfaces again.

Decides: that rtnetlink's notifications say *when* something may have changed, never *what*: the next pass reads
everything afresh, so an event lost (ENOBUFS) or seen twice changes nothing. Rules: events are not parsed, only drained;
they cost next to nothing however many pods come and go. Must never: block.
"""

from __future__ import annotations

import errno
import socket
from types import TracebackType

from agent.dataplane.errors import translated

# linux/rtnetlink.h: RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_CHUNK = 65536


class InterfaceWatch:
    """Readable (`fileno`) when a link, an address or a route changed. Owns one socket."""

    def __init__(self) -> None:
        """Raises OSError when the kernel refuses the socket."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))

    def fileno(self) -> int:
        """For select, poll and asyncio."""
        return self._socket.fileno()

    @translated()
    def changed(self) -> bool:
        """Whether anything was notified since the last call. Raises KernelRefused."""
        seen = False
        while True:
            try:
                self._socket.recv(_CHUNK)
            except BlockingIOError:
                return seen
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
            seen = True

    def close(self) -> None:
        """Twice is once."""
        self._socket.close()

    def __enter__(self) -> InterfaceWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
