"""`checkrein demo`: the CartPole samples in a namespace of the cluster, followed until a trained policy decides."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files
from typing import Any

from checkrein.cli import kube, objects
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import PLURALS, Conflict, Kube
from checkrein.cli.look import status, tree
from checkrein.cli.options import duration
from checkrein.cli.style import Style
from checkrein.cli.wait import reached

SAMPLES = files(__package__) / "samples"
GOALS = {"AgentDeployment": "Ready"}
"""What is waited for, where it is not what `checkrein wait` waits for: the agent's replicas, too."""
NEXT = """
{version} decides. What to look at next:

  checkrein explain agent/{agent} -n {namespace}
  checkrein top -n {namespace}
  kubectl -n {namespace} port-forward service/{agent}-agent 8080:80 &
  curl localhost:8080/v1/act -d '{{"observation": [0.1, 0, 0, 0]}}' \\
      -H "Authorization: Bearer $(kubectl -n {namespace} create token default --audience checkrein.dev)"
  checkrein override set {agent} -n {namespace} --mode Fallback --reason 'to see it' --for 5m

To take it away: kubectl -n {namespace} delete {names}"""

Raw = dict[str, Any]


def add_parser(commands: Any) -> None:
    """`demo`."""
    parser = commands.add_parser(
        "demo",
        help="train a CartPole policy and let it decide, from samples that are part of this command",
        description="Creates an environment, a training job and an agent, and follows them until replicas decide by "
        "the trained policy: some minutes. What is there already stays as it is, so it may be run again.",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be created, and do nothing")
    parser.add_argument("--timeout", type=duration, default=timedelta(minutes=30), metavar="TIME", help="default: 30m")
    kube.add_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.dry_run:
        print("---\n".join(_texts()), end="")
        return 0
    cluster = kube.connect(options)
    samples = [_parsed(text) for text in _texts()]
    for sample in samples:
        print(_create(cluster, sample), flush=True)
    print()
    try:
        status.show_changes(_trees(cluster, samples, options.timeout))
    except KeyboardInterrupt:
        print("it goes on in the cluster; `checkrein demo` follows it again")
        return 1
    agent = next(sample for sample in samples if sample["kind"] == "AgentDeployment")
    names = " ".join(f"{sample['kind'].lower()}/{sample['metadata']['name']}" for sample in reversed(samples))
    version = agent["spec"]["policyVersion"]
    namespace, name = cluster.namespace, agent["metadata"]["name"]
    print(NEXT.format(version=version, namespace=namespace, agent=name, names=f"{names} policyversion/{version}"))
    return 0


def _texts() -> list[str]:
    """The samples that kustomize would apply, in its order."""
    listed = _parsed((SAMPLES / "kustomization.yaml").read_text())["resources"]
    return [(SAMPLES / name).read_text() for name in listed]


def _parsed(text: str) -> Raw:
    import yaml

    parsed: Raw = yaml.safe_load(text)
    return parsed


def _create(cluster: Kube, sample: Raw) -> str:
    """Creates it where there is none; what became of it. Raises Refusal."""
    kind, name = sample["kind"], sample["metadata"]["name"]
    try:
        cluster.create(cluster.path(PLURALS[kind]), sample)
    except Conflict:
        return f"{kind} {name} is there already"
    return f"{kind} {name} created"


def _trees(cluster: Kube, samples: list[Raw], patience: timedelta) -> Iterator[str]:
    """The tree of the samples, again and again until all is reached. Raises Refusal where it cannot be."""
    until = time.monotonic() + patience.total_seconds()
    names = {sample["metadata"]["name"] for sample in samples}
    while True:
        known = objects.read(cluster)
        roots = [root for root in tree.grow(known) if root.name in names]
        yield "\n".join(tree.draw(roots, Style.of(sys.stdout)))
        waiting = [sample for sample in samples if not _reached(known, sample)]
        if not waiting:
            return
        if time.monotonic() >= until:
            first = f"{waiting[0]['kind'].lower()}/{waiting[0]['metadata']['name']}"
            raise Refusal(f"{first} is not there after {patience}: `checkrein explain {first}`")
        time.sleep(status.LOOK_SECONDS)


def _reached(known: objects.Objects, sample: Raw) -> bool:
    kind, name = sample["kind"], sample["metadata"]["name"]
    return any(type(o).__name__ == kind and reached(o, GOALS.get(kind)) for o in known.named(name))
