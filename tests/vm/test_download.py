"""A package comes whole from the archive, or not at all, and what went wrong is said. Real apt, a mirror of our own."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vmtest.debian import Archive
from vmtest.errors import VmError

PACKAGE, VERSION = "linux-image-9.9.9-cloud-amd64", "9.9.9-1"
CONTENT = "an image\n"
DEB = f"/{PACKAGE}.deb"

Answer = Callable[[http.server.BaseHTTPRequestHandler, bytes], None]


class Mirror(http.server.ThreadingHTTPServer):
    """A flat archive of one package; `answer` is how it hands the package out."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.answer: Answer = whole
        self.ended = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        content = self.server.files.get(self.path.replace("/./", "/"))
        if content is None:
            self.send_error(404)
        elif self.path.endswith(DEB):
            self.server.answer(self, content)
        else:
            whole(self, content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def whole(handler: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
    begin(handler, len(content))
    handler.wfile.write(content)


def begin(handler: http.server.BaseHTTPRequestHandler, length: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def gone(handler: http.server.BaseHTTPRequestHandler, _: bytes) -> None:
    handler.send_error(404)


def cut_file(handler: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
    """The mirror itself has half of it."""
    whole(handler, content[: len(content) // 2])


def cut_connection(handler: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
    begin(handler, len(content))
    handler.wfile.write(content[: len(content) // 2])


def other_content(handler: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
    whole(handler, content[:-1] + b"!")


def stalled(handler: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
    cut_connection(handler, content)
    handler.wfile.flush()
    handler.server.ended.wait()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """What the mirror serves: path -> content."""
    tree = tmp_path_factory.mktemp("package")
    (tree / "boot").mkdir()
    (tree / "boot" / "vmlinuz").write_text(CONTENT)
    control = f"Package: {PACKAGE}\nVersion: {VERSION}\nArchitecture: amd64\nMaintainer: nobody\nDescription: a test\n"
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(control)
    built = tree.with_suffix(".deb")
    subprocess.check_call(["dpkg-deb", "--build", "--root-owner-group", tree, built], stdout=subprocess.DEVNULL)
    deb = built.read_bytes()
    index = f"{control}Filename: .{DEB}\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n"
    return {"/Packages": index.encode(), DEB: deb}


@pytest.fixture
def mirror(files) -> Iterator[Mirror]:
    with Mirror(files) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield server
        server.ended.set()
        server.shutdown()
        serving.join()


@pytest.fixture
def archive(mirror, tmp_path) -> Archive:
    """apt, with nothing of this machine's, and less patience."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] http://127.0.0.1:{mirror.server_port}/ ./\n")
    options = {
        "Dir::Etc::sourcelist": tmp_path / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": tmp_path / "lists",
        "Dir::Cache": tmp_path / "cache",
        "Acquire::http::Proxy::127.0.0.1": "DIRECT",
        "Acquire::http::Timeout": "1",
        "Acquire::Retries": "0",
    }
    found = Archive(tuple(f"-o{key}={value}" for key, value in options.items()))
    found.refresh()
    return found


@pytest.fixture
def place(tmp_path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def test_a_package_is_fetched_and_unpacked(archive, place):
    archive.download(PACKAGE, VERSION, place)
    assert [str(x.relative_to(place)) for x in place.rglob("*") if x.is_file()] == ["boot/vmlinuz"]
    assert (place / "boot" / "vmlinuz").read_text() == CONTENT


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (gone, "404"),
        (cut_file, "unexpected size|Hash Sum mismatch"),
        (cut_connection, "Failed to fetch"),
        (other_content, "Hash Sum mismatch"),
        (stalled, "timed out"),
    ],
)
def test_one_that_does_not_come_whole_is_an_error(mirror, archive, place, answer, said):
    mirror.answer = answer
    start = time.monotonic()
    with pytest.raises(VmError, match=f"^{PACKAGE} did not come whole from its archive: (?s:.*)({said})"):
        archive.download(PACKAGE, VERSION, place)
    assert time.monotonic() - start < 60
    assert not (place / "boot").exists()


def test_a_mirror_that_does_not_answer_is_an_error(mirror, archive, place):
    mirror.shutdown()
    mirror.socket.close()
    with pytest.raises(VmError, match="Could not connect"):
        archive.download(PACKAGE, VERSION, place)
