"""The agent's one HTTP server: /metrics, /status, /healthz, /readyz.

Decides: nothing; it answers with what it is given. Rules: read only; bound where the settings say (loopback unless
asked otherwise), before it is known what to answer: who asks meanwhile waits; a slow client holds one thread for a
bounded time and nothing else.
Must never: take part in whether packets flow. A server that cannot start is an error at start, one that dies is not.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

CLIENT_TIMEOUT = 10.0  # seconds
CLOSES_WITHIN = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says: `ok` False is 503."""

    ok: bool
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Page: TypeAlias = Callable[[], Answer]


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the own name that http.server does; it can hang without a resolver."""
        socketserver.TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's error."""
        log.debug("client %s went away", client_address, exc_info=True)


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: a scrape every few seconds is no news."""

    def address_string(self) -> str:
        return str(self.client_address[0])


class StatusServer:
    """Has its port from the beginning, and serves from `serve` on, from a thread of its own, until closed."""

    def __init__(self, host: str, port: int) -> None:
        """Bind `host` (an IP address) and `port` (0 = any). Raises OSError when that is not possible."""
        v6 = ipaddress.ip_address(host).version == 6
        kind = type("_Bound", (_Server,), {"address_family": socket.AF_INET6 if v6 else socket.AF_INET})
        try:
            self._server: WSGIServer = kind((host, port), _Handler)
        except OSError as error:
            raise OSError(error.errno, f"--metrics-address {host} port {port}: {error.strerror}") from None
        self._pages: Mapping[str, Page] = {}
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(CLOSES_WITHIN,), name="http", daemon=True
        )

    def serve(self, registry: CollectorRegistry, pages: Mapping[str, Page]) -> None:
        """Answer with `pages` by path, and with `registry` at /metrics. Once."""
        self._pages, self._metrics = pages, make_wsgi_app(registry)
        self._server.set_app(self._answer)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is bound."""
        return self._server.server_port

    def close(self) -> None:
        """Stop serving and free the port. Twice is once."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> StatusServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _reply(start_response, "405 Method Not Allowed", Answer(False, b"GET only\n"))
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        page = self._pages.get(path)
        if page is None:
            known = " ".join(sorted([*self._pages, "/metrics"]))
            return _reply(start_response, "404 Not Found", Answer(False, f"there are: {known}\n".encode()))
        said = page()
        return _reply(start_response, "200 OK" if said.ok else "503 Service Unavailable", said)


def _reply(start_response: StartResponse, status: str, answer: Answer) -> Iterable[bytes]:
    start_response(status, [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))])
    return [answer.body]
