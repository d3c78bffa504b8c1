"""AgentDeployment: replicas that decide, by one policy at a time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from checkrein.api.meta import (
    OBSERVED_GENERATION,
    Conditions,
    Count,
    Message,
    Model,
    Name,
    ObjectMeta,
    PodTemplate,
    ShortText,
)
from checkrein.api.policy import Artifact
from checkrein.api.rules import rule, validations
from checkrein.api.spaces import Interface

Caller = Annotated[str, StringConstraints(max_length=320, pattern=r"^system:serviceaccount:[a-z0-9-]+:[a-z0-9.-]+$")]


class Auth(Model):
    """Who may ask for decisions."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "self.mode != 'None' || !has(self.callers) || size(self.callers) == 0",
                "callers must be empty where mode is None, since anybody may ask",
                "callers",
            )
        )
    )
    mode: Literal["ServiceAccount", "None"] = Field(
        default="ServiceAccount",
        description="ServiceAccount: a token with audience checkrein.dev. None: anybody who reaches the Service.",
    )
    callers: list[Caller] = Field(
        default_factory=list,
        max_length=64,
        description="Accounts that may ask, for example system:serviceaccount:games:player; "
        "empty: every account of this namespace.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class AgentDeploymentSpec(Model):
    """Which policy, how many replicas, for whom."""

    policy_version: Name = Field(
        description="PolicyVersion that should decide. Set it to an older one, and that is a rollback."
    )
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(default=1, description="How many pods decide side by side.")
    auth: Auth = Auth()
    template: PodTemplate = PodTemplate()


class PolicyPointer(Model):
    """A verified policy, with all that a replica needs to load and check it."""

    name: Name = Field(description="Name of the PolicyVersion.")
    artifact: Artifact
    interface: Interface


class Rejection(Model):
    """A version that failed its checks here."""

    name: Name = Field(description="Name of the PolicyVersion.")
    reason: ShortText = Field(description="Why, as one CamelCase word for programs.")
    message: Message = Field(default="", description="Why, as a sentence for people.")
    generation: Count = Field(default=0, description="spec generation at which it failed; a later one tries again.")


class AgentDeploymentStatus(Model):
    """Written by the operator, read by the replicas."""

    observed_generation: Count | None = Field(default=None, description=OBSERVED_GENERATION)
    phase: Literal["Pending", "Progressing", "Healthy", "Degraded"] = Field(
        default="Pending", description="For people; programs read the conditions."
    )
    epoch: Count = Field(default=0, description="Grows with every change of who acts.")
    stable: PolicyPointer | None = Field(default=None, description="Who decides.")
    candidate: PolicyPointer | None = Field(default=None, description="Who is being checked.")
    rejected: list[Rejection] = Field(
        default_factory=list, max_length=16, description="Versions that failed their checks here."
    )
    replicas: Count = Field(default=0, description="Pods that exist.")
    ready_replicas: Count = Field(default=0, description="Pods that answer.")
    selector: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        default=None, description="Selects the replicas' pods, for the scale subresource."
    )
    conditions: Conditions = Field(default_factory=list)


class AgentDeployment(Model):
    """Replicas that decide."""

    metadata: ObjectMeta
    spec: AgentDeploymentSpec
    status: AgentDeploymentStatus = AgentDeploymentStatus()
