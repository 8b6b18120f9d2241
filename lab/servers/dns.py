"""dnsmasq in a backend: DNS over UDP and TCP. The TXT record `backend.penstock.test` holds the backend's name."""

from __future__ import annotations

from lab.process import Process
from lab.servers.ready import until_backend_accepts
from lab.topology import Lab

PORT = 53
NAME = "backend.penstock.test"


def dns(lab: Lab, backend: str, port: int = PORT) -> Process:
    """Start a DNS server that knows the zone penstock.test and nothing else."""
    directory = lab.directory / f"dns-{backend}-{port}"
    directory.mkdir(parents=True)
    process = lab.backends[backend].start(
        f"dns {backend}",
        [
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--log-facility=-",
            "--user=root",
            "--no-resolv",
            "--no-hosts",
            "--local=/penstock.test/",
            f"--port={port}",
            f"--txt-record={NAME},{backend}",
        ],
        log=directory / "log",
    )
    until_backend_accepts(lab, backend, port, process)
    return process
