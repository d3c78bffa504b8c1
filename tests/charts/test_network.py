"""Who reaches whom once the NetworkPolicies are enforced: all that is needed, and nothing else."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import yaml
from tests.charts.network import OUTSIDE, Pod, passes
from tests.charts.render import DEVELOPMENT, NAMESPACE, PRODUCTION, template
from tests.control import builders as b

from checkrein.control.workloads import agents, jobs

GAMES = "games"
CLOSED = ["--set", f"networkPolicy.workloadNamespaces={{{GAMES}}}"]


@functools.cache
def made(production: bool, *options: str) -> tuple[dict[str, Any], ...]:
    text = template(*options, values=PRODUCTION if production else DEVELOPMENT)
    return tuple(obj for obj in yaml.safe_load_all(text) if obj)


def policies(*options: str, production: bool = False) -> list[dict[str, Any]]:
    return [obj for obj in made(production, *options) if obj["kind"] == "NetworkPolicy"]


def pod(obj: dict[str, Any], namespace: str) -> Pod:
    """One of the pods that a workload makes."""
    template = obj["spec"]["template"]
    ports = {p["name"]: p["containerPort"] for c in template["spec"]["containers"] for p in c.get("ports", ())}
    return Pod(namespace, template["metadata"]["labels"], ports)


def shipped(kind: str) -> Pod:
    return pod(next(obj for obj in made(False) if obj["kind"] == kind), NAMESPACE)


def agent(namespace: str = GAMES) -> Pod:
    return pod(
        next(o for o in agents.objects(b.agent(), b.SETTINGS, b.CLUSTER) if o["kind"] == "StatefulSet"), namespace
    )


def worker(component: str, namespace: str = GAMES) -> Pod:
    """A Job's pod: the probe's, or one with its labels and the trainer's port."""
    probe = pod(jobs.probe(b.environment(), b.SETTINGS), namespace)
    return Pod(namespace, {**probe.labels, "app.kubernetes.io/component": component})


OPERATOR, MINIO = shipped("Deployment"), shipped("StatefulSet")
AGENT, PROBE, TRAINER, EVALUATOR = agent(), worker("probe"), worker("trainer"), worker("evaluator")
STRANGER, BESIDE = Pod("elsewhere", {"app": "a"}), Pod(NAMESPACE, {"app": "a"})
S3 = Pod("storage", {"app": "s3"})


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        pytest.param(OPERATOR, OUTSIDE, 6443, id="operator -> API server"),
        pytest.param(OPERATOR, MINIO, 9000, id="operator -> store"),
        pytest.param(OPERATOR, AGENT, 8081, id="operator -> agent: status, evidence"),
        pytest.param(OPERATOR, TRAINER, 8080, id="operator -> trainer: progress"),
        pytest.param(STRANGER, OPERATOR, 8080, id="scraper -> operator"),
        pytest.param(STRANGER, AGENT, 8081, id="scraper -> agent"),
        pytest.param(STRANGER, TRAINER, 8080, id="scraper -> trainer"),
        pytest.param(STRANGER, AGENT, 8080, id="caller -> agent"),
        pytest.param(OUTSIDE, AGENT, 8080, id="caller outside -> agent"),
        pytest.param(AGENT, OUTSIDE, 443, id="agent -> API server"),
        pytest.param(AGENT, MINIO, 9000, id="agent -> store"),
        pytest.param(TRAINER, MINIO, 9000, id="trainer -> store"),
        pytest.param(EVALUATOR, MINIO, 9000, id="evaluator -> store"),
    ],
)
def test_what_is_needed_passes(source: Pod | None, target: Pod | None, port: int) -> None:
    assert passes(policies(*CLOSED), source, target, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        pytest.param(STRANGER, MINIO, 9000, id="stranger -> store"),
        pytest.param(BESIDE, MINIO, 9000, id="a pod beside the operator -> store"),
        pytest.param(MINIO, OUTSIDE, 443, id="store -> anywhere"),
        pytest.param(OUTSIDE, OPERATOR, 8080, id="outside -> operator"),
        pytest.param(STRANGER, OPERATOR, 9000, id="stranger -> operator, another port"),
        pytest.param(OPERATOR, STRANGER, 8080, id="operator -> pods that are not ours"),
        pytest.param(OUTSIDE, AGENT, 8081, id="outside -> agent's management"),
        pytest.param(OUTSIDE, TRAINER, 8080, id="outside -> trainer"),
        pytest.param(AGENT, STRANGER, 8080, id="agent -> anywhere else"),
        pytest.param(AGENT, AGENT, 9000, id="agent -> agent"),
        pytest.param(TRAINER, OUTSIDE, 443, id="trainer -> API server and internet"),
        pytest.param(EVALUATOR, OUTSIDE, 6443, id="evaluator -> API server"),
        pytest.param(PROBE, OUTSIDE, 443, id="probe -> internet"),
        pytest.param(PROBE, STRANGER, 80, id="probe -> other pods"),
    ],
)
def test_nothing_else_does(source: Pod | None, target: Pod | None, port: int) -> None:
    assert not passes(policies(*CLOSED), source, target, port)


@pytest.mark.parametrize("source", [OPERATOR, AGENT, PROBE, TRAINER, EVALUATOR])
def test_names_are_resolved(source: Pod) -> None:
    assert passes(policies(*CLOSED), source, OUTSIDE, 53, "UDP")


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [pytest.param("s3.example:9443", 9443, id="named"), pytest.param("s3.example", 443, id="that of TLS")],
)
def test_another_store_is_reached_at_its_port(endpoint: str, port: int) -> None:
    given = policies(*CLOSED, "--set", f"store.endpoint={endpoint}", production=True)
    for source in (OPERATOR, AGENT, TRAINER):
        assert passes(given, source, S3, port)
        assert not passes(given, source, S3, 9000)


def test_callers_and_scrapers_can_be_named() -> None:
    frontend = '[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"frontend"}}}]'
    monitoring = frontend.replace("frontend", "monitoring")
    named = ("--set-json", f"networkPolicy.callers={frontend},networkPolicy.scrapers={monitoring}")
    given = policies(*CLOSED, *named)
    caller, scraper = Pod("frontend", {}), Pod("monitoring", {})
    assert passes(given, caller, AGENT, 8080)
    assert passes(given, scraper, AGENT, 8081)
    assert passes(given, OPERATOR, AGENT, 8081)
    assert not passes(given, STRANGER, AGENT, 8080)
    assert not passes(given, caller, AGENT, 8081)
    assert not passes(given, caller, OPERATOR, 8080)
    assert not passes(policies("--set-json", "networkPolicy.scrapers=[]"), scraper, OPERATOR, 8080)


def test_environments_may_be_let_out() -> None:
    rule = '[{"ports":[{"port":5432,"protocol":"TCP"}],"to":[{"namespaceSelector":{}}]}]'
    given = policies(*CLOSED, "--set-json", f"networkPolicy.jobEgress={rule}")
    assert passes(given, TRAINER, STRANGER, 5432)
    assert not passes(given, AGENT, STRANGER, 5432)


def test_a_namespace_that_is_not_named_is_left_alone_and_the_switch_takes_all_away() -> None:
    assert passes(policies(*CLOSED), agent("other"), STRANGER, 8080)
    assert policies("--set", "networkPolicy.enabled=false", *CLOSED) == []
