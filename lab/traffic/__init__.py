"""Clients and a server of our own, for what others do not tell: who served, what was lost, what was reset."""
