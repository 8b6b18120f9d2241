"""The agent's kernel side: what the node's kernel holds for us, and how it gets there.

`Dataplane` is the agent's handle (one per node), `View` anybody's to look, `down` removes every trace.
"""

from agent.dataplane.dataplane import Dataplane
from agent.dataplane.teardown import down
from agent.dataplane.view import View

__all__ = ["Dataplane", "View", "down"]
