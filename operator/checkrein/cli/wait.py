"""`checkrein wait`: until an object is as it should be."""

from __future__ import annotations

import argparse
import time
from datetime import timedelta
from typing import Any

from checkrein.api import conditions
from checkrein.api.deployment import AgentDeployment
from checkrein.cli import kube, objects
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import Kube
from checkrein.cli.objects import MAIN, Resource
from checkrein.cli.options import duration
from checkrein.cli.rollout import words

LOOK_SECONDS = 1.0
ENDED = frozenset({"Failed", "Rejected"})
"""Phases that do not end well by themselves."""


def add_parser(commands: Any) -> None:
    """`wait`."""
    parser = commands.add_parser(
        "wait",
        help="until an object is ready, a training job complete, an agent's version promoted",
        description="Exit status 0: it is so; 1: it cannot become so without a person, or the time is over.",
    )
    parser.add_argument("object", metavar="[KIND/]NAME", help="for example tj/cartpole-a; it may not exist yet")
    parser.add_argument(
        "--for",
        dest="goal",
        metavar="GOAL",
        help="CONDITION or CONDITION=STATUS, or `promoted`, `settled` for an agent; default: Ready, Complete, "
        "Verified or promoted, by kind",
    )
    parser.add_argument("--timeout", type=duration, default=timedelta(hours=1), metavar="TIME", help="default: 1h")
    kube.add_arguments(parser)
    parser.set_defaults(run=lambda options: _run(kube.connect(options), options))


def _run(cluster: Kube, options: argparse.Namespace) -> int:
    until = time.monotonic() + options.timeout.total_seconds()
    while True:
        obj = _find(cluster, options.object)
        if obj is not None and (said := reached(obj, options.goal)):
            print(said)
            return 0
        if time.monotonic() >= until:
            state = f"it is {obj.status.phase}" if obj else "it does not exist"
            raise Refusal(
                f"{options.object} is not there after {options.timeout}: {state}; `checkrein explain {options.object}`"
            )
        time.sleep(LOOK_SECONDS)


def _find(cluster: Kube, reference: str) -> Resource | None:
    """None where it does not exist yet."""
    word, slash, name = reference.partition("/")
    if slash and cluster.get(objects.kind(word), name) is None:
        return None
    return objects.find(cluster, reference)


def reached(obj: Resource, goal: str | None) -> str | None:
    """What has become of it, once the goal is reached. Raises Refusal where it cannot be without a person."""
    if isinstance(obj, AgentDeployment) and goal in (None, "promoted", "settled"):
        return words.reached(obj, goal or "promoted")
    type_, _, status = (goal or MAIN[type(obj).__name__]).partition("=")
    said = conditions.get(obj.status.conditions, type_)
    fresh = obj.status.observed_generation == obj.metadata.generation
    title = f"{type(obj).__name__} {obj.metadata.name}"
    if said and fresh and said.status == (status or "True"):
        return f"{title}: {said.type} is {said.status}, {said.reason}"
    if fresh and obj.status.phase in ENDED:
        why = f", {said.reason}: {said.message}" if said else ""
        raise Refusal(f"{title} is {obj.status.phase}{why}")
    return None
