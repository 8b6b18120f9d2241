"""Redis in a backend. The key `backend` holds the backend's name."""

from __future__ import annotations

from lab.process import Process
from lab.servers.ready import until_backend_accepts
from lab.topology import Lab

PORT = 6379


def redis(lab: Lab, backend: str, port: int = PORT) -> Process:
    """Start a Redis server that keeps nothing on disk."""
    directory = lab.directory / f"redis-{backend}-{port}"
    directory.mkdir(parents=True)
    # Debian's redis-tools carries the server too, under another name (the program looks at its own); the package
    # redis-server would add only that link and a service that nobody asked for.
    program = directory / "redis-server"
    program.symlink_to("/usr/bin/redis-check-rdb")
    process = lab.backends[backend].start(
        f"redis {backend}",
        [
            program,
            "--port",
            str(port),
            "--bind",
            "*",
            "-::*",
            "--protected-mode",
            "no",
            "--save",
            "",
            "--dir",
            directory,
        ],
        log=directory / "log",
    )
    until_backend_accepts(lab, backend, port, process)
    lab.backends[backend].run("redis-cli", "-p", str(port), "set", "backend", backend)
    return process
