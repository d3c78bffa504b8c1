"""`checkrein doctor`: does the installation work, and may you use it?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any, Literal

from checkrein.api.crds import RESOURCES
from checkrein.api.meta import API_VERSION, GROUP
from checkrein.cli import kube
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import Kube
from checkrein.cli.style import GREEN, OFF, RED, YELLOW
from checkrein.cli.text import span

Raw = dict[str, Any]
OPERATOR = "app.kubernetes.io/name=checkrein"
ADMISSION = "admissionregistration.k8s.io/v1"
RIGHTS = (
    ("get", "", "look at"),
    ("create", "", "create and change"),
    ("patch", "override", "override"),
    ("patch", "promote", "promote"),
    ("patch", "review", "review"),
)
COLOURS = {"ok": GREEN, "no": YELLOW, "unknown": YELLOW, "fail": RED}


@dataclass(frozen=True)
class Check:
    """What was looked at. `fail` needs a mend; `no` is a right that one has not; `unknown` one may not look at."""

    verdict: Literal["ok", "no", "unknown", "fail"]
    what: str


def add_parser(commands: Any) -> None:
    """`doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="is everything installed, does the operator run, what may you do",
        description="Exit status 1: something does not work; each line says what to do.",
    )
    kube.add_arguments(parser)
    parser.set_defaults(run=lambda options: _run(kube.connect(options), options))


def _run(cluster: Kube, options: argparse.Namespace) -> int:
    coloured = sys.stdout.isatty()
    failed = False
    for look in (_server, _resources, _operator, _leader, _admission, _store, _rights):
        for check in _safely(look, cluster):
            failed |= check.verdict == "fail"
            word = f"{check.verdict:<8}"
            print(f"{COLOURS[check.verdict]}{word}{OFF}{check.what}" if coloured else f"{word}{check.what}", flush=True)
    return 1 if failed else 0


def _safely(look: Callable[[Kube], Iterator[Check]], cluster: Kube) -> Iterator[Check]:
    """What one may not look at is unknown, and no reason to stop."""
    try:
        yield from look(cluster)
    except Refusal as refused:
        yield Check("unknown", str(refused))


def _server(cluster: Kube) -> Iterator[Check]:
    found = cluster.read("/version") or {}
    yield Check("ok", f"API server {found.get('gitVersion', 'of an unknown version')}; you are {cluster.whoami()}")


def _resources(cluster: Kube) -> Iterator[Check]:
    found = cluster.read(f"/apis/{API_VERSION}")
    served = {resource["name"] for resource in (found or {}).get("resources", ())}
    missing = [resource.plural for resource in RESOURCES if resource.plural not in served]
    if missing:
        yield Check(
            "fail", f"{API_VERSION} does not serve {', '.join(missing)}: install the chart, or `kubectl apply -f crds/`"
        )
    else:
        yield Check("ok", f"{API_VERSION} serves all four kinds")


def _deployments(cluster: Kube) -> list[Raw]:
    path = cluster.path("deployments", api="apps/v1", everywhere=True)
    return cluster.items(path, {"labelSelector": OPERATOR})


def _operator(cluster: Kube) -> Iterator[Check]:
    found = _deployments(cluster)
    if not found:
        yield Check("fail", "no operator is installed: helm install checkrein charts/checkrein")
    if len(found) > 1:
        places = ", ".join(d["metadata"]["namespace"] for d in found)
        yield Check("fail", f"several operators are installed ({places}): keep one for each set of namespaces")
    for deployment in found:
        yield from operator(deployment, version("checkrein"))


def operator(deployment: Raw, own: str) -> Iterator[Check]:
    """Does it run, and is it of the version of this command?"""
    meta = deployment["metadata"]
    place = f"{meta['namespace']}/{meta['name']}"
    ready, asked = deployment.get("status", {}).get("readyReplicas", 0), deployment["spec"].get("replicas", 1)
    if ready == 0 and asked:
        yield Check(
            "fail",
            f"operator {place}: none of {asked} replicas is ready; "
            f"`kubectl -n {meta['namespace']} logs deploy/{meta['name']}` says why",
        )
    else:
        yield Check("ok" if ready == asked else "no", f"operator {place}: {ready} of {asked} replicas are ready")
    installed = meta.get("labels", {}).get("app.kubernetes.io/version", own)
    if installed != own:
        yield Check(
            "no", f"operator {place} is version {installed}, this command {own}: pip install checkrein=={installed}"
        )


def _leader(cluster: Kube) -> Iterator[Check]:
    for deployment in _deployments(cluster):
        meta = deployment["metadata"]
        path = f"/apis/coordination.k8s.io/v1/namespaces/{meta['namespace']}/leases/{meta['name']}"
        yield leader(cluster.read(path), datetime.now(UTC))


def leader(lease: Raw | None, now: datetime) -> Check:
    """Does somebody lead?"""
    spec = (lease or {}).get("spec", {})
    if not spec.get("holderIdentity"):
        return Check("fail", "no operator leads: look at the logs of its pods")
    age = now - datetime.fromisoformat(spec["renewTime"])
    if age > 2 * timedelta(seconds=spec.get("leaseDurationSeconds", 15)):
        return Check("fail", f"{spec['holderIdentity']} led and has not said so for {span(age)}: look at its logs")
    return Check("ok", f"{spec['holderIdentity']} leads")


def _admission(cluster: Kube) -> Iterator[Check]:
    items = cluster.items(cluster.path("validatingadmissionpolicies", api=ADMISSION, everywhere=True))
    bound = cluster.items(cluster.path("validatingadmissionpolicybindings", api=ADMISSION, everywhere=True))
    ours = {i["metadata"]["name"] for i in items if any(GROUP in g for g in _groups(i))}
    free = ours - {b["spec"]["policyName"] for b in bound}
    if not ours:
        yield Check("fail", "no admission policy of Checkrein's: anybody who may edit may override; install the chart")
    elif free:
        yield Check("fail", f"admission policies without a binding: {', '.join(sorted(free))}; install the chart again")
    else:
        yield Check("ok", f"{len(ours)} admission policies are in force")


def _groups(policy: Raw) -> Iterator[str]:
    for rule in policy["spec"].get("matchConstraints", {}).get("resourceRules", ()):
        yield from rule.get("apiGroups", ())


def _store(cluster: Kube) -> Iterator[Check]:
    """Whether the store answers is what the operator says of it in conditions."""
    troubled = sorted(
        f"{resource.kind} {obj['metadata']['name']}: {said['message']}"
        for resource in RESOURCES
        for obj in cluster.all(resource.kind)
        for said in obj.get("status", {}).get("conditions", ())
        if said["status"] != "True" and "Store" in said["reason"]
    )
    if troubled:
        yield Check("fail", f"the store fails: {troubled[0]}")
    else:
        yield Check("ok", f"nothing in namespace {cluster.namespace} waits for the store")


def _rights(cluster: Kube) -> Iterator[Check]:
    for verb, subresource, word in RIGHTS:
        asked = {"namespace": cluster.namespace, "verb": verb, "group": GROUP, "resource": "agentdeployments"}
        asked |= {"subresource": subresource} if subresource else {}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        answer = cluster.create(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review | {"spec": {"resourceAttributes": asked}}
        )
        allowed = bool(answer.get("status", {}).get("allowed"))
        role = f" (ClusterRole checkrein-{subresource or ('view' if verb == 'get' else 'edit')})" if not allowed else ""
        verdict: Literal["ok", "no"] = "ok" if allowed else "no"
        yield Check(verdict, f"you {'may' if allowed else 'may not'} {word} agents in {cluster.namespace}{role}")
