"""CRDs of another release: which ones fit this operator, and what it does while they do not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.api.server import Refused, Server
from tests.cluster.controlplane import ControlPlane
from tests.cluster.kubectl import CRDS
from tests.cluster.steps import ClusterError, wait_until
from tests.control.audit import writes
from tests.control.conftest import Operator
from tests.control.objects import ENVIRONMENT, job
from tests.control.standin import Standin

from checkrein.api import crds
from checkrein.control.definitions import MEND, misfit

Raw = dict[str, Any]
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BY_KIND = {resource.kind: resource for resource in crds.RESOURCES}
JOBS = BY_KIND["TrainingJob"]


def served(kind: str) -> Raw:
    """Our definition as an API server that serves it shows it."""
    return crds.definition(BY_KIND[kind]) | {"status": {"conditions": [{"type": "Established", "status": "True"}]}}


def schema(definition: Raw) -> Raw:
    found: Raw = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return found


def older(definition: Raw) -> None:
    del schema(definition)["status"]["properties"]["checkpoint"]


def poorer(definition: Raw) -> None:
    del schema(definition)["spec"]["properties"]["backoffLimit"]


def other(definition: Raw) -> None:
    schema(definition)["spec"]["properties"]["seed"] = {"type": "string"}


def tighter(definition: Raw) -> None:
    schema(definition)["status"]["properties"]["conditions"]["items"]["properties"]["message"]["maxLength"] = 10


def fewer(definition: Raw) -> None:
    schema(definition)["status"]["properties"]["phase"]["enum"].remove("Evaluating")


def demanding(definition: Raw) -> None:
    schema(definition)["status"]["required"] = ["progress"]


def lax(definition: Raw) -> None:
    schema(definition)["spec"]["x-kubernetes-validations"].pop(0)


def gone(definition: Raw) -> None:
    definition["spec"]["versions"][0]["name"] = "v1"


def going(definition: Raw) -> None:
    definition["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/keep"]}


def newer(definition: Raw) -> None:
    schema(definition)["spec"]["properties"]["more"] = {"type": "string"}
    schema(definition)["status"]["properties"]["phase"]["enum"].append("Paused")
    schema(definition)["spec"]["properties"]["backoffLimit"]["maximum"] = 7


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(older, "status.checkpoint is missing", id="a status field that it lacks"),
        pytest.param(poorer, "spec.backoffLimit is missing", id="a spec field that it lacks"),
        pytest.param(other, "spec.seed is of type string, not integer", id="a field of another type"),
        pytest.param(tighter, "status.conditions[].message has maxLength 10", id="too little room in status"),
        pytest.param(fewer, "status.phase does not take Evaluating", id="a word that it does not know"),
        pytest.param(demanding, "status.progress is required", id="a field that it asks for"),
        pytest.param(lax, "spec lacks the rule that environmentRef cannot change", id="a rule that it lacks"),
        pytest.param(gone, "version v1alpha1 is not served", id="another version"),
        pytest.param(going, "it is being deleted, and held by example.com/keep", id="being deleted"),
        pytest.param(newer, "", id="a newer one that only adds"),
    ],
)
def test_what_fits(change: Any, says: str) -> None:
    definition = copy.deepcopy(served("TrainingJob"))
    change(definition)
    found = misfit(JOBS, definition)
    name = "CustomResourceDefinition trainingjobs.checkrein.dev does not fit this operator: "
    assert found.startswith(name + says) if says else found == ""
    assert bool(says) == found.endswith(MEND)


def test_one_that_is_not_there_does_not_fit() -> None:
    assert "it is not installed" in misfit(JOBS, None)


def definition_of(server: Server, kind: str) -> Raw:
    return server.send("GET", f"{PATH}/{BY_KIND[kind].plural}.checkrein.dev")


@pytest.fixture
def server(controlplane: ControlPlane) -> Iterator[Server]:
    """An API server whose CRDs are as they were afterwards."""
    yield Server(controlplane.kubeconfig)
    mend(controlplane)


def mend(controlplane: ControlPlane) -> None:
    """What a person does whom the operator told to."""
    controlplane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    controlplane.kubectl.established()


def until(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, 180, otherwise=lambda: ClusterError(f"not so: {what}"))


@pytest.mark.controlplane
@pytest.mark.parametrize("kind", BY_KIND)
def test_what_is_installed_fits(server: Server, controlplane: ControlPlane, kind: str) -> None:
    controlplane.kubectl.apply_crds()
    assert misfit(BY_KIND[kind], definition_of(server, kind)) == ""


def replaced(server: Server, kind: str, change: Any) -> None:
    """The installed definition, changed."""
    for _ in range(5):
        definition = definition_of(server, kind)
        change(definition)
        try:
            server.send("PUT", f"{PATH}/{definition['metadata']['name']}", definition)
            return
        except Refused as refused:
            if refused.status != 409:
                raise


@pytest.mark.controlplane
@pytest.mark.store
def test_nothing_is_done_while_a_definition_does_not_fit(
    server: Server, standin: Standin, operator: Operator, controlplane: ControlPlane
) -> None:
    namespace = "another-release"
    standin.join(namespace)
    replaced(server, "TrainingJob", older)
    until(lambda: operator.get("/readyz")[0] == 503, "unready")
    assert "status.checkpoint is missing" in operator.get("/readyz")[1]
    assert MEND in operator.process.log.read_text()
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    operator.stop()
    operator.start(ready=503)  # likewise from the start
    assert writes(controlplane.audit_log, namespace) == []
    mend(controlplane)
    standin.until_said("RLEnvironment", namespace, "cartpole", "Ready", "Probed")
    assert operator.get("/readyz") == (200, "ok")


@pytest.mark.controlplane
@pytest.mark.store
def test_a_definition_that_is_deleted_and_comes_back(
    server: Server, standin: Standin, operator: Operator, controlplane: ControlPlane
) -> None:
    namespace = "back-again"
    standin.join(namespace)
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.until_said("RLEnvironment", namespace, "cartpole", "Ready", "Probed")
    server.send("DELETE", f"{PATH}/trainingjobs.checkrein.dev")
    until(lambda: operator.get("/readyz")[0] == 503, "unready")
    assert "trainingjobs.checkrein.dev" in operator.get("/readyz")[1]
    until(lambda: not _exists(server, "TrainingJob"), "gone")
    mend(controlplane)
    until(lambda: operator.get("/readyz")[0] == 200, "ready again")
    standin.create("TrainingJob", namespace, job(gates=[]))
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Published")
    assert operator.process.alive()


def _exists(server: Server, kind: str) -> bool:
    try:
        definition_of(server, kind)
    except Refused:
        return False
    return True
