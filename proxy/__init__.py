"""Pure: the plan in, Envoy resources out. Imports only `routes`.

Empty until HTTP routes and TLS termination are served: a listener that would need Envoy is refused with
UnsupportedProtocol (routes/conflicts.py), never accepted and left without a server.
"""
