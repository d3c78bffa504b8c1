"""Events of a candidate's walk that no condition tells: steps and weights change while its reason stays the same."""

from __future__ import annotations

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment, AgentDeploymentStatus
from checkrein.control.conditions import Transition
from checkrein.control.rollout.scene import PROGRESSING


def news(agent: AgentDeployment, after: AgentDeploymentStatus) -> tuple[Transition, ...]:
    """What has changed of step and weight since the status that was written last."""
    before, step = agent.status, after.step
    if step is None or after.candidate is None or step.kind != "Canary":
        return ()
    was = before.step if before.candidate == after.candidate else None
    if was is not None and (was.kind, was.index, was.weight) == ("Canary", step.index, step.weight):
        return ()
    share = f"{step.weight} % of new units"
    if _is_told(before, after, share):
        return ()
    steps = len(agent.spec.strategy.canary.steps) if agent.spec.strategy and agent.spec.strategy.canary else step.index
    since = f", before {was.weight} %" if was is not None and was.kind == "Canary" else ""
    message = f"{after.candidate.name}: step {step.index} of {steps}, {share}{since}"
    return (Transition("Normal", "CanaryStep", message),)


def _is_told(before: AgentDeploymentStatus, after: AgentDeploymentStatus, share: str) -> bool:
    """Whether the transition of Progressing says the same."""
    old, new = (conditions.get(status.conditions, PROGRESSING) for status in (before, after))
    if new is None or share not in new.message:
        return False
    return old is None or (old.status, old.reason) != (new.status, new.reason)
