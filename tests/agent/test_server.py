"""Real HTTP against the agent's server."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from agent.server import Answer, StatusServer

PAGES = {
    "/good": lambda: Answer(True, b"fine\n"),
    "/bad": lambda: Answer(False, b"not yet\n"),
    "/json": lambda: Answer(True, b"{}", "application/json"),
}


@pytest.fixture(params=["127.0.0.1", "::1"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[StatusServer, str]]:
    registry = CollectorRegistry()
    Gauge("answer", "of all", registry=registry).set(42)
    host: str = request.param
    with StatusServer(host, 0) as server:
        server.serve(registry, PAGES)
        yield server, f"http://{'[::1]' if ':' in host else host}:{server.port}"


def get(url: str, method: str = "GET") -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


@pytest.mark.parametrize(
    ("path", "code", "kind", "body"),
    [
        ("/good", 200, "text/plain; charset=utf-8", b"fine\n"),
        ("/bad", 503, "text/plain; charset=utf-8", b"not yet\n"),
        ("/json", 200, "application/json", b"{}"),
        ("/nothing", 404, "text/plain; charset=utf-8", b"there are: /bad /good /json /metrics\n"),
        ("/", 404, "text/plain; charset=utf-8", b"there are: /bad /good /json /metrics\n"),
    ],
)
def test_pages(server: tuple[StatusServer, str], path: str, code: int, kind: str, body: bytes) -> None:
    assert get(server[1] + path) == (code, kind, body)


def test_metrics_are_those_of_the_registry(server: tuple[StatusServer, str]) -> None:
    code, kind, body = get(server[1] + "/metrics")
    assert (code, kind.startswith("text/plain"), b"\nanswer 42.0\n" in body) == (200, True, True)


def test_nothing_can_be_changed(server: tuple[StatusServer, str]) -> None:
    assert get(server[1] + "/good", method="POST")[0] == 405


def test_a_client_that_says_nothing_holds_up_no_other(server: tuple[StatusServer, str]) -> None:
    host = server[1].removeprefix("http://").rpartition(":")[0].strip("[]")
    with socket.create_connection((host, server[0].port)):
        assert get(server[1] + "/good")[0] == 200


def test_a_port_that_is_taken_is_an_error() -> None:
    with StatusServer("127.0.0.1", 0) as first, pytest.raises(OSError, match="in use"):
        StatusServer("127.0.0.1", first.port)


def test_a_closed_server_frees_its_port() -> None:
    for serves in (True, False):
        with StatusServer("127.0.0.1", 0) as first:
            port = first.port
            if serves:
                first.serve(CollectorRegistry(), {})
        with StatusServer("127.0.0.1", port) as second:
            assert second.port == port


def test_who_asks_before_it_serves_is_answered_when_it_does() -> None:
    with StatusServer("127.0.0.1", 0) as server, socket.create_connection(("127.0.0.1", server.port)) as early:
        early.sendall(b"GET /good HTTP/1.0\r\n\r\n")
        server.serve(CollectorRegistry(), PAGES)
        assert early.recv(100).startswith(b"HTTP/1.0 200 OK")
