"""The agent's kernel side: what the node's kernel holds for us, and how it gets there."""
