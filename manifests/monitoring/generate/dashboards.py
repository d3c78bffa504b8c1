"""The five dashboards as files."""

from __future__ import annotations

from manifests.monitoring.generate import agent, fleet, operators, rollout, training
from manifests.monitoring.generate.frame import WHO, text


def files() -> dict[str, str]:
    """Content by file name. Those about one AgentDeployment show its changes only, the others all."""
    mine = f",{WHO}"
    return {
        "fleet.json": text(fleet.fleet()),
        "training.json": text(training.training()),
        "rollout.json": text(rollout.rollout(), mine),
        "agent.json": text(agent.agent(), mine),
        "operator.json": text(operators.operator()),
    }
