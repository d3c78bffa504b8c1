"""AgentDeployment: replicas that decide, by one policy at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from checkrein.api.meta import (
    OBSERVED_GENERATION,
    Conditions,
    Count,
    DecimalString,
    Digest,
    Duration,
    Message,
    Model,
    Name,
    ObjectMeta,
    PodTemplate,
    Quantity,
    ShortText,
)
from checkrein.api.policy import Artifact
from checkrein.api.rollout import (
    GateStatus,
    HistoryEntry,
    ReviewPair,
    RolloutStatus,
    StepStatus,
    StreamStatus,
    Try,
    WatchStatus,
)
from checkrein.api.rules import fixed, rule, validations
from checkrein.api.shield import Shield
from checkrein.api.spaces import Interface
from checkrein.api.strategy import Strategy
from checkrein.api.words import RolloutWords

Caller = Annotated[str, StringConstraints(max_length=320, pattern=r"^system:serviceaccount:[a-z0-9-]+:[a-z0-9.-]+$")]


# One action, flat: CEL does not see a value without a type, and a bare number would be another type than a list.
Action = Annotated[
    list[float],
    Field(min_length=1, max_length=1024),
]


class Auth(Model):
    """Who may ask for decisions, and who may tell outcomes."""

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
    reporters: list[Caller] = Field(
        default_factory=list,
        max_length=64,
        description="Accounts that may tell outcomes that become known later (POST /v1/outcomes), in every mode; "
        "empty: nobody.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class Fallback(Model):
    """Who acts when nobody else may: the version first, then the action."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "has(self.policyVersion) || has(self.action)",
                "name a policyVersion, an action or both",
                "policyVersion",
            )
        )
    )
    policy_version: Name | None = Field(
        default=None, description="A PolicyVersion with the interface of the one that decides, for example cartpole-1."
    )
    action: Action | None = Field(
        default=None, description="One action, its elements in C order, for example [0] for a Discrete space."
    )


class ClientLimit(Model):
    """What one client may ask for: an account, or where nobody is asked for a token, an address."""

    decisions_per_second: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        description="Decisions that a client may get in a second, over all replicas, for example 2000."
    )
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="Decisions that a client may get at once, for example 100. Default: those of one second.",
    )


class Limits(Model):
    """How much may be decided. The replicas share what is granted."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!has(self.burst) || has(self.decisionsPerSecond)",
                "burst goes with decisionsPerSecond only",
                "burst",
            )
        )
    )
    decisions_per_second: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="Decisions in a second, over all replicas and clients, for example 4000. Default: no limit.",
    )
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Decisions at once, for example 100. Default: those of one second."
    )
    per_client: ClientLimit | None = None
    exceeded: Literal["Reject", "Fallback"] = Field(
        default="Reject", description="Reject: 429 with Retry-After. Fallback: spec.fallback.action."
    )


class EpsilonGreedy(Model):
    """With probability epsilon an action drawn evenly from all (Sutton and Barto, 2018, section 2.2)."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "double(self.epsilon) > 0.0 && double(self.epsilon) <= 1.0",
                "epsilon must be above 0 and at most 1",
                "epsilon",
            )
        )
    )
    epsilon: DecimalString = Field(description='Share of decisions that explore, for example "0.1".')


class Boltzmann(Model):
    """Actions by softmax of their scores (Sutton and Barto, 2018, section 2.8)."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("double(self.temperature) > 0.0", "temperature must be above 0", "temperature")
        )
    )
    temperature: DecimalString = Field(description='What scores are divided by; small is greedy, for example "0.5".')


class Gaussian(Model):
    """Normal noise on each element of a Box action."""

    model_config = ConfigDict(
        json_schema_extra=validations(rule("double(self.sigma) > 0.0", "sigma must be above 0", "sigma"))
    )
    sigma: DecimalString = Field(description="Standard deviation, as a share of each element's range, for example 0.1.")


class Exploration(Model):
    """Deliberate deviation from the policy, each one in the decision log before it acts. Exactly one member is set."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "[has(self.epsilonGreedy), has(self.boltzmann), has(self.gaussian)].filter(x, x).size() == 1",
                "set exactly one of epsilonGreedy, boltzmann, gaussian",
                "epsilonGreedy",
            )
        )
    )
    epsilon_greedy: EpsilonGreedy | None = None
    boltzmann: Boltzmann | None = None
    gaussian: Gaussian | None = None


class LogVolume(Model):
    """A persistent volume for each replica's log, which outlives the pod."""

    size: Quantity = Field(description="Its size, for example 1Gi.")
    storage_class_name: ShortText | None = Field(
        default=None, description="StorageClass of the claims, for example fast. Default: the cluster's own."
    )


class DecisionLog(Model):
    """What is kept of each decision. Every one is logged; that cannot be switched off."""

    model_config = ConfigDict(
        json_schema_extra=validations(fixed("volume", "create another AgentDeployment to change its replicas' volumes"))
    )
    observations: Literal["Digest", "Full"] = Field(
        default="Digest", description="Digest: the observation's SHA-256. Full: the observation itself as well."
    )
    volume: LogVolume | None = Field(
        default=None, description="Default: the pod's own disk, which survives a container but not the pod."
    )


