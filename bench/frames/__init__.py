"""What the node's part of a packet's way costs: frames that the kernel injects and counts, with no process between."""
