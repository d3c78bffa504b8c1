"""Plan for an AgentDeployment: keep the replicas, and let a version act only once it has earned its place.

A version that is asked for becomes the candidate: verified, with the interface that callers know. Every replica loads
it beside the stable one. It then walks (`phases.py`, `walk.py`): it decides beside stable for nobody, for a few, for
more; gates judge it whenever they look (`gates.py`, `scoring.py`); and one status write makes it stable, or takes it
away. Nothing else changes who acts, but a person: while spec.override holds, no version moves.
"""

from checkrein.control.rollout.planner import plan
from checkrein.control.rollout.scene import Observed, names_observed

__all__ = ["Observed", "names_observed", "plan"]
