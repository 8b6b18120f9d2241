"""Tests of agent.dataplane, against a real kernel."""
