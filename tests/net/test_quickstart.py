"""examples/quickstart, with the servers and clients that people use: nginx and curl, Redis, dnsmasq and kdig."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.demo.clients import EXCHANGES, Exchange
from lab.demo.quickstart import BACKENDS, MANIFESTS, shape, start_servers
from lab.gateway import Gateway
from lab.servers.dns import NAME
from lab.servers.nginx import files
from lab.shares import wrong_shares
from lab.topology import CLIENT, GATEWAY, Address, Attachment, Lab

SETTINGS = {
    "stack": ("stack", Attachment.ROUTED, True),
    "redirect": ("redirect", Attachment.ROUTED, True),
    "stack, no offloads": ("stack", Attachment.ROUTED, False),
    "redirect, no offloads": ("redirect", Attachment.ROUTED, False),
    "stack, bridged pods": ("stack", Attachment.BRIDGED, True),
}
FILE_SIZE = 50_000_000


@pytest.fixture(scope="module", params=list(SETTINGS.values()), ids=list(SETTINGS))
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """The quickstart, served; nginx has a big file too."""
    delivery, attachment, offloads = request.param
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("start", shape(attachment, offloads=offloads)))
        start_servers(lab, stack)
        yield stack.enter_context(Gateway(lab, MANIFESTS, delivery=delivery))


def in_url(address: Address) -> str:
    """An address as a URL has it."""
    return f"[{address}]" if address.version == 6 else str(address)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[x.listener for x in EXCHANGES])
def test_every_listener_splits_by_its_weights(gateway: Gateway, family: int, exchange: Exchange) -> None:
    with gateway.lab.client.inside():
        seen = Counter(exchange.ask(GATEWAY[family]) for _ in range(200))
    assert wrong_shares(seen, exchange.weights) == []


def test_nginx_logs_the_clients_own_address(gateway: Gateway, family: int) -> None:
    page = gateway.lab.client.run("curl", "-sS", "-m", "10", f"http://{in_url(GATEWAY[family])}/").stdout
    assert page.split()[1] == str(CLIENT[family])


def test_a_big_file_comes_down_and_goes_up_whole(gateway: Gateway, family: int) -> None:
    content = random.Random(1).randbytes(FILE_SIZE)
    for name in ("web-blue", "web-green"):
        files(gateway.lab, name, BACKENDS[name].port).joinpath("big").write_bytes(content)
    url = f"http://{in_url(GATEWAY[family])}/files/"
    down, up = gateway.lab.directory / "down", gateway.lab.directory / "up"
    gateway.lab.client.run("curl", "-sS", "-f", "-m", "60", "-o", down, f"{url}big")
    assert hashlib.sha256(down.read_bytes()).digest() == hashlib.sha256(content).digest()
    up.write_bytes(content)
    gateway.lab.client.run("curl", "-sS", "-f", "-m", "60", "-T", up, f"{url}up")
    stored = [files(gateway.lab, name, BACKENDS[name].port) / "up" for name in ("web-blue", "web-green")]
    found = [path for path in stored if path.exists()]
    assert [hashlib.sha256(path.read_bytes()).digest() for path in found] == [hashlib.sha256(content).digest()]
    for path in found:
        path.unlink()


def test_redis_cli_works(gateway: Gateway, family: int) -> None:
    client = ("redis-cli", "-h", str(GATEWAY[family]))
    assert gateway.lab.client.run(*client, "set", "colour", "blue").stdout.strip() == "OK"
    assert gateway.lab.client.run(*client, "get", "colour").stdout.strip() == "blue"
    answered = gateway.lab.client.run("redis-benchmark", *client[1:], "-t", "set,get", "-n", "2000", "-q", "-P", "8")
    assert "error" not in answered.stderr.lower()


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_kdig_works(gateway: Gateway, family: int, transport: str) -> None:
    query = ("kdig", "+short", "+time=5", "+retry=0", transport, f"@{GATEWAY[family]}", NAME, "TXT")
    assert gateway.lab.client.run(*query).stdout.strip() in {'"ns-a"', '"ns-b"'}
