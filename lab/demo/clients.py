"""What the demonstration's clients do: one short exchange each, from a port of its own, that tells who served it.

Rules: every function opens its sockets on the calling thread, so the caller is in the client's namespace; it returns
the name of the backend, and raises OSError (or the library's error) when the exchange failed.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import dns.message
import dns.query
import dns.rdatatype
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from lab.servers.dns import NAME
from lab.topology import Address

PATIENCE: Final = 5.0


def get_page(gateway: Address) -> str:
    """HTTP: one connection, GET /."""
    connection = http.client.HTTPConnection(str(gateway), 80, timeout=PATIENCE)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return connection.getresponse().read().decode().split()[0]
    finally:
        connection.close()


def set_and_get(gateway: Address) -> str:
    """Redis: one connection, a SET and a GET of it, and the server's name."""
    once = Retry(NoBackoff(), 0)
    with Redis(host=str(gateway), port=6379, socket_timeout=PATIENCE, retry=once, decode_responses=True) as client:
        client.set("greeting", "hello")
        if client.get("greeting") != "hello":
            raise ConnectionError("Redis did not give back what was set")
        return str(client.get("backend"))


def _name_in(answer: dns.message.Message) -> str:
    return str(next(iter(answer.answer[0])).strings[0].decode())


def resolve_over_udp(gateway: Address) -> str:
    """DNS: one datagram from a new port."""
    return _name_in(dns.query.udp(dns.message.make_query(NAME, dns.rdatatype.TXT), str(gateway), PATIENCE))


def resolve_over_tcp(gateway: Address) -> str:
    """DNS: one connection, one query."""
    return _name_in(dns.query.tcp(dns.message.make_query(NAME, dns.rdatatype.TXT), str(gateway), PATIENCE))


@dataclass(frozen=True, slots=True)
class Exchange:
    """One kind of exchange with the quickstart. `weights`: of the backends behind its listener, as in the manifests."""

    listener: str
    ask: Callable[[Address], str]
    weights: dict[str, int]


EXCHANGES: Final = (
    Exchange("web", get_page, {"web-blue": 70, "web-green": 30}),
    Exchange("redis", set_and_get, {"redis": 1}),
    Exchange("dns-udp", resolve_over_udp, {"ns-a": 50, "ns-b": 50}),
    Exchange("dns-tcp", resolve_over_tcp, {"ns-a": 50, "ns-b": 50}),
)
