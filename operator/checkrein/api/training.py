"""TrainingJob: one policy to train, evaluate, judge and publish."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from checkrein.api.algorithms import ALGORITHMS, AlgorithmName
from checkrein.api.environment import EnvironmentIdentity
from checkrein.api.meta import (
    OBSERVED_GENERATION,
    Conditions,
    Count,
    DecimalString,
    Digest,
    Duration,
    FileReference,
    FreeForm,
    LocalReference,
    Model,
    Name,
    ObjectMeta,
    PodTemplate,
    ShortText,
)
from checkrein.api.rules import fixed, rule, validations
from checkrein.api.tracking import Tracking


class Network(Model):
    """Shape of the policy network."""

    hidden: list[Annotated[int, Field(ge=1, le=65536)]] = Field(
        default=[64, 64], max_length=16, description="Width of each hidden layer."
    )
    activation: Literal["tanh", "relu", "elu", "leaky_relu", "silu"] = Field(
        default="tanh", description="What follows each hidden layer."
    )


class Normalize(Model):
    """Running normalisation. The observation's statistics travel inside the artifact."""

    observation: bool = Field(default=False, description="Scale observations to mean 0 and variance 1.")
    reward: bool = Field(default=False, description="Scale rewards in training. Evaluation never does.")


Acting = Literal["Deterministic", "Stochastic"]


class AlgorithmSpec(Model):
    """Which algorithm, with which settings."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            *(
                rule(
                    f"self.acting == 'Deterministic' || self.name != '{a.name}'",
                    f"{a.undrawable}; leave acting Deterministic",
                    "acting",
                )
                for a in ALGORITHMS.values()
                if a.undrawable
            )
        )
    )
    name: AlgorithmName = Field(description="The algorithm. It must be able to act in the environment's spaces.")
    hyperparameters: FreeForm = Field(
        default_factory=dict,
        description="By the names of Stable-Baselines3 (noise on actions: noise_type, noise_std); an unknown one is "
        "refused before a step is spent.",
    )
    network: Network = Network()
    normalize: Normalize = Normalize()
    acting: Acting = Field(
        default="Deterministic",
        description="How the policy is evaluated and serves: by its best action, or by drawing from its distribution.",
    )


class Budget(Model):
    """When training ends: at whichever comes first."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!has(self.duration) || duration(self.duration) > duration('0s')",
                "duration must be above zero, for example 30m",
                "duration",
            )
        )
    )
    steps: Annotated[int, Field(ge=1, le=10**12)] = Field(
        description="Environment steps, summed over all copies, for example 60000."
    )
    duration: Duration | None = Field(default=None, description="Training time of one attempt, for example 30m.")


class Checkpoint(Model):
    """How much work a killed pod may lose."""

    every_steps: Annotated[int, Field(ge=1, le=10**12)] = Field(
        default=20_000, description="Environment steps between checkpoints."
    )
    keep: Annotated[int, Field(ge=1, le=100)] = Field(default=2, description="How many checkpoints are kept.")


class Evaluation(Model):
    """How the exported artifact is judged, in a pod of its own."""

    episodes: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=100, description="Episodes played, on seeds that training never saw."
    )