class Override(Model):
    """The hand on the reins: a person decides who acts, within running episodes too."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "has(self.policyVersion) == (self.mode == 'Pin')", "policyVersion goes with mode Pin", "policyVersion"
            ),
            rule("has(self.action) == (self.mode == 'Action')", "action goes with mode Action", "action"),
            rule("has(self.until) || self.mode == 'Stop'", "until is required except for mode Stop", "until"),
            # Some clocks know fewer years than the API server, and a replica must be able to read the field.
            rule(
                "!has(self.until) || self.until > timestamp('2000-01-01T00:00:00Z')"
                " && self.until < timestamp('9000-01-01T00:00:00Z')",
                "until must lie after the year 1999 and before the year 9000",
                "until",
            ),
        )
    )
    mode: Literal["Fallback", "Pin", "Action", "Stop"] = Field(
        description="Fallback: spec.fallback acts. Pin: policyVersion acts. Action: this one action. "
        "Stop: no decision is given."
    )
    policy_version: Name | None = Field(
        default=None, description="Pin: the PolicyVersion that acts, for example cartpole-1."
    )
    action: Action | None = Field(
        default=None, description="Action: the action's elements in C order, for example [0]."
    )
    reason: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        description="Why, for those who look later, for example a sensor fault."
    )
    by: Annotated[str, StringConstraints(min_length=1, max_length=320)] = Field(
        description="Who: the name under which the API server knows the person, for example jane@robots.example."
    )
    until: AwareDatetime | None = Field(
        default=None, description="When it ends by itself, for example 2026-12-01T12:00:00Z. It stays here, inert."
    )


class AgentDeploymentSpec(Model):
    """Which policy, how many replicas, for whom, within which limits."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!has(self.override) || self.override.mode != 'Fallback' || has(self.fallback)",
                "override.mode Fallback needs spec.fallback",
                "override",
            ),
            rule(
                "!has(self.limits) || self.limits.exceeded != 'Fallback'"
                " || has(self.fallback) && has(self.fallback.action)",
                "limits.exceeded Fallback needs spec.fallback.action",
                "limits",
            ),
            rule(
                "!has(self.episodeDeadline) || duration(self.episodeDeadline) > duration('0s')"
                " && duration(self.episodeDeadline) <= duration('168h')",
                "episodeDeadline must be above zero and at most 168h",
                "episodeDeadline",
            ),
        )
    )

    policy_version: Name = Field(
        description="PolicyVersion that should decide, for example cartpole-1. Set it to an older "
        "one, and that is a rollback."
    )
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(default=1, description="How many pods decide side by side.")
    strategy: Strategy | None = Field(
        default=None, description="How a new version earns its place. Absent: it acts after its own checks."
    )
    approval: Literal["None", "Required"] = Field(
        default="None", description="Required: a person promotes at the end (spec.rollout.approve.full)."
    )
    rollout: RolloutWords = RolloutWords()
    fallback: Fallback | None = None
    override: Override | None = None
    limits: Limits = Limits()
    exploration: Exploration | None = None
    shield: Shield = Field(
        default_factory=list,
        max_length=32,
        description="Rules for every action, after those of the policy's environment.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    episode_deadline: Duration = Field(
        default=timedelta(hours=1),
        validate_default=True,
        description="An episode ends this long after its start, whatever its caller says, for example 5m.",
    )
    decision_log: DecisionLog = DecisionLog()
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
    digest: Digest | None = Field(default=None, description="Of its manifest, where it was known.")
    attempt: Count = Field(default=0, description="Rollouts of it that failed; 0: it failed its checks.")
    generation: Count = Field(
        default=0,
        description="spec generation at which it failed its checks; a later one tries again. After a failed rollout "
        "only spec.rollout.retry does.",
    )


class AgentDeploymentStatus(Model):
    """Written by the operator, read by the replicas."""

    observed_generation: Count | None = Field(default=None, description=OBSERVED_GENERATION)
    phase: Literal["Pending", "Progressing", "Paused", "Healthy", "Degraded", "Overridden"] = Field(
        default="Pending", description="For people; programs read the conditions."
    )
    epoch: Count = Field(default=0, description="Grows with every change of who acts.")
    stable: PolicyPointer | None = Field(default=None, description="Who decides.")
    candidate: PolicyPointer | None = Field(default=None, description="Who is being checked.")
    step: StepStatus | None = Field(default=None, description="Where the rollout of the candidate is.")
    gates: list[GateStatus] = Field(
        default_factory=list,
        max_length=32,
        description="How the gates stand, or stood at the end of the last rollout.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    rollout: RolloutStatus | None = Field(default=None, description="The try of the candidate, for the operator.")
    streams: list[StreamStatus] = Field(
        default_factory=list,
        max_length=256,
        description="How far each replica's evidence has been scored.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    review: list[ReviewPair] = Field(default_factory=list, max_length=64, description="Pairs that people may compare.")
    watch: WatchStatus | None = Field(default=None, description="How stable does since its promotion.")
    history: list[HistoryEntry] = Field(
        default_factory=list, max_length=32, description="Who acted when and why, the newest last."
    )
    words_heeded: list[ShortText] = Field(
        default_factory=list, max_length=32, description="What spec.rollout said once and has been done (retry nonces)."
    )
    tries: list[Try] = Field(
        default_factory=list, max_length=32, description="How often rollouts of which version began, the newest last."
    )
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
