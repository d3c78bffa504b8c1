"""One word of a person becomes one server-side apply of the fields concerned."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkrein.api import yamltext
from checkrein.api.deployment import AgentDeployment
from checkrein.api.policy import PolicyVersion
from checkrein.api.words import Abort, Approve
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import Conflict, Kube
from checkrein.cli.rollout import owners

Raw = dict[str, Any]
KIND = "AgentDeployment"
TRIES = 5
FORGET_SECONDS, LOOK_SECONDS = 30, 0.5
REVIEWS_LIMIT = 256
WORDS: Mapping[str, type[Approve | Abort]] = {"approve": Approve, "abort": Abort}
"""Those that are done once, and then are inert until they are said anew."""


@dataclass(frozen=True)
class Change:
    """What becomes of the spec, and how that is told. No fields: it is so already. `over`: words of ours that are taken
    back with it, since what they were about is over."""

    said: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manner:
    """How changes are made. `gitops`: patterns of the names of managers that one does not meddle with."""

    gitops: Sequence[str] = owners.GITOPS
    dry_run: bool = False


def read(kube: Kube, name: str) -> tuple[AgentDeployment, Raw]:
    """The deployment, as a model and as it came. Raises Refusal."""
    obj = kube.get(KIND, name)
    if obj is None:
        raise Refusal(f"there is no AgentDeployment {name} in namespace {kube.namespace}")
    return AgentDeployment.model_validate(obj), obj


def version(kube: Kube, name: str) -> PolicyVersion:
    """Raises Refusal where there is none."""
    raw = kube.get("PolicyVersion", name)
    if raw is None:
        raise Refusal(f"there is no PolicyVersion {name} in namespace {kube.namespace}")
    return PolicyVersion.model_validate(raw)


def say(kube: Kube, name: str, word: Callable[[AgentDeployment], Change], manner: Manner) -> None:
    """Works out what the word means for the deployment as it is, changes that, tells. Raises Refusal."""
    for _ in range(TRIES):
        agent, obj = read(kube, name)
        change = word(agent)
        told = [*change.notes, *notes(obj, change, manner)]
        try:
            if (kind := _done_before(agent, change)) and not manner.dry_run:
                _take_back(kube, agent, obj, kind)
                continue
            after = kube.apply(KIND, name, body(obj, change), dry_run=manner.dry_run) if change.fields else {}
        except Conflict:
            continue
        for note in told:
            print(f"note: {note}", file=sys.stderr)
        print(change.said + (" (server dry run: nothing was changed)" if manner.dry_run and after else ""))
        if manner.dry_run and after:
            print(yamltext.dump({"spec": {key: after["spec"][key] for key in change.fields}}), end="")
        return
    raise Refusal(f"AgentDeployment {name} changes all the time; nothing was done, try again")


def body(obj: Mapping[str, Any], change: Change) -> Raw:
    """What is applied: all that is ours, with the change, to the version of the object that was read."""
    spec = owners.ours(obj)
    kept = {key: value for key, value in spec.get("rollout", {}).items() if key not in change.over}
    rollout = {**kept, **change.fields.get("rollout", {})}
    if "reviews" in rollout:
        rollout["reviews"] = _reviews(obj, kept.get("reviews", ()), rollout["reviews"])
    spec |= {**change.fields, "rollout": rollout}
    if not rollout:
        del spec["rollout"]
    meta = {key: obj["metadata"][key] for key in ("name", "namespace", "resourceVersion")}
    return {"metadata": meta, "spec": spec}


def _done_before(agent: AgentDeployment, change: Change) -> str | None:
    """The word that stands in the spec just so, and was done: saying it again would say nothing."""
    for kind, model in WORDS.items():
        new, old = change.fields.get("rollout", {}).get(kind), getattr(agent.spec.rollout, kind)
        if new and old == model.model_validate(new) and _heeded(agent, kind, old.policy_version):
            return kind
    return None


def _heeded(agent: AgentDeployment, kind: str, policy: str) -> bool:
    return any(word.startswith(f"{kind}/{policy}/") for word in agent.status.words_heeded)


def _take_back(kube: Kube, agent: AgentDeployment, obj: Mapping[str, Any], kind: str) -> None:
    """Returns once the operator has forgotten the word, so that it can be said anew. Raises Refusal, Conflict."""
    name, policy = agent.metadata.name, getattr(agent.spec.rollout, kind).policy_version
    kube.apply(KIND, name, body(obj, Change("", over=(kind,))), dry_run=False)
    until = time.monotonic() + FORGET_SECONDS
    while True:
        agent, _ = read(kube, name)
        if getattr(agent.spec.rollout, kind) is not None:
            raise Refusal(f"spec.rollout.{kind} of {name} says so already, and it was done; take it away first")
        if not _heeded(agent, kind, policy):
            return
        if time.monotonic() >= until:
            raise Refusal(
                f"the operator has not noticed after {FORGET_SECONDS} s that spec.rollout.{kind} is said anew"
            )
        time.sleep(LOOK_SECONDS)


def _reviews(obj: Mapping[str, Any], old: Sequence[Raw], new: Sequence[Raw]) -> list[Raw]:
    """Those of before with the new ones; where there are too many, without those that nobody asks for any more."""
    merged = {r["sample"]: r for r in (*old, *new)}
    if len(merged) > REVIEWS_LIMIT:
        asked = {pair["sample"] for pair in obj.get("status", {}).get("review", ())}
        merged = {sample: review for sample, review in merged.items() if sample in asked}
    return list(merged.values())


def notes(obj: Mapping[str, Any], change: Change, manner: Manner) -> list[str]:
    """On whom the change takes a field from. Raises Refusal where that is a repository."""
    return list(_notes(obj, change, manner))


def _notes(obj: Mapping[str, Any], change: Change, manner: Manner) -> Iterator[str]:
    meta = obj["metadata"]
    for path in _paths(change):
        spelt = ".".join(("spec", *(part for part in path if not part.startswith("k:"))))
        for owner in owners.others(obj, path):
            if owners.is_gitops(owner.manager, manner.gitops):
                raise Refusal(
                    f"{spelt} of AgentDeployment {meta['namespace']}/{meta['name']} belongs to {owner.manager}: change "
                    "it in the repository that it brings here, or its next sync undoes what is said here"
                )
            if owner.lasting:
                yield f"{spelt} was set by {owner.manager}: let what it applies next time say the same, or it is undone"


def _paths(change: Change) -> Iterator[owners.Path]:
    for name in change.fields:
        if name != "rollout":
            yield (name,)
    for name in change.fields.get("rollout", {}):
        if name != "reviews":
            yield ("rollout", name)
    for review in change.fields.get("rollout", {}).get("reviews", ()):
        key = json.dumps({"sample": review["sample"]}, separators=(",", ":"))
        yield ("rollout", "reviews", f"k:{key}")
