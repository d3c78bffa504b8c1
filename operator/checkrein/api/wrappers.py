"""What stands between an environment and a policy, and on which side of the border each wrapper is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field

from checkrein.api.digests import canonical_json, sha256
from checkrein.api.meta import DecimalString, FreeForm, Model
from checkrein.api.rules import rule, validations

# Of gymnasium's wrappers those that do the same in every episode and at every place: no running statistics, no noise,
# nothing that depends on the step limit, which whoever plays may set otherwise.
ClientWrapperName = Literal[
    "DiscretizeAction",
    "DiscretizeObservation",
    "DtypeObservation",
    "FilterObservation",
    "FlattenObservation",
    "GrayscaleObservation",
    "MaxAndSkipObservation",
    "RescaleAction",
    "RescaleObservation",
    "ReshapeObservation",
]
CLIENT_WRAPPERS: tuple[str, ...] = get_args(ClientWrapperName)


class Flatten(Model):
    """Observations become one list of numbers: members of a Dict in their keys' order, whole numbers one-hot."""


class Stack(Model):
    """The policy sees the latest observations side by side; before an episode's first they are zeros."""

    frames: Annotated[int, Field(ge=2, le=16)] = Field(description="How many, with the newest, for example 4.")


class GymnasiumWrapper(Model):
    """A wrapper of gymnasium.wrappers, by its name and arguments."""

    name: ClientWrapperName = Field(description="Its class, for example RescaleAction.")
    arguments: FreeForm = Field(
        alias="kwargs",
        default_factory=dict,
        description="Its arguments, as gymnasium names them, for example min_action: -1.0.",
    )


class ActionMask(Model):
    """Observations become a Dict that has, beside what was observed, which actions are allowed now: `action_mask`,
    as the environment's method action_masks() tells them."""


class ClipReward(Model):
    """Rewards are moved into these bounds, one by one."""

    model_config = ConfigDict(
        json_schema_extra=validations(rule("double(self.min) < double(self.max)", "min must be below max", "min"))
    )
    min: DecimalString = Field(description='Least reward, for example "-1".')
    max: DecimalString = Field(description='Greatest reward, for example "1".')


class ScaleReward(Model):
    """Rewards are multiplied."""

    factor: DecimalString = Field(description='By what, for example "0.01".')


_KINDS = (
    "[has(self.flatten), has(self.stack), has(self.gymnasium), has(self.actionMask), has(self.clipReward), "
    "has(self.scaleReward)]"
)


class Wrapper(Model):
    """One wrapper; exactly one of flatten, stack (at Policy), gymnasium, actionMask (at Client), clipReward and
    scaleReward (at TrainingOnly) is set."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                f"{_KINDS}.filter(x, x).size() == 1",
                "set exactly one of flatten, stack, gymnasium, actionMask, clipReward, scaleReward",
                "at",
            ),
            rule(
                "(has(self.flatten) || has(self.stack)) == (self.at == 'Policy')",
                "flatten and stack go with at: Policy, and nothing else does",
                "at",
            ),
            rule(
                "(has(self.gymnasium) || has(self.actionMask)) == (self.at == 'Client')",
                "gymnasium and actionMask go with at: Client, and nothing else does",
                "at",
            ),
        )
    )
    at: Literal["Policy", "Client", "TrainingOnly"] = Field(
        description="Policy: inside the artifact. Client: in whoever plays the environment; agents name it by digest. "
        "TrainingOnly: in training alone."
    )
    flatten: Flatten | None = None
    stack: Stack | None = None
    gymnasium: GymnasiumWrapper | None = None
    action_mask: ActionMask | None = None
    clip_reward: ClipReward | None = None
    scale_reward: ScaleReward | None = None


def _first(condition: str) -> str:
    """CEL: index of the first wrapper of which the condition holds; -1 of none. Booleans, or it would cost too much."""
    return f"self.wrappers.map(w, {condition}).indexOf(true)"


def _last(condition: str) -> str:
    return f"self.wrappers.map(w, {condition}).lastIndexOf(true)"


_POLICY, _CLIENT = "has(w.flatten) || has(w.stack)", "has(w.gymnasium) || has(w.actionMask)"
_FLATTEN, _STACK = "has(w.flatten)", "has(w.stack)"
WRAPPER_RULES = (
    rule(
        f"!has(self.wrappers) || {_first(_POLICY)} == -1 || {_last(_CLIENT)} < {_first(_POLICY)}",
        "wrappers at Policy come after those at Client: the artifact sees what the client sends",
        "wrappers",
    ),
    rule(
        f"!has(self.wrappers) || {_first(_FLATTEN)} == {_last(_FLATTEN)} && {_first(_STACK)} == {_last(_STACK)}"
        f" && ({_first(_STACK)} == -1 || {_last(_FLATTEN)} < {_first(_STACK)})",
        "flatten and stack may each stand once, flatten before stack",
        "wrappers",
    ),
)


def client_digest(wrappers: Sequence[Wrapper]) -> str | None:
    """Digest of those at Client, in order, by which a driver and an agent know that they mean the same."""
    named = [
        {"actionMask": {}} if wrapper.gymnasium is None else wrapper.gymnasium.dump()
        for wrapper in wrappers
        if wrapper.at == "Client"
    ]
    return sha256(canonical_json(named)) if named else None
