"""Nodes that are machines of their own, with a kernel each, in a network of namespaces: `make vm-test-nodes`."""
