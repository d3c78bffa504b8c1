"""RLEnvironment: where experience comes from, what its spaces and reward are, whether it can be trusted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from checkrein.api.meta import (
    OBSERVED_GENERATION,
    Conditions,
    Count,
    DecimalString,
    Digest,
    FreeForm,
    Image,
    Message,
    Model,
    Name,
    ObjectMeta,
    ShortText,
)
from checkrein.api.rules import rule, validations
from checkrein.api.shield import Shield
from checkrein.api.spaces import Interface
from checkrein.api.wrappers import WRAPPER_RULES, Wrapper


class GymnasiumSource(Model):
    """An environment from gymnasium's registry."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=128)] = Field(
        description="Registered id, for example CartPole-v1."
    )
    arguments: FreeForm = Field(
        alias="kwargs",
        default_factory=dict,
        description="Arguments of gymnasium.make, as the environment names them, for example continuous: true.",
    )
    module: Annotated[str, StringConstraints(max_length=128, pattern=r"^([A-Za-z_][A-Za-z0-9_.]*)?$")] = Field(
        default="",
        description="Python module that is imported first, so that it registers its ids, for example my_envs.",
    )


class EnvironmentSource(Model):
    """Where the environment comes from. Exactly one member is set."""

    gymnasium: GymnasiumSource = Field(description="An environment from gymnasium's registry.")


class RewardBounds(Model):
    """Least and greatest possible return of one episode (sum of unwrapped rewards)."""

    model_config = ConfigDict(
        json_schema_extra=validations(rule("double(self.min) < double(self.max)", "min must be below max", "min"))
    )
    min: DecimalString = Field(description='Least possible return of an episode, for example "0".')
    max: DecimalString = Field(description='Greatest possible return of an episode, for example "500".')


class Reward(Model):
    """What is maximised."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!has(self.success) || !has(self.bounds) || double(self.success) >= double(self.bounds.min)"
                " && double(self.success) <= double(self.bounds.max)",
                "success must lie within bounds",
                "success",
            )
        )
    )
    bounds: RewardBounds | None = Field(
        default=None, description="Bounds of an episode's return. Gates on the mean return need them."
    )
    success: DecimalString | None = Field(
        default=None, description='The return that counts as solved, for example "475".'
    )


class Safety(Model):
    """Limits on what happens in an episode."""

    max_episode_steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        default=None,
        description="Episodes are truncated after this many steps, for example 500. Default: the registered limit.",
    )
    features: list[Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]] = Field(
        default_factory=list,
        max_length=1024,
        description="Names of the observation's elements in C order, for the shield's expressions, "
        "for example [x, speed].",
    )
    shield: Shield = Field(
        default_factory=list,
        max_length=32,
        description="Rules that no decision of a policy for this environment may break.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )


class RLEnvironmentSpec(Model):
    """Immutable once `status.digest` is set: another version is another object."""

    model_config = ConfigDict(json_schema_extra=validations(*WRAPPER_RULES))

    version: Annotated[str, StringConstraints(min_length=1, max_length=63)] = Field(
        default="1", description="The person's label. The machine's is status.digest."
    )
    source: EnvironmentSource
    image: Image = Field(
        default="",
        description="Image in which the source can be imported, for example registry.example/envs:1. "
        "Default: the operator's trainer image.",
    )
    wrappers: list[Wrapper] = Field(
        default_factory=list,
        max_length=16,
        description="What stands between environment and policy, in order from the environment.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    reward: Reward = Reward()
    safety: Safety = Safety()


class Check(Model):
    """One finding of the probe."""

    name: ShortText = Field(description="What was checked.")
    passed: bool = Field(description="Whether it was found in order.")
    message: Message = Field(default="", description="What was found.")


class Findings(Model):
    """What the probe measured. Never part of the digest."""

    deterministic: bool | None = Field(
        default=None, description="Whether the same seed and actions give the same episode twice."
    )
    steps_per_second: Count | None = Field(default=None, description="Speed of one copy.")
    checks: list[Check] = Field(default_factory=list, max_length=32, description="Every check, in the order made.")


class EnvironmentIdentity(Model):
    """One environment, exactly: the name may be taken by another one day, the digest cannot."""

    name: Name = Field(description="Name of the RLEnvironment.")
    digest: Digest = Field(description="Its status.digest.")


class RLEnvironmentStatus(Model):
    """Written by the operator."""

    observed_generation: Count | None = Field(default=None, description=OBSERVED_GENERATION)
    phase: Literal["Pending", "Probing", "Ready", "Failed"] = Field(
        default="Pending", description="For people; programs read the conditions."
    )
    digest: Digest | None = Field(
        default=None,
        description="SHA-256 over spec, image, package versions and spaces: the environment's identity.",
    )
    image: Image | None = Field(
        default=None, description="What was probed, by digest; training and evaluation run this one."
    )
    spaces: Interface | None = Field(default=None, description="The environment's spaces, as probed.")
    findings: Findings | None = None
    conditions: Conditions = Field(default_factory=list)


class RLEnvironment(Model):
    """Where experience comes from."""

    # At the root, because a rule on status is not asked where status is set to null.
    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "!has(oldSelf.status) || !has(oldSelf.status.digest) || self.spec == oldSelf.spec",
                "spec cannot change once status.digest is set; create another RLEnvironment",
                "spec",
            ),
            rule(
                "!has(oldSelf.status) || !has(oldSelf.status.digest)"
                " || has(self.status) && has(self.status.digest) && self.status.digest == oldSelf.status.digest",
                "status.digest cannot change once it is set; create another RLEnvironment",
                "status",
            ),
        )
    )
    metadata: ObjectMeta
    spec: RLEnvironmentSpec
    status: RLEnvironmentStatus = RLEnvironmentStatus()
