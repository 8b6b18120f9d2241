"""The demonstration: examples/quickstart, as a user would copy it, served to real clients by real servers."""