class Gate(Model):
    """What the evaluation must show before a policy is published."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "double(self.confidence) > 0.5 && double(self.confidence) < 1.0",
                "confidence must be above 0.5 and below 1",
                "confidence",
            )
        )
    )
    metric: Literal["return"] = Field(default="return", description="What is measured in each episode.")
    statistic: Literal["mean"] = Field(default="mean", description="What is said of it over all episodes.")
    at_least: DecimalString = Field(
        description="The lower confidence bound of the statistic must reach this, for example 475."
    )
    confidence: DecimalString = Field(
        default=Decimal("0.95"),
        validate_default=True,
        description="Probability with which the bound holds, over all evaluations of this policy.",
    )


class Publish(Model):
    """Under which name the policy becomes a PolicyVersion: NAME-1, NAME-2, ..."""

    policy: Annotated[
        str, StringConstraints(min_length=1, max_length=30, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    ] = Field(description="NAME, for example cartpole. The number is the next one that this name never had.")


MUTABLE: Final = ("suspend", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")


def _fix_the_rest(schema: dict[str, Any]) -> None:
    instead = "create another TrainingJob"
    schema |= validations(*(fixed(name, instead) for name in schema["properties"] if name not in MUTABLE))


class TrainingJobSpec(Model):
    """Immutable after creation, but for suspend, backoffLimit, activeDeadlineSeconds, ttlSecondsAfterFinished."""

    model_config = ConfigDict(json_schema_extra=_fix_the_rest)

    environment_ref: LocalReference = Field(
        description="The RLEnvironment to learn in; training waits until it is Ready."
    )
    algorithm: AlgorithmSpec
    budget: Budget
    environments: Annotated[int, Field(ge=1, le=1024)] = Field(default=1, description="Copies stepped side by side.")
    seed: Count = Field(default=0, description="Seed of training. Evaluation derives seeds of its own.")
    checkpoint: Checkpoint = Checkpoint()
    evaluation: Evaluation = Evaluation()
    gates: list[Gate] = Field(
        default_factory=list,
        max_length=8,
        description="What must be shown before the policy is published; none: it is published whatever it shows.",
    )
    publish: Publish
    tracking: Tracking | None = None
    template: PodTemplate = PodTemplate()
    suspend: bool = Field(
        default=False,
        description="True: nothing runs. A running pod ends at a checkpoint, and training goes on from there later, to "
        "the same end; no attempt is counted.",
    )
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3, description="Failed attempts after which the job fails."
    )
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None,
        description="Seconds from the first attempt's start after which the job fails, for example "
        "3600; anew after each suspension.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = Field(
        default=None,
        description="Seconds after which a finished job's pods are removed, for example 600. The TrainingJob stays.",
    )


class Progress(Model):
    """How far training is."""

    steps: Annotated[int, Field(ge=0, le=10**12)] = Field(default=0, description="Environment steps done.")
    total: Annotated[int, Field(ge=0, le=10**12)] = Field(default=0, description="Environment steps to do.")
    percent: Annotated[int, Field(ge=0, le=100)] = Field(default=0, description="Share done.")
    eta: ShortText | None = Field(default=None, description="Time left, for example 1m30s.")
    episode_return: DecimalString | None = Field(
        default=None, description="Mean return of the latest 100 training episodes."
    )
    steps_per_second: Count = Field(default=0, description="Speed of all copies together.")


class CheckpointStatus(Model):
    """The newest complete checkpoint."""

    step: Annotated[int, Field(ge=0, le=10**12)] = Field(description="Environment steps done when it was taken.")
    digest: Digest = Field(description="Of its bytes.")


class EvaluationStatus(Model):
    """What the evaluation showed."""

    episodes: Count = Field(description="Episodes played.")
    mean: DecimalString = Field(description="Mean return, as it was paid.")
    shielded: Count | None = Field(
        default=None,
        description="Decisions in which a rule of the environment's shield had a say, if any.",
    )
    ended_by_shield: Count | None = Field(
        default=None,
        description="Episodes that a rule ended, if any. Gates count them with the least return of reward.bounds.",
    )
    lower_bound: DecimalString | None = Field(
        default=None, description="Lower confidence bound of the mean at the strictest gate's confidence."
    )
    evaluated_before: Count = Field(
        default=0,
        description="Earlier evaluations for this policy and environment: each one makes the next stricter.",
    )
    confidence: DecimalString | None = Field(default=None, description="After what earlier evaluations spent.")


class TrainingJobStatus(Model):
    """Written by the operator."""

    observed_generation: Count | None = Field(default=None, description=OBSERVED_GENERATION)
    phase: Literal["Pending", "Running", "Suspended", "Evaluating", "Publishing", "Succeeded", "Failed"] = Field(
        default="Pending", description="For people; programs read the conditions."
    )
    attempt: Count = Field(default=0, description="Number of the latest attempt; the first is 1.")
    disruptions: Count = Field(
        default=0,
        description="Attempts that the cluster ended (eviction, drain, preemption, a lost node). They do not count "
        "towards spec.backoffLimit.",
    )
    start_time: ShortText | None = Field(
        default=None, description="When the first attempt began; after a suspension, when the job went on."
    )
    completion_time: ShortText | None = Field(default=None, description="When the job succeeded or failed.")
    progress: Progress | None = None
    checkpoint: CheckpointStatus | None = None
    environment: EnvironmentIdentity | None = Field(default=None, description="What the first attempt started with.")
    artifact: FileReference | None = Field(default=None, description="Manifest of the exported artifact, unpublished.")
    evaluation: EvaluationStatus | None = None
    recording: FileReference | None = Field(
        default=None, description="Some of the evaluation's episodes, step by step; unpublished."
    )
    policy_version: Name | None = Field(default=None, description="The PolicyVersion that came of it.")
    conditions: Conditions = Field(default_factory=list)


class TrainingJob(Model):
    """One policy to train, evaluate, judge and publish."""

    metadata: ObjectMeta
    spec: TrainingJobSpec
    status: TrainingJobStatus = TrainingJobStatus()
