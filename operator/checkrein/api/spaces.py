"""Observation and action spaces as data: gymnasium's words, without gymnasium.

The planner compares them, the manifest carries them, the agent checks what it gets and gives against them.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from checkrein.api.meta import Digest, Model
from checkrein.api.rules import rule, validations

LeafType = Literal["Box", "Discrete", "MultiDiscrete", "MultiBinary"]
SpaceType = Literal["Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict"]
MEMBER_PATTERN = r"^[A-Za-z0-9_-]+$"
MOST_MEMBERS = 32
ACTION_MASK = "action_mask"
"""The member of a Dict observation that tells which actions are allowed now (PettingZoo's word for it)."""
Bound = Annotated[str, StringConstraints(max_length=32, pattern=r"^(-?inf|-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?)$")]
Extent = Annotated[int, Field(ge=0, le=2_147_483_647)]
_COMPLETE = (
    rule("self.type != 'Discrete' || has(self.n)", "a Discrete space needs n", "n"),
    rule("self.type != 'MultiDiscrete' || has(self.nvec)", "a MultiDiscrete space needs nvec", "nvec"),
    rule("self.type != 'Box' || has(self.low)", "a Box space needs low", "low"),
    rule("self.type != 'Box' || has(self.high)", "a Box space needs high", "high"),
)


class _Elements(Model):
    """What a space without members is made of.

    `low` and `high` (Box) hold one entry where all elements agree, else one for each element in C order.
    `n`, `start` belong to Discrete, `nvec` to MultiDiscrete, `shape` to Box and MultiBinary.
    """

    dtype: Annotated[str, StringConstraints(max_length=16)] = Field(
        default="", description="numpy's name of the element type, for example float32. None for Dict."
    )
    shape: list[Extent] = Field(
        default_factory=list, max_length=8, description="Box, MultiBinary: the array's shape, for example [4]."
    )
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
        default=None, description="Discrete: number of values, for example 2."
    )
    start: Annotated[int, Field(ge=-2_147_483_648, le=2_147_483_647)] | None = Field(
        default=None, description="Discrete: the least value. Default: 0."
    )
    nvec: list[Extent] = Field(
        default_factory=list,
        max_length=1024,
        description="MultiDiscrete: number of values of each element, for example [3, 2].",
    )


class Member(_Elements):
    """One named space of a Dict. It has no members itself: schemas of Kubernetes objects cannot recurse."""

    model_config = ConfigDict(
        json_schema_extra=validations(rule("has(self.dtype)", "a space needs dtype", "dtype"), *_COMPLETE)
    )
    name: Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=MEMBER_PATTERN)] = Field(
        description="Its key in the Dict."
    )
    type: LeafType = Field(description="gymnasium's name of the space.")


class Space(_Elements):
    """One gymnasium space."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("self.type == 'Dict' || has(self.dtype)", "a space needs dtype", "dtype"),
            rule("self.type != 'Dict' || has(self.members)", "a Dict space needs members", "members"),
            *_COMPLETE,
        )
    )
    type: SpaceType = Field(description="gymnasium's name of the space.")
    # None and not empty where there are none: what was digested before there were members keeps its digest.
    members: list[Member] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_MEMBERS,
        description="Dict: its spaces by key, in the keys' order.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )

    @property
    def leaves(self) -> dict[str, Space]:
        """A Dict's members by name; any other space itself, under the empty name."""
        if self.type != "Dict":
            return {"": self}
        return {m.name: Space.model_validate(m.model_dump(exclude={"name"})) for m in self.members or ()}

    @property
    def size(self) -> int:
        """Number of elements of one value, over all members."""
        if self.type == "Dict":
            return sum(leaf.size for leaf in self.leaves.values())
        return len(self.nvec) if self.type == "MultiDiscrete" else math.prod(self.shape)

    def describe(self) -> str:
        """For people: `Box(4)`, `Discrete(2)`, `Dict(camera: Box(84x84x3), speed: Box(1))`."""
        inner = {
            "Box": "x".join(map(str, self.shape)),
            "MultiBinary": "x".join(map(str, self.shape)),
            "Discrete": str(self.n),
            "MultiDiscrete": ",".join(map(str, self.nvec)),
            "Dict": ", ".join(f"{name}: {leaf.describe()}" for name, leaf in self.leaves.items() if name),
        }[self.type]
        return f"{self.type}({inner})"


class Interface(Model):
    """What goes into a policy and what comes out: the contract between an agent and its callers."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("self.action.type != 'Dict'", "an action space has no members", "action.type")
        )
    )
    observation: Space = Field(description="What the policy is given.")
    action: Space = Field(description="What the policy answers.")
    client_wrappers: Digest | None = Field(
        default=None,
        description="Of the environment's wrappers at Client, which whoever asks runs; unset: there are none.",
    )
