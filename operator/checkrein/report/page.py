"""One page of a policy, or of what an agent's log says: everything in one file, no script, nothing fetched.

All texts are escaped: names, messages and recordings are written by others, and a page opens in somebody's browser.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from checkrein.api.recording import Agreement, Episode, Recording, Saliency
from checkrein.judge.difference import difference
from checkrein.report import figures

GIF = (b"GIF87a", b"GIF89a")
CHOICES = {
    "median": "The median episode",
    "best": "The best episode",
    "worst": "The worst episode",
    "random": "An episode of no special merit",
}
ENDINGS = {
    "terminated": "it terminated",
    "truncated": "it was truncated",
    "aborted": "it was aborted",
    "deadline": "its deadline passed",
    "shield": "a rule of the shield ended it",
    "cut": "only its first steps are kept",
    "open": "its end is not in the log",
}
_templates = Environment(
    loader=PackageLoader("checkrein.report", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Before:
    """The version before. `returns` are empty where they cannot be compared, and `why` says why."""

    name: str
    returns: Sequence[float] = ()
    why: str = ""


@dataclass(frozen=True)
class Subject:
    """What a page is of. `facts` are pairs of a label and a text."""

    title: str
    what: str
    facts: Sequence[tuple[str, str]]
    recording: Recording
    bound: float | None = None
    before: Before | None = None
    remarks: Sequence[str] = field(default_factory=tuple)


def page(subject: Subject) -> str:
    """The HTML. The same subject gives the same bytes."""
    recording, before = subject.recording, subject.before
    theirs = before.returns if before else ()
    return _templates.get_template("page.html.jinja").render(
        subject=subject,
        recording=recording,
        returns=figures.returns(subject.title, recording.returns, before.name if before else "", theirs, subject.bound)
        if recording.returns
        else None,
        summary=summary(recording),
        compared=compared(subject),
        agreed=agreed(recording.parent) if recording.parent else "",
        actions=figures.actions(recording.episodes, continuous=recording.continuous),
        gif=_data_url(recording.frames),
        episodes=[(_heading(told), _episode(told, recording)) for told in recording.episodes],
        saliency=[(heading, drawn) for told in recording.saliency for heading, drawn in _saliency(told)],
        remarks=[*subject.remarks, *recording.remarks],
    )


def summary(recording: Recording) -> str:
    """The returns in a sentence; empty where there are none."""
    if not (values := recording.returns):
        return ""
    mean = sum(values) / len(values)
    return f"{len(values)} episodes: mean {mean:.6g}, least {min(values):.6g}, most {max(values):.6g}."


def compared(subject: Subject) -> str:
    """The difference to the version before in a sentence; empty where there is none."""
    before, recording = subject.before, subject.recording
    if before is None:
        return ""
    if not before.returns or not recording.returns:
        return f"{before.name}, the version before: {before.why or 'its returns are not known'}."
    ours, theirs = recording.returns, before.returns
    middle = sum(ours) / len(ours) - sum(theirs) / len(theirs)
    found = difference(ours, theirs, recording.bounds)
    between = f", with probability 95 % between {found[0]:+.4g} and {found[1]:+.4g}" if found else ""
    how = "" if recording.bounds or not found else " (by a normal approximation: the environment has no reward.bounds)"
    return f"Mean return against {before.name}, the version before: {middle:+.4g}{between}{how}."


def agreed(told: Agreement) -> str:
    """What the version before would have done here, in a sentence."""
    apart = f"; their elements are {told.distance:.4g} apart on average" if told.distance is not None else ""
    share = f"has the same best action on {100 * told.agreed:.1f} %"
    return f"Of the {told.steps} observations of the episodes below, {told.name} {share}{apart}."


def _episode(told: Episode, recording: Recording) -> Markup:
    return figures.episode(told, recording.features, continuous=recording.continuous)


def _heading(told: Episode) -> str:
    seed = f", seed {told.seed}" if told.seed is not None else ""
    what = f"Episode {told.name}" if told.choice == "logged" else f"{CHOICES[told.choice]} (number {told.name}{seed})"
    steps = max(len(told.actions), len(told.rewards))
    remark = f"; {told.remark}" if told.remark else ""
    return f"{what}: return {told.total:.6g} in {steps} steps; {ENDINGS[told.ending]}{remark}"


def _saliency(told: Saliency) -> Iterator[tuple[str, Markup]]:
    for part in told.inputs:
        if drawn := figures.saliency(part):
            yield f"{told.of}{f', by {part.name}' if part.name else ''}: mean over {told.steps} steps", drawn


def _data_url(frames: bytes) -> str:
    """Of nothing that is not a GIF."""
    return f"data:image/gif;base64,{b64encode(frames).decode()}" if frames.startswith(GIF) else ""
