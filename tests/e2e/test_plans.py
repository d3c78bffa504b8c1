"""Plans of faults on a real node: real trainers and replicas, the operator and the store behind proxies."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from functools import partial

import pytest
from tests.bench import report
from tests.cluster.cluster import Cluster, external
from tests.cluster.install import NAMESPACE
from tests.cluster.layout import Layout
from tests.cluster.minio import Minio
from tests.cluster.processes import State
from tests.e2e.world import SMALL
from tests.faults.conftest import prepare
from tests.faults.plans import plan
from tests.faults.scenes import Node, World
from tests.faults.trials import Trial, planned, record_all, told

PLANS = "CHECKREIN_NODE_FAULT_PLANS"
"""How many of them."""
OPERATOR = "checkrein-operator"
SCENARIOS = ("switched", "walked", "deleted")
"""Those in which nobody tells pods how to end."""
SAMPLE = (112, 142)
AT_ONCE = 3
TEMPLATE = {"template": {"resources": SMALL}}
JOB = {
    "algorithm": {"name": "PPO", "hyperparameters": {"n_steps": 64}},
    "budget": {"steps": 512},
    "evaluation": {"episodes": 5},
    "gates": [],
    **TEMPLATE,
}

pytestmark = [
    pytest.mark.skipif(external() is not None, reason="pods of another cluster do not reach this machine"),
    pytest.mark.timeout(6 * 3600 if PLANS in os.environ else 1200),
]


@pytest.fixture(scope="module")
def behind_proxies(checkrein: Cluster, minio: Minio, resting: None) -> Iterator[World]:
    """Where trials are played: each has an operator on this machine, with the rights of the installed one."""
    state = State.create(f"plans-{os.getpid()}", owned=True)
    prepare(minio)
    kubectl = checkrein.kubectl
    token = partial(kubectl, "-n", NAMESPACE, "create", "token", OPERATOR, "--duration=6h")
    config = json.loads(checkrein.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token().strip()}
    kubeconfig = state.path / "operator.conf"
    kubeconfig.write_text(json.dumps(config))
    node = Node(
        images={name: checkrein.images[name] for name in ("trainer", "agent")},
        gateway=Layout.load(checkrein.kubeconfig.parent.parent).gateway,
        account=f"system:serviceaccount:{NAMESPACE}:{OPERATOR}",
        token=token("--audience=checkrein.dev").strip(),
        job=JOB,
        agent=TEMPLATE,
    )
    try:
        yield World(
            kubeconfig=checkrein.kubeconfig,
            operator_kubeconfig=kubeconfig,
            store=minio.endpoint,
            store_secret=minio.secret_key,
            cluster=kubectl.get("namespace", "kube-system")["metadata"]["uid"],
            folder=state.path,
            node=node,
        )
    finally:
        state.remove()


@pytest.fixture(scope="module")
def resting(checkrein: Cluster) -> Iterator[None]:
    """The installed operator does nothing."""
    kubectl = partial(checkrein.kubectl, "-n", NAMESPACE, seconds=320)
    replicas = checkrein.kubectl.get("deployment", OPERATOR, namespace=NAMESPACE)["spec"]["replicas"]
    kubectl("scale", f"deployment/{OPERATOR}", "--replicas=0")
    kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator", "--timeout=300s")
    yield
    kubectl("scale", f"deployment/{OPERATOR}", f"--replicas={replicas}")
    kubectl("rollout", "status", f"deployment/{OPERATOR}", "--timeout=300s")


def chosen() -> list[int]:
    """Numbers of plans."""
    if PLANS not in os.environ:
        return list(SAMPLE)
    fit = (number for number in itertools.count() if plan(number).scenario in SCENARIOS)
    return list(itertools.islice(fit, int(os.environ[PLANS])))


def test_faults_change_nothing_on_a_real_node_either(behind_proxies: World) -> None:
    begun, numbers = time.monotonic(), chosen()
    trials = [Trial(f"faultless-{name}", name) for name in SCENARIOS if name in {plan(n).scenario for n in numbers}]
    alone = record_all(behind_proxies, trials, {}, AT_ONCE, "node-faultless")
    faultless = {o.trial.scenario: o for o in alone}
    assert not told(faultless.values())
    outcomes = record_all(behind_proxies, planned(numbers), faultless, AT_ONCE, "node-plans")
    wrong = [o.dump() for o in outcomes if o.problems]
    if PLANS in os.environ:
        figures = [
            report.Figure("plans on a real node", len(outcomes), "", ">= 24"),
            report.Figure("starts of the operator", sum(o.starts for o in outcomes), ""),
            report.Figure("violations", len(wrong), "", "<= 0"),
            report.Figure("time", time.monotonic() - begun, "s"),
        ]
        report.write("faults-node", figures, wrong=wrong)
    assert wrong == []
