"""Servers that backends run: nginx, Redis and dnsmasq as people run them, and one of our own that tells what it sees.

Each is a function `(lab, backend) -> Process` that returns when the server answers in its own namespace, over both
address families; each answers with the backend's name, so a client knows who served it.
"""
