"""Between the image's values and the records of the kernel's tables, in the field names of bpf/abi.h. Pure.

Rules: the loader packs and unpacks records by BTF; here only meanings change: octets and addresses, numbers and enums.
Nothing is defaulted: a record that lacks a field is an error, since the layouts were compared when the tables opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from agent.compile.image import BackendEntry, BackendState, ListenerEntry, ListenerKey
from agent.dataplane.addresses import from_octets, to_octets
from routes.plan import Address, Protocol

Record: TypeAlias = Mapping[str, Any]


def address_record(address: Address) -> Record:
    """`struct address`."""
    return {"octets": to_octets(address)}


def address_of(record: Record) -> Address:
    """The address in a `struct address`."""
    return from_octets(record["octets"])


def gateway_record(flags: int) -> Record:
    """`struct gateway`."""
    return {"flags": flags}


def listener_key_record(key: ListenerKey) -> Record:
    """`struct listener_key`."""
    return {"address": address_record(key.address), "port": key.port, "protocol": key.protocol.value}


def listener_key_of(record: Record) -> ListenerKey:
    """The key in a `struct listener_key`."""
    return ListenerKey(address_of(record["address"]), record["port"], Protocol(record["protocol"]))


def listener_record(entry: ListenerEntry) -> Record:
    """`struct listener`."""
    return {"listener_id": entry.listener_id, "pool_id": entry.pool_id, "policy_id": entry.policy_id}


def listener_of(record: Record) -> ListenerEntry:
    """The entry in a `struct listener`."""
    return ListenerEntry(record["listener_id"], record["pool_id"], record["policy_id"])


def backend_record(entry: BackendEntry) -> Record:
    """`struct backend`."""
    return {
        "address": address_record(entry.address),
        "port": entry.port,
        "generation": entry.generation,
        "state": int(entry.state),
        "listener_id": entry.listener_id,
        "ref": entry.ref,
    }


def backend_of(record: Record) -> BackendEntry:
    """The entry in a `struct backend`."""
    return BackendEntry(
        address_of(record["address"]),
        record["port"],
        record["generation"],
        BackendState(record["state"]),
        record["listener_id"],
        record["ref"],
    )
