"""What an evaluation saw: a few of its episodes step by step, kept beside the policy for people to look at.

Written by a pod that runs somebody's environment, so a reader believes nothing but these bounds: every list has one,
and no text of it is ever markup.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from checkrein.api.meta import Count, Digest, Message, Model, Name, ShortText

MOST_STEPS = 1000
"""Of one episode; the rest is left out."""
MOST_EPISODES = 5
MOST_ELEMENTS = 64
"""Of an observation or action that is kept whole; of a larger one nothing is."""
MOST_UNITS = 144
"""Inputs, or patches of a picture, whose saliency is told."""
MOST_RETURNS = 100_000
FRAMES_LIMIT = 2 * 2**20  # bytes of the animation

Number = Annotated[float, Field(allow_inf_nan=False)]
Row = Annotated[list[Number], Field(max_length=MOST_ELEMENTS)]
Label = Annotated[str, StringConstraints(max_length=80)]
Choice = Literal["best", "worst", "median", "random", "logged"]
Ending = Literal["terminated", "truncated", "aborted", "deadline", "shield", "cut", "open"]


class Episode(Model):
    """Step i: what was observed, what was done then, what it was paid, and what the policy expected before."""

    choice: Choice = Field(description="Why it is kept.")
    name: ShortText = Field(description="The evaluation's number of it, or the decision log's name.")
    seed: Annotated[int, Field(ge=0, le=2**63)] | None = None
    total: Number = Field(description="Its return, as it was counted; of a kept episode's first steps only if `cut`.")
    observations: list[Row] = Field(default_factory=list, max_length=MOST_STEPS)
    actions: list[Row] = Field(default_factory=list, max_length=MOST_STEPS)
    rewards: list[Number | None] = Field(default_factory=list, max_length=MOST_STEPS)
    values: list[Number | None] = Field(default_factory=list, max_length=MOST_STEPS)
    ending: Ending = Field(description="cut: it went on after what is kept; open: nobody knows yet.")
    remark: Message = ""


class InputSaliency(Model):
    """Of one observation, or of one member of a Dict.

    `gradients[i]`: mean length of the score's gradient with respect to unit i, over the steps looked at. `spreads[i]`:
    standard deviation of the unit over them. A unit is an element, several neighbours, or a patch of a picture, moved
    together; `columns` is set where units are patches, row by row.
    """

    name: Label = ""
    columns: Annotated[int, Field(ge=1, le=MOST_UNITS)] | None = None
    labels: list[Label] = Field(max_length=MOST_UNITS)
    gradients: list[Number] = Field(max_length=MOST_UNITS)
    spreads: list[Number] = Field(max_length=MOST_UNITS)

    @model_validator(mode="after")
    def _fit(self) -> InputSaliency:
        if len({len(self.labels), len(self.gradients), len(self.spreads)}) > 1:
            raise ValueError("labels, gradients and spreads must be of the same units")
        if self.columns and len(self.labels) % self.columns:
            raise ValueError(f"{len(self.labels)} patches do not fill rows of {self.columns}")
        return self


class Saliency(Model):
    """How much a score of the policy hangs on its inputs."""

    of: ShortText = Field(description="The score, for example `value`.")
    steps: Count = Field(description="Over how many steps it is a mean.")
    inputs: list[InputSaliency] = Field(max_length=32)


class Agreement(Model):
    """What the version before would have done on the observations that this one met."""

    name: Name = Field(description="The PolicyVersion before.")
    digest: Digest = Field(description="Of its manifest.")
    steps: Count = Field(description="Observations that both were asked about.")
    agreed: Annotated[float, Field(ge=0, le=1)] = Field(description="Share of them with the same best action.")
    distance: Number | None = Field(default=None, description="Box: mean distance of an element, of both actions.")


class Recording(Model):
    """The stored file that `PolicyVersion.spec.recording` points to."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    schema_version: Literal["checkrein.dev/recording/v1"] = "checkrein.dev/recording/v1"
    manifest: Digest | None = Field(default=None, description="Of the exported artifact that was played.")
    returns: list[Number] = Field(default_factory=list, max_length=MOST_RETURNS, description="Of every episode.")
    lengths: list[Count] = Field(default_factory=list, max_length=MOST_RETURNS)
    bounds: tuple[Number, Number] | None = Field(default=None, description="Of any return, as the environment says.")
    features: list[Label] = Field(default_factory=list, max_length=MOST_ELEMENTS, description="Of an observation.")
    continuous: bool = Field(default=False, description="Actions are measured; otherwise counted.")
    episodes: list[Episode] = Field(default_factory=list, max_length=MOST_EPISODES)
    saliency: list[Saliency] = Field(default_factory=list, max_length=2)
    parent: Agreement | None = None
    frames: Annotated[bytes, Field(max_length=FRAMES_LIMIT)] = Field(default=b"", description="An animated GIF.")
    frames_of: ShortText = Field(default="", description="Name of the episode that they show.")
    remarks: list[Message] = Field(default_factory=list, max_length=16, description="What could not be had, and why.")
