"""Checkrein: a Kubernetes operator that runs reinforcement-learning agents and keeps a hand on the reins."""

__version__ = "0.1.0"
