"""Which Gateways are ours, and which addresses they have.

Decides by GatewayClass.spec.controllerName, in a folder of manifests as in a cluster. Rules: Penstock assigns no
addresses, so a Gateway has those of spec.addresses or none; a list with one unusable address is refused whole (the
conformance test GatewayStaticAddresses wants AddressNotUsable and not a part). Must never look at listeners or routes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from routes.guards import refused
from routes.inventory import Inventory
from routes.objects.gateway import Gateway, GatewayClass
from routes.plan import Address
from routes.problem import Problem

CONTROLLER: Final = "penstock.dev/gateway"


@dataclass(frozen=True, slots=True)
class OwnGateway:
    """A Gateway of ours. `addresses` is sorted by (version, number), empty when `unassigned` says why.

    `rejected`: why the Gateway as a whole is not Accepted.
    """

    gateway: Gateway
    addresses: tuple[Address, ...]
    unassigned: Problem | None
    rejected: Problem | None

    @property
    def name(self) -> str:
        return sys.intern(str(self.gateway.key))  # each of its listeners has it, and what is made of that

    @property
    def usable(self) -> bool:
        """Whether its listeners may take ports."""
        return self.unassigned is None and self.rejected is None


def is_ours(gateway_class: GatewayClass) -> bool:
    return gateway_class.spec.controller_name == CONTROLLER


def class_problem(gateway_class: GatewayClass) -> Problem | None:
    if gateway_class.spec.parameters_ref is not None:
        return Problem("InvalidParameters", "spec.parametersRef is not supported")
    return None


def own_gateways(inventory: Inventory) -> Iterator[OwnGateway]:
    """Oldest first."""
    for gateway in inventory.gateways:
        gateway_class = inventory.classes.get(gateway.spec.gateway_class_name)
        if gateway_class is None or not is_ours(gateway_class):
            continue
        rejected = _rejected(gateway, gateway_class)
        addresses, unassigned = _addresses(gateway)
        yield OwnGateway(gateway, addresses, unassigned, rejected)


def _rejected(gateway: Gateway, gateway_class: GatewayClass) -> Problem | None:
    if class_problem(gateway_class) is not None:
        return Problem("Invalid", f"GatewayClass {gateway_class.metadata.name} is not accepted")
    if gateway.spec.infrastructure.parameters_ref is not None:
        return Problem("InvalidParameters", "spec.infrastructure.parametersRef is not supported")
    for i, address in enumerate(gateway.spec.addresses):
        if address.type != "IPAddress":
            return Problem("UnsupportedAddress", f"spec.addresses[{i}].type {address.type} is not supported")
    return None


def _addresses(gateway: Gateway) -> tuple[tuple[Address, ...], Problem | None]:
    found: list[Address] = []
    for i, wanted in enumerate(gateway.spec.addresses):
        if wanted.type != "IPAddress" or not wanted.value:
            continue
        address = ip_address(wanted.value)
        reason = refused(address)
        if reason is not None:
            return (), Problem("AddressNotUsable", f"spec.addresses[{i}] {address} {reason}")
        found.append(address)
    if not found:
        return (), Problem("AddressNotAssigned", "spec.addresses has no IP address, and none is assigned automatically")
    return tuple(sorted(found, key=lambda x: (x.version, int(x)))), None
