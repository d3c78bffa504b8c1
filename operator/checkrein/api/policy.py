"""PolicyVersion: one immutable policy, by digest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from checkrein.api.environment import EnvironmentIdentity
from checkrein.api.meta import (
    OBSERVED_GENERATION,
    Conditions,
    Count,
    Digest,
    Image,
    Model,
    Name,
    ObjectMeta,
    ShortText,
    Uid,
)
from checkrein.api.rules import rule, validations
from checkrein.api.spaces import Interface
from checkrein.api.training import EvaluationStatus

Bucket = Annotated[str, StringConstraints(min_length=3, max_length=63)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class Artifact(Model):
    """Where the manifest lies. A reader pins version id and digest: "latest" can be made to lie."""

    bucket: Bucket = Field(description="Bucket of the store, for example checkrein-policies.")
    key: Key = Field(description="The manifest's key in the bucket.")
    version_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] = Field(
        description="The store's id of the one version of the key that is meant."
    )
    digest: Digest = Field(description="Of the manifest, which lists every file with a digest of its own.")
    size: Annotated[int, Field(ge=0, le=2**53)] = Field(description="Bytes of all files together.")
    format: Literal["ONNX"] = Field(default="ONNX", description="Format of the network.")


class KeptRecording(Model):
    """Where the evaluation's recording lies, in the artifact's bucket: what `checkrein report` shows."""

    key: Key = Field(description="Its key in the bucket.")
    version_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] = Field(
        description="The store's id of the one version of the key that is meant."
    )
    digest: Digest = Field(description="Of its bytes.")
    size: Annotated[int, Field(ge=0, le=2**53)] = Field(description="Its bytes, counted.")


class Provenance(Model):
    """Where the policy comes from."""

    training_job: Name = Field(description="Name of the TrainingJob.")
    uid: Uid = Field(description="Its metadata.uid.")
    attempt: Count = Field(description="The attempt that trained the policy.")
    seed: Count = Field(description="Its spec.seed.")
    image: Image = Field(description="The image that trained, by digest.")
    algorithm: ShortText = Field(default="", description="Its spec.algorithm.name.")


class PolicyVersionSpec(Model):
    """Immutable. Written by the operator; whoever may `create policyversions/import` may import one."""

    model_config = ConfigDict(
        json_schema_extra=validations(rule("self == oldSelf", "spec cannot change; publish another version"))
    )
    policy: Name = Field(description="The policy that this is a version of, for example cartpole.")
    version: Annotated[int, Field(ge=1, le=2_147_483_647)] = Field(description="The version's number, for example 1.")
    artifact: Artifact
    interface: Interface
    environment: EnvironmentIdentity
    provenance: Provenance
    evaluation: EvaluationStatus = Field(description="What the evaluation before publication showed.")
    recording: KeptRecording | None = Field(
        default=None, description="Some of that evaluation's episodes, step by step. No part of the artifact's digest."
    )


class PolicyVersionStatus(Model):
    """Written by the operator."""

    observed_generation: Count | None = Field(default=None, description=OBSERVED_GENERATION)
    phase: Literal["Pending", "Verified", "Rejected"] = Field(
        default="Pending", description="For people; programs read the conditions."
    )
    used_by: list[ShortText] = Field(
        default_factory=list,
        max_length=64,
        description="Who wants it or acts by it, for example agentdeployment/cartpole.",
    )
    conditions: Conditions = Field(default_factory=list)


class PolicyVersion(Model):
    """One immutable policy."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                # Spelt so, because the text of a number has no bound that the API server knows of when it is added to.
                "self.metadata.name.startsWith(self.spec.policy + '-')"
                " && self.metadata.name.substring(size(self.spec.policy) + 1) == string(self.spec.version)",
                "metadata.name must be spec.policy, a dash and spec.version, for example cartpole-1",
                "metadata.name",
            )
        )
    )
    metadata: ObjectMeta
    spec: PolicyVersionSpec
    status: PolicyVersionStatus = PolicyVersionStatus()
