"""What it costs to go through Penstock, measured next to its peers. Never shipped, never part of a test."""
