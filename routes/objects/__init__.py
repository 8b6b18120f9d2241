"""The Kubernetes objects that routing is made of, trimmed to the fields it reads.

Decides which fields of which kinds matter. Rules: frozen; every field that the API defaults has that default here, so
that a manifest from a folder and an object from the API server look the same; what one field alone may hold is written
in its type (rules between fields are in `rules`); a field that the API has and we do not read is named in `UNREAD`, so
that a misspelt one can be told from it (`unknown`); what many objects say alike is there once (`__post_init__`). Must
never keep managedFields, annotations or status: memory is a goal.

Sources: gateway-api v1.7.0 apis/v1/*_types.go (TCPRoute and UDPRoute are v1 since v1.6.0), Kubernetes core/v1 and
discovery/v1.
"""
