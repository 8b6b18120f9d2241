"""Images to hand to a data plane, as small as a test can do with."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from agent.compile.image import (
    POOL_SLOTS,
    BackendEntry,
    BackendState,
    ListenerEntry,
    ListenerKey,
    MapImage,
    Names,
    PolicyEntry,
)
from routes.plan import Address, Protocol, SourceRange

GATEWAY, GATEWAY6 = ip_address("10.9.0.1"), ip_address("fd00:9::99")
BACKEND, BACKEND6 = ip_address("10.1.0.5"), ip_address("fd00:1::5")


def backend(number: int = 2, **changes: Any) -> BackendEntry:
    """Backend `number` (of an IPv4 listener unless said otherwise), ACTIVE."""
    entry = BackendEntry(BACKEND + number - 2, 8080, 1, BackendState.ACTIVE, 1, 0)
    return replace(entry, **changes)


def policy(*networks: str, flags: int = 3, **says: int) -> PolicyEntry:
    """A policy with these networks, denied where "!" stands before."""
    ranges = [SourceRange(ip_network(x.removeprefix("!")), not x.startswith("!")) for x in networks]
    return PolicyEntry(flags, tuple(ranges), **says)


def pool(*ids: int) -> bytes:
    """A pool whose slots hold `ids` in turn."""
    return struct.pack(f"={POOL_SLOTS}I", *(ids[i % len(ids)] for i in range(POOL_SLOTS)))


def make_image(
    *,
    gateways: Mapping[Address, int] | None = None,
    ports: Sequence[int] = (80,),
    pools: Mapping[int, bytes] | None = None,
    backends: Mapping[int, BackendEntry] | None = None,
    names: Names | None = None,
    policies: Mapping[int, PolicyEntry] | None = None,
) -> MapImage:
    """An image: TCP and UDP on each port of each gateway, the n-th port being listener n with pool n, and
    policy n where there is one."""
    gateways = {GATEWAY: 0} if gateways is None else gateways
    return MapImage(
        gateways=gateways,
        listeners={
            ListenerKey(address, port, protocol): ListenerEntry(
                number, number, number if number in (policies or {}) else 0
            )
            for number, port in enumerate(ports, 1)
            for address in gateways
            for protocol in Protocol
        },
        pools={number: pool(2) for number, _ in enumerate(ports, 1)} if pools is None else pools,
        backends={2: backend()} if backends is None else backends,
        names=names or Names(),
        policies=policies or {},
    )
