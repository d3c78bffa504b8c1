"""What the demo tells, step by step. Each step meets what an earlier run left."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from tests.cluster.cache import REPOSITORY
from tests.cluster.cluster import Cluster
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.steps import ClusterError, say
from tests.demo.watching import Object, condition, training_line, watch

SAMPLES = REPOSITORY / "manifests" / "samples" / "cartpole"
EPISODES = 30
AGENT = "agentdeployment"
PLAY = "cartpole-play"


class Phases:
    """How long each phase took, for the summary."""

    def __init__(self) -> None:
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Announces a phase and takes its time."""
        print(f"\n== {title}", flush=True)
        begun = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - begun))

    def summary(self) -> str:
        """One line for each phase, and the total."""
        rows = [*self.times, ("total", sum(seconds for _, seconds in self.times))]
        return "\n".join(f"  {seconds:7.1f} s  {title}" for title, seconds in rows)


def environment(kubectl: Kubectl) -> None:
    """The environment is probed."""
    kubectl("apply", "--server-side", "-f", str(SAMPLES / "environment.yaml"))
    watch(
        kubectl,
        "rlenvironment",
        "cartpole",
        until=lambda o: condition(o, "Ready").get("status") == "True",
        fails=lambda o: condition(o, "Stalled").get("status") == "True",
        line=lambda o: f"{o['status'].get('phase', 'Pending')}: {condition(o, 'Ready').get('message', '')}",
    )
    show(kubectl)


def start_training(kubectl: Kubectl, file: str) -> None:
    """A TrainingJob is created."""
    kubectl("apply", "--server-side", "-f", str(SAMPLES / file))


def trained(kubectl: Kubectl, name: str) -> str:
    """Follows a TrainingJob to its end; returns the PolicyVersion's name."""
    job = watch(
        kubectl,
        "trainingjob",
        name,
        until=lambda o: condition(o, "Complete").get("status") == "True",
        fails=lambda o: condition(o, "Failed").get("status") == "True",
        line=training_line,
    )
    show(kubectl)
    return str(job["status"]["policyVersion"])


def deploy(kubectl: Kubectl, first: str) -> None:
    """Replicas decide by the first version."""
    kubectl("apply", "--server-side", "--force-conflicts", "-k", str(SAMPLES.parent / "cartpole-canary"))
    switched(kubectl, first)
    watch(
        kubectl,
        AGENT,
        "cartpole",
        until=lambda o: o["status"].get("readyReplicas") == o["spec"]["replicas"],
        line=lambda o: condition(o, "Ready").get("message", ""),
    )
    show(kubectl)


def switch(kubectl: Kubectl, version: str) -> None:
    """A person asks for another version; an older one is a rollback."""
    patch = json.dumps({"spec": {"policyVersion": version}})
    print(f"$ kubectl patch agentdeployment cartpole --type merge -p '{patch}'", flush=True)
    begun = time.monotonic()
    kubectl("patch", AGENT, "cartpole", "--type", "merge", "-p", patch)
    switched(kubectl, version)
    say(f"  {version} decides on every replica {time.monotonic() - begun:.1f} s after it was asked for")


def switched(kubectl: Kubectl, version: str) -> None:
    """Waits until `version` is stable."""

    def line(agent: Object) -> str:
        return condition(agent, "Progressing").get("message", "")

    def refused(agent: Object) -> bool:
        return version in [r["name"] for r in agent["status"].get("rejected", ())]

    def stable(agent: Object) -> bool:
        return (agent["status"].get("stable") or {}).get("name") == version

    watch(kubectl, AGENT, "cartpole", until=stable, fails=refused, line=line, seconds=120)


def start_playing(cluster: Cluster) -> None:
    """A client in a pod of its own plays real episodes, whose actions the replicas decide."""
    documents = list(yaml.safe_load_all((SAMPLES / "play.yaml").read_text()))
    player = next(d for d in documents if d["kind"] == "Job")["spec"]["template"]["spec"]["containers"][0]
    player["image"] = cluster.images["trainer"]
    player["args"] = [a if not a.startswith("--episodes") else f"--episodes={EPISODES}" for a in player["args"]]
    cluster.kubectl("delete", "job", PLAY, "--ignore-not-found")  # an earlier run's
    cluster.kubectl.apply(*documents)
    played(cluster.kubectl, 3)


def finish_playing(kubectl: Kubectl, *versions: str) -> None:
    """The client's own account: no request failed, and each of these versions has decided."""
    kubectl("wait", "--for=jsonpath={.status.ready}=0", f"job/{PLAY}", "--timeout=300s", seconds=320)
    log = kubectl("logs", f"job/{PLAY}").strip()
    print(f"\n$ kubectl logs job/{PLAY}\n{_shortened(log)}", flush=True)
    kubectl("wait", "--for=condition=Complete", f"job/{PLAY}", "--timeout=10s")
    if missing := [v for v in versions if v not in log]:
        raise ClusterError(f"no episode was played by {', '.join(missing)}: the switch did not reach the client.")


def _shortened(log: str) -> str:
    """The first and the last episode of each stretch by one version, and the summary."""
    lines = log.splitlines()
    who = [line.rpartition("policy ")[2] for line in lines]
    edges = [i for i in range(len(lines)) if i in (0, len(lines) - 1) or len({*who[i - 1 : i + 2]}) > 1]
    shown = [("..." + "\n" if i - 1 not in edges and i else "") + lines[i] for i in edges]
    return "\n".join(shown)


def played(kubectl: Kubectl, more: int) -> None:
    """Waits until the client has played so many episodes more."""
    target = _episodes(kubectl) + more
    watch(
        kubectl,
        "job",
        PLAY,
        until=lambda o: _episodes(kubectl) >= target,
        fails=lambda o: bool(o["status"].get("failed") or o["status"].get("succeeded")),
        line=lambda o: "playing" if o["status"].get("ready") else "the client is starting",
        seconds=120,
    )


def _episodes(kubectl: Kubectl) -> int:
    try:
        return kubectl("logs", f"job/{PLAY}").count("episode ")
    except KubectlError:  # its pod does not run yet
        return 0


def show(kubectl: Kubectl) -> None:
    """What `kubectl get rl` tells now."""
    print(f"\n$ kubectl get rl\n{kubectl('get', 'rl').rstrip()}\n", flush=True)


NEXT = """
What to look at next
  build/demo/kubectl get rl                                   # the four resources at a glance
  build/demo/kubectl events --for agentdeployment/cartpole     # what happened, in order
  build/demo/kubectl describe tj cartpole-a                   # progress, evaluation, conditions
  build/demo/kubectl get polv cartpole-1 -o yaml              # digests and provenance of a policy
  .venv/bin/checkrein --help                                  # status, explain, top, override, rollout, audit
  build/demo/kubectl patch agents cartpole --type merge -p '{"spec":{"policyVersion":"cartpole-2"}}'
  build/demo/kubectl -n checkrein-system logs deploy/checkrein-operator
  make demo-down                                              # takes everything down again
"""


def leave_kubectl(kubectl: Kubectl) -> None:
    """A kubectl for the person who looks further: it knows the demo's cluster and no other."""
    script = REPOSITORY / "build" / "demo" / "kubectl"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f'#!/bin/sh\nexec {shlex.join(kubectl.command)} "$@"\n')
    script.chmod(0o755)
