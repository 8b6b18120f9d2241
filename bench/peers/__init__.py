"""The peers: ways from the client to the backend, one file each."""
