"""How long the agent takes from news to the kernel, by the number of routes."""
