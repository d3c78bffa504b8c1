"""The agent's fixtures: the client is tried against a real replica."""

from tests.agent.conftest import deploy, library, start, with_crd

__all__ = ["deploy", "library", "start", "with_crd"]
