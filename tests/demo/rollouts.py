"""A new version earns its place: one is promoted, one that was made worse on purpose is stopped by its gate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.cluster import Cluster
from tests.cluster.kubectl import Kubectl
from tests.cluster.steps import ClusterError, say
from tests.demo.story import AGENT, SAMPLES, show
from tests.demo.watching import Object, condition, read, watch

NAME = "cartpole"
TRAFFIC = "cartpole-traffic"
PLAYERS, COPIES = 2, 4
PATIENCE = 600


def start_traffic(cluster: Cluster) -> None:
    """Callers that play without end, so that there is something to judge by."""
    kubectl = cluster.kubectl
    account, job = yaml.safe_load_all((SAMPLES / "play.yaml").read_text())
    kubectl("delete", "job", TRAFFIC, "--ignore-not-found")  # an earlier run's
    job["metadata"]["name"] = TRAFFIC
    job["spec"] |= {"parallelism": PLAYERS, "completions": PLAYERS}
    player = job["spec"]["template"]["spec"]["containers"][0]
    player["image"] = cluster.images["trainer"]
    player["args"] = [a if not a.startswith("--episodes") else "--episodes=1000000" for a in player["args"]]
    player["args"] += [f"--copies={COPIES}", "--stream"]
    kubectl.apply(account, job)


def stop_traffic(kubectl: Kubectl) -> None:
    """No more callers."""
    kubectl("delete", "job", TRAFFIC, "--ignore-not-found")


def promoted(kubectl: Kubectl, version: str) -> None:
    """Through shadow and canary to the top, with a person's override in between."""
    proved = version in _proved(read(kubectl, AGENT, NAME))
    _ask_for(kubectl, version)
    if proved:
        say(f"  {version} was proved in an earlier run: to ask for it again is a rollback")
    else:
        _watch(kubectl, lambda o: _step(o).get("kind") == "Canary", fails=_rejected(version))
        _overridden(kubectl)
    agent = _watch(kubectl, lambda o: _stable(o) == version, fails=_rejected(version))
    tell_gates(agent)
    show(kubectl)


def stopped(kubectl: Kubectl, version: str, stable: str) -> None:
    """A gate fails; stable has decided for most all the time, and goes on."""
    _ask_for(kubectl, version)
    agent = _watch(
        kubectl,
        _rejected(version),
        fails=lambda o: _stable(o) == version,
    )
    if _stable(agent) != stable:
        raise ClusterError(f"{_stable(agent)} decides, not {stable}")
    tell_gates(agent)
    report(kubectl)


def rolled_back(kubectl: Kubectl, version: str) -> None:
    """To a version that was stable before: no shadow, no canary."""
    begun = time.monotonic()
    _ask_for(kubectl, version)
    _watch(kubectl, lambda o: _stable(o) == version)
    say(f"  {version} decides on every replica {time.monotonic() - begun:.1f} s after it was asked for")


def tell_gates(agent: Object) -> None:
    """Each gate's verdict with its numbers."""
    for gate in agent["status"].get("gates", ()):
        say(f"  gate {gate['name']}: {gate['verdict']}: {gate.get('message', '')}")


def report(kubectl: Kubectl) -> None:
    """What `checkrein rollout` tells a person."""
    for verb in ("report", "history"):
        print(f"\n$ checkrein rollout {verb} {NAME}", flush=True)
        print(checkrein(kubectl, "rollout", verb, NAME).rstrip(), flush=True)


def checkrein(kubectl: Kubectl, *arguments: str) -> str:
    """Our own command, with the demo's cluster. Raises ClusterError where it refuses."""
    program = Path(sys.executable).with_name("checkrein")
    environment = {**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)}
    run = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise ClusterError(f"checkrein {' '.join(arguments)} ended with {run.returncode}: {run.stderr.strip()}")
    return run.stdout


def _ask_for(kubectl: Kubectl, version: str) -> None:
    patch = json.dumps({"spec": {"policyVersion": version}})
    print(f"$ kubectl patch agentdeployment {NAME} --type merge -p '{patch}'", flush=True)
    kubectl("patch", AGENT, NAME, "--type", "merge", "-p", patch)


def _overridden(kubectl: Kubectl) -> None:
    """A person takes over in the middle of the canary; when that ends, the rollout goes on from where it was."""
    person = json.loads(kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
    override = {"mode": "Fallback", "reason": "a look at the cart", "by": person, "until": "2999-01-01T00:00:00Z"}
    _patch(kubectl, {"override": override})
    _watch(kubectl, lambda o: condition(o, "Progressing").get("reason") == "Overridden")
    show(kubectl)
    _patch(kubectl, {"override": None})


def _patch(kubectl: Kubectl, spec: Mapping[str, Any]) -> None:
    patch = json.dumps({"spec": spec})
    print(f"$ kubectl patch agentdeployment {NAME} --type merge -p '{patch}'", flush=True)
    kubectl("patch", AGENT, NAME, "--type", "merge", "-p", patch)


def _watch(kubectl: Kubectl, until: Any, fails: Any = lambda _: False) -> Object:
    return watch(kubectl, AGENT, NAME, until=until, fails=fails, line=_line, seconds=PATIENCE)


def _line(agent: Object) -> str:
    """Coarse, so that not every episode is a line."""
    step = _step(agent)
    said = condition(agent, "Progressing")
    if step.get("kind") in ("Shadow", "Canary") and said.get("status") == "True":
        where = f" step {step['index']}, weight {step['weight']} %" if step["kind"] == "Canary" else ""
        seen = [f"{g['name']} {g['verdict']}" for g in agent["status"].get("gates", ())]
        return f"{step['kind']}{where}: {', '.join(seen) or 'no gate has spoken yet'}"
    return f"{said.get('reason', '')}: {said.get('message', '')}"


def _step(agent: Object) -> Mapping[str, Any]:
    return agent["status"].get("step") or {}


def _stable(agent: Object) -> str:
    return str((agent["status"].get("stable") or {}).get("name", ""))


def _proved(agent: Object) -> list[str]:
    return [h["policy"] for h in agent["status"].get("history", ()) if h["event"] == "Promoted"]


def _rejected(version: str) -> Any:
    return lambda o: version in [r["name"] for r in o["status"].get("rejected", ())]
