"""The four kinds as they are in the cluster, and how a person names one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from checkrein.api import conditions
from checkrein.api.crds import RESOURCES
from checkrein.api.deployment import AgentDeployment
from checkrein.api.environment import RLEnvironment
from checkrein.api.meta import Condition, Model
from checkrein.api.policy import PolicyVersion
from checkrein.api.training import TrainingJob
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import Kube
from checkrein.cli.places import UsageError

Raw = dict[str, Any]
M = TypeVar("M", bound=Model)
Resource = RLEnvironment | TrainingJob | PolicyVersion | AgentDeployment
MAIN = {"RLEnvironment": "Ready", "TrainingJob": "Complete", "PolicyVersion": "Verified", "AgentDeployment": "Ready"}
"""The condition of each kind that is True once it is as it should be."""
NAMES = {
    word: resource.kind for resource in RESOURCES for word in (resource.kind.lower(), resource.plural, resource.short)
} | {
    **dict.fromkeys(("environment", "environments", "env"), "RLEnvironment"),
    **dict.fromkeys(("job", "jobs", "training"), "TrainingJob"),
    **dict.fromkeys(("policy", "policies"), "PolicyVersion"),
    **dict.fromkeys(("agent",), "AgentDeployment"),
}


@dataclass(frozen=True)
class Objects:
    """All of them, by namespace and name."""

    environments: Sequence[RLEnvironment] = ()
    jobs: Sequence[TrainingJob] = ()
    versions: Sequence[PolicyVersion] = ()
    agents: Sequence[AgentDeployment] = ()

    def named(self, name: str) -> list[Resource]:
        """Those of this name, of any kind."""
        every: tuple[Resource, ...] = (*self.agents, *self.jobs, *self.versions, *self.environments)
        return [obj for obj in every if obj.metadata.name == name]


def read(kube: Kube, *, everywhere: bool = False) -> Objects:
    """Raises Refusal."""
    return Objects(
        environments=_models(kube, RLEnvironment, everywhere),
        jobs=_models(kube, TrainingJob, everywhere),
        versions=_models(kube, PolicyVersion, everywhere),
        agents=_models(kube, AgentDeployment, everywhere),
    )


def _models(kube: Kube, model: type[M], everywhere: bool) -> list[M]:
    return [model.model_validate(raw) for raw in kube.all(model.__name__, everywhere=everywhere)]


def kind(word: str) -> str:
    """The kind that a word means, for example `tj`. Raises UsageError."""
    try:
        return NAMES[word.lower()]
    except KeyError:
        raise UsageError(f"{word!r} is no kind of Checkrein's; say one of {', '.join(sorted(NAMES))}") from None


def find(kube: Kube, reference: str) -> Resource:
    """The object that `KIND/NAME` or a bare name means. Raises UsageError, Refusal."""
    word, slash, name = reference.partition("/")
    if not slash:
        found = read(kube).named(word)
        if len(found) > 1:
            kinds = " or ".join(f"{type(obj).__name__.lower()}/{word}" for obj in found)
            raise UsageError(f"{word} may be {kinds}: say which")
        if not found:
            raise Refusal(f"nothing of Checkrein's is called {word} in namespace {kube.namespace}")
        return found[0]
    wanted = kind(word)
    raw = kube.get(wanted, name)
    if raw is None:
        raise Refusal(f"there is no {wanted} {name} in namespace {kube.namespace}")
    model = next(resource.model for resource in RESOURCES if resource.kind == wanted)
    return model.model_validate(raw)  # type: ignore[return-value]


def main_condition(obj: Resource) -> Condition | None:
    """What tells whether it is as it should be."""
    return conditions.get(obj.status.conditions, MAIN[type(obj).__name__])
