"""Observation and action spaces as data: gymnasium's words, without gymnasium.

The planner compares them, the manifest carries them, the agent checks what it gets and gives against them.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from checkrein.api.meta import Model
from checkrein.api.rules import rule, validations

SpaceType = Literal["Box", "Discrete", "MultiDiscrete", "MultiBinary"]
Bound = Annotated[str, StringConstraints(max_length=32, pattern=r"^(-?inf|-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?)$")]
Extent = Annotated[int, Field(ge=0, le=2_147_483_647)]


class Space(Model):
    """One gymnasium space.

    `low` and `high` (Box) hold one entry where all elements agree, else one for each element in C order.
    `n`, `start` belong to Discrete, `nvec` to MultiDiscrete, `shape` to Box and MultiBinary.
    """

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("self.type != 'Discrete' || has(self.n)", "a Discrete space needs n", "n"),
            rule("self.type != 'MultiDiscrete' || has(self.nvec)", "a MultiDiscrete space needs nvec", "nvec"),
            rule("self.type != 'Box' || has(self.low)", "a Box space needs low", "low"),
            rule("self.type != 'Box' || has(self.high)", "a Box space needs high", "high"),
        )
    )
    type: SpaceType = Field(description="gymnasium's name of the space.")
    dtype: Annotated[str, StringConstraints(max_length=16)] = Field(
        description="numpy's name of the element type, for example float32."
    )
    shape: list[Extent] = Field(default_factory=list, max_length=8, description="Box, MultiBinary: the array's shape.")
    low: list[Bound] = Field(
        default_factory=list,
        max_length=4096,
        description="Box: lower bounds, one for all elements or one for each in C order.",
    )
    high: list[Bound] = Field(
        default_factory=list,
        max_length=4096,
        description="Box: upper bounds, one for all elements or one for each in C order.",
    )
    n: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = Field(
        default=None, description="Discrete: number of values."
    )
    start: Annotated[int, Field(ge=-2_147_483_648, le=2_147_483_647)] | None = Field(
        default=None, description="Discrete: the least value. Default: 0."
    )
    nvec: list[Extent] = Field(
        default_factory=list, max_length=1024, description="MultiDiscrete: number of values of each element."
    )

    @property
    def size(self) -> int:
        """Number of elements of one value."""
        return len(self.nvec) if self.type == "MultiDiscrete" else math.prod(self.shape)

    def describe(self) -> str:
        """For people: `Box(4)`, `Discrete(2)`."""
        inner = {
            "Box": "x".join(map(str, self.shape)),
            "MultiBinary": "x".join(map(str, self.shape)),
            "Discrete": str(self.n),
            "MultiDiscrete": ",".join(map(str, self.nvec)),
        }[self.type]
        return f"{self.type}({inner})"


class Interface(Model):
    """What goes into a policy and what comes out: the contract between an agent and its callers."""

    observation: Space = Field(description="What the policy is given.")
    action: Space = Field(description="What the policy answers.")
