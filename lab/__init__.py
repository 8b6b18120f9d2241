"""The laboratory: namespaces, real servers and clients for the demo, the tests and the bench. Never shipped."""
