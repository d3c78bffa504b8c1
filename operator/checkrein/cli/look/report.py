"""`checkrein report`: a policy to look at, from the recording that is kept beside it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from checkrein.api.policy import PolicyVersion
from checkrein.api.recording import Recording
from checkrein.cli import kube, pages, places
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import Kube
from checkrein.cli.text import plural
from checkrein.store import recordings
from checkrein.store.errors import StoreError

NONE_KEPT = (
    "has no recording: it was imported, published by an older release, or its evaluator could not keep one "
    "(the log of the evaluation's pod says why)"
)


def add_parser(commands: Any) -> None:
    """`report`."""
    parser = commands.add_parser(
        "report",
        help="how a policy version acts: returns, episodes, what it looks at, against the version before",
        description="Makes one HTML file of what the evaluation of a PolicyVersion recorded; it takes nothing from "
        "elsewhere. `checkrein audit report` does the same of what an agent's decision log says.",
    )
    parser.add_argument("name", metavar="NAME", help="of a PolicyVersion, for example cartpole-2")
    pages.add_arguments(parser)
    places.add_store(parser)
    kube.add_arguments(parser)
    parser.set_defaults(run=lambda options: _run(kube.connect(options), options))


def _run(cluster: Kube, options: argparse.Namespace) -> int:
    pages.check()
    from checkrein.report.page import Subject, page

    version = _version(cluster, options.name)
    recording = _recording(version, options)
    if recording is None:
        raise Refusal(f"PolicyVersion {options.name} {NONE_KEPT}")
    bound = version.spec.evaluation.lower_bound
    subject = Subject(
        title=version.metadata.name,
        what=f"PolicyVersion in namespace {cluster.namespace}",
        facts=list(facts(version)),
        recording=recording,
        bound=None if bound is None else float(bound),
        before=_before(cluster, version, options),
    )
    pages.deliver(page(subject), version.metadata.name, options)
    return 0


def _version(cluster: Kube, name: str) -> PolicyVersion:
    raw = cluster.get("PolicyVersion", name)
    if raw is None:
        raise Refusal(f"there is no PolicyVersion {name} in namespace {cluster.namespace}")
    return PolicyVersion.model_validate(raw)


def _recording(version: PolicyVersion, options: argparse.Namespace) -> Recording | None:
    if version.spec.recording is None:
        return None
    return recordings.load(places.store(options, version.spec.artifact.bucket), version.spec.recording)


def _before(cluster: Kube, version: PolicyVersion, options: argparse.Namespace) -> Any:
    """The newest version of the same policy that is older; None where there is none."""
    from checkrein.report.page import Before

    spec = version.spec
    every = (PolicyVersion.model_validate(raw) for raw in cluster.all("PolicyVersion"))
    older = [v for v in every if v.spec.policy == spec.policy and v.spec.version < spec.version]
    if not older:
        return None
    parent = max(older, key=lambda v: v.spec.version)
    name = parent.metadata.name
    if parent.spec.environment.digest != spec.environment.digest:
        return Before(name, why="it was evaluated in another environment, where returns mean something else")
    try:
        recording = _recording(parent, options)
    except StoreError as error:
        return Before(name, why=f"its recording cannot be read: {error}")
    return Before(name, recording.returns) if recording else Before(name, why="it has no recording")


def facts(version: PolicyVersion) -> Iterator[tuple[str, str]]:
    """What a version is, as pairs of a label and a text."""
    spec, origin, found = version.spec, version.spec.provenance, version.spec.evaluation
    yield "policy", f"{spec.policy}, version {spec.version}"
    yield "trained by", f"TrainingJob {origin.training_job} (uid {origin.uid}), attempt {origin.attempt}"
    yield "algorithm", f"{origin.algorithm or 'not told'}, seed {origin.seed}"
    yield "image", origin.image
    yield "environment", f"{spec.environment.name}, {spec.environment.digest}"
    yield "observes", spec.interface.observation.describe()
    yield "acts", spec.interface.action.describe()
    yield "artifact", f"{spec.artifact.format}, {spec.artifact.digest}, {spec.artifact.size} bytes"
    evaluated = f"{found.episodes} episodes, mean return {found.mean}"
    if found.lower_bound is not None:
        evaluated += f", at least {found.lower_bound} with probability {found.confidence}"
    yield "evaluation", f"{evaluated}; {plural(found.evaluated_before, 'evaluation')} before it"
    for condition in version.status.conditions:
        yield condition.type, f"{condition.status}, {condition.reason}: {condition.message}"
    if spec.recording:
        yield "recording", f"{spec.recording.digest}, {spec.recording.size} bytes"
