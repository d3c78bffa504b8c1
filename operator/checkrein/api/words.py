"""What a person says to a rollout: go on, stop, try again, this one is better."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from checkrein.api.meta import Model, Name
from checkrein.api.rules import rule, validations

# Said as a whole: who says it anew by server-side apply leaves nothing of what somebody else said before.
_WHOLE: JsonDict = {"x-kubernetes-map-type": "atomic"}


class Approve(Model):
    """Go on, though the pause has not ended or the gates have not."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("has(self.step) != has(self.full)", "set either step or full", "step"),
        )
        | _WHOLE
    )
    policy_version: Name = Field(
        description="The candidate that is meant, for example cartpole-2; of another one it says nothing."
    )
    step: Annotated[int, Field(ge=0, le=16)] | None = Field(
        default=None, description="Number of the canary step (from 1) whose pause ends, for example 2; 0: the shadow."
    )
    full: Literal[True] | None = Field(
        default=None,
        description="Promote now, without waiting for steps and gates; also the approval that spec.approval asks for.",
    )
    by: Annotated[str, StringConstraints(min_length=1, max_length=320)] = Field(
        description="Who: the name under which the API server knows the person, for example jane@robots.example."
    )


class Abort(Model):
    """Back to stable; the candidate is rejected."""

    model_config = ConfigDict(json_schema_extra=_WHOLE)
    policy_version: Name = Field(
        description="The candidate that is meant, for example cartpole-2; of another one it says nothing."
    )
    by: Annotated[str, StringConstraints(max_length=320)] = Field(default="", description="Who.")
    reason: Annotated[str, StringConstraints(max_length=256)] = Field(default="", description="Why.")


class Retry(Model):
    """Try a rejected version once more. Its gates are stricter for it."""

    model_config = ConfigDict(json_schema_extra=_WHOLE)
    policy_version: Name = Field(description="The version that is meant, for example cartpole-2.")
    nonce: Annotated[str, StringConstraints(min_length=1, max_length=63)] = Field(
        description="Another value for each retry, for example 2."
    )


class Review(Model):
    """What a person says of a pair of sampled episodes (metric humanApproval), without knowing which is whose."""

    sample: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="Id of the pair, from status.review."
    )
    answer: Literal["Left", "Right", "Equal"] = Field(description="Which one is better.")
    by: Annotated[str, StringConstraints(min_length=1, max_length=320)] = Field(description="Who.")


class RolloutWords(Model):
    """What a person says to the rollout. Each names its candidate; of another one it says nothing."""

    paused: bool = Field(default=False, description="No step, no promotion and no new candidate while true.")
    approve: Approve | None = None
    abort: Abort | None = None
    retry: Retry | None = None
    reviews: list[Review] = Field(
        default_factory=list,
        max_length=256,
        description="Answers to the pairs in status.review.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["sample"]},
    )
