"""Rules that a decision may never break. An environment has some, a deployment may add more.

The environment's travel inside the policy's manifest, so that whoever acts by the policy keeps them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from checkrein.api.meta import DecimalString, Model, Name
from checkrein.api.rules import rule, validations

Expression = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Elements = Annotated[list[DecimalString], Field(min_length=1, max_length=1024)]


class Clip(Model):
    """Box actions are moved into these bounds: one for all elements, or one for each in C order."""

    low: Elements = Field(description='Least values, for example ["-0.5"].')
    high: Elements = Field(description='Greatest values, for example ["0.5"].')


class ShieldRule(Model):
    """One rule; exactly one of forbid, clip, maxChange and require is set.

    Expressions are CEL over `observation` (a list, flat, or one number), `features` (named elements of it), `action` (a
    number or a flat list), `previous` (the action executed before it, else null) and `step` (0 for the first decision).
    """

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "[has(self.forbid), has(self.clip), has(self.maxChange), has(self.require)].filter(x, x).size() == 1",
                "set exactly one of forbid, clip, maxChange, require",
                "name",
            )
        )
    )
    name: Name = Field(description="What the log calls it, for example no-hard-braking.")
    when: Expression | None = Field(
        default=None,
        description="CEL over observation, features, previous, step, for example features.x > 2.0; "
        "the rule holds only where it is true.",
    )
    forbid: (
        Annotated[list[Annotated[int, Field(ge=-(2**53), le=2**53)]], Field(min_length=1, max_length=256)] | None
    ) = Field(default=None, description="Discrete actions that are not executed, for example [2, 3].")
    clip: Clip | None = None
    max_change: Elements | None = Field(
        default=None,
        description="Box: how far each element may move from the action before: one for all elements, or one for each.",
    )
    require: Expression | None = Field(
        default=None,
        description="CEL that must be true of an action, for example features.speed < 2.0 || action == 0.",
    )
    otherwise: Literal["Replace", "Terminate"] = Field(
        default="Replace",
        description="Replace: another action is executed. Terminate: the episode ends.",
    )


Shield = list[ShieldRule]
