"""nginx in a backend: answers every request with the backend's name and the client's address."""

from __future__ import annotations

from pathlib import Path
from string import Template

from lab.process import Process
from lab.servers.ready import until_backend_accepts
from lab.topology import Lab

PORT = 80

# One process, no daemon: what we stop is all there is.
_CONFIGURATION = Template("""\
daemon off;
master_process off;
pid $directory/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path $directory/body;
    proxy_temp_path $directory/proxy;
    fastcgi_temp_path $directory/fastcgi;
    uwsgi_temp_path $directory/uwsgi;
    scgi_temp_path $directory/scgi;
    types { }
    default_type text/plain;
    server {
        listen $port backlog=4096;
        listen [::]:$port backlog=4096;
        add_header X-Backend $name;
        location / { return 200 "$name $$remote_addr\\n"; }
        location /files/ {
            alias $directory/files/;
            client_max_body_size 0;
            dav_methods PUT;
        }
    }
}
""")


def files(lab: Lab, backend: str, port: int = PORT) -> Path:
    """The folder that is served, and can be written to, at /files/."""
    return lab.directory / f"nginx-{backend}-{port}" / "files"


def nginx(lab: Lab, backend: str, port: int = PORT) -> Process:
    """Start nginx. `GET /` gives `<backend> <client address>`."""
    directory = files(lab, backend, port).parent
    (directory / "files").mkdir(parents=True)
    configuration = directory / "nginx.conf"
    configuration.write_text(_CONFIGURATION.substitute(directory=directory, port=port, name=backend))
    process = lab.backends[backend].start(
        f"nginx {backend}",
        ["nginx", "-e", "stderr", "-p", directory, "-c", configuration],
        log=directory / "log",
    )
    until_backend_accepts(lab, backend, port, process)
    return process
