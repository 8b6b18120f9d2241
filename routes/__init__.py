"""Gateway API objects in, plan and statuses out. Pure: no I/O, no clock, no randomness; imports nothing of ours.

The way through: `decode` -> `resolve` (`inventory` -> `gateways` -> `conflicts` -> `attach` -> `references`, `policies`
-> `conditions`) -> Plan and Statuses; beside it `endpoints`, since endpoints change far more often than routes.
"""

from routes.decode import Decoded, decode, decode_all, ignored
from routes.endpoints import RefusedEndpoint, endpoints, refused_endpoints
from routes.errors import InvalidObject
from routes.render import rendered
from routes.resolve import resolve
from routes.status import Statuses, programmed

__all__ = [
    "Decoded",
    "InvalidObject",
    "RefusedEndpoint",
    "Statuses",
    "decode",
    "decode_all",
    "endpoints",
    "ignored",
    "programmed",
    "refused_endpoints",
    "rendered",
    "resolve",
]
