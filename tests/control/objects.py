"""What people apply in the tests on the control plane."""

from __future__ import annotations

from typing import Any

Raw = dict[str, Any]

ENVIRONMENT: Raw = {
    "metadata": {"name": "cartpole"},
    "spec": {"source": {"gymnasium": {"id": "CartPole-v1"}}, "reward": {"bounds": {"min": "0", "max": "500"}}},
}
AGENT: Raw = {"metadata": {"name": "cartpole"}, "spec": {"policyVersion": "cartpole-1", "replicas": 2}}


def job(name: str = "a", **spec: Any) -> Raw:
    """A TrainingJob with a gate."""
    usual = {
        "environmentRef": {"name": "cartpole"},
        "algorithm": {"name": "PPO"},
        "budget": {"steps": 5000},
        "evaluation": {"episodes": 300},
        "gates": [{"atLeast": "475"}],
        "publish": {"policy": "cartpole"},
    }
    return {"metadata": {"name": name}, "spec": {**usual, **spec}}
