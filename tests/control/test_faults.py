"""What the operator needs is away, wrong or full: it says so, and goes on by itself; nothing is done twice.

An outage of minutes is played in seconds, unless real ones are asked for (`make test-outages`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest
from tests.agent.proxy import Proxy
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.outage import Outage
from tests.cluster.pki import Authority
from tests.cluster.processes import State
from tests.cluster.steps import ClusterError, wait_until
from tests.control.audit import USER
from tests.control.conftest import Operator, trains
from tests.control.objects import ENVIRONMENT, Raw, job
from tests.control.standin import Play, Standin

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
REFUSED = "refused with HTTP status 403; the operator's store user must exist and have the rights"


@pytest.fixture(scope="module")
def own_store(swept: None) -> Iterator[Minio]:
    """A MinIO that may be stopped: nobody else uses it."""
    state = State.create(f"faulty-minio-{os.getpid()}", owned=True)
    try:
        yield Minio(state)
    finally:
        state.remove()


@pytest.fixture(scope="module")
def way(controlplane: ControlPlane) -> Proxy:
    """The operator's way to the API server, to be cut."""
    config = json.loads(controlplane.kubeconfig.read_text())
    return Proxy(config["clusters"][0]["cluster"]["server"])


@pytest.fixture(scope="module")
def operator(controlplane: ControlPlane, own_store: Minio, way: Proxy) -> Iterator[Operator]:
    """An operator with a store and a way to the API server of its own."""
    controlplane.kubectl.apply_crds()
    kubeconfig = Authority(controlplane.kubeconfig.parent).kubeconfig(USER, f"/O=system:masters/CN={USER}", way.url)
    state = State.create(f"faulty-operator-{os.getpid()}", owned=True)
    try:
        yield Operator(state, kubeconfig, own_store, resyncSeconds=2, progressSeconds=0.5, verifySeconds=2)
    finally:
        state.remove()


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """A name of the test's own."""
    return re.sub(r"[^a-z]+", "-", str(request.node.name))[-60:].strip("-")


@pytest.fixture
def play(standin: Standin, namespace: str) -> Play:
    """What happens in the test's namespace."""
    return standin.join(namespace)


def published_once(standin: Standin, namespace: str) -> None:
    """Waits until job `a` has; by one attempt and one evaluation."""
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Published")
    assert standin.names("Job", namespace) == ["a-evaluate-1", "a-train-1", "cartpole-probe-1"]
    assert standin.names("PolicyVersion", namespace) == ["cartpole-1"]


def logged(operator: Operator, words: str) -> bool:
    """Whether its log, since the first start, has them."""
    return words in operator.process.log.read_text()


@pytest.mark.outage
def test_an_api_server_that_is_away_costs_nothing(
    standin: Standin, play: Play, namespace: str, operator: Operator, way: Proxy
) -> None:
    """The trainer goes on and ends meanwhile; the operator waits, or is started again and then waits."""
    trains(standin, play, namespace)
    way.cut()
    outage = Outage()
    try:
        wait_until(lambda: logged(operator, "Unreachable"), 180, otherwise=lambda: ClusterError("unnoticed"))
        play.hold = {"evaluator"}
        standin.until(lambda: ended(standin, namespace, "a-train-1"), "the trainer has ended")
        operator.kill()
        operator.launch()
        waits = "waiting for the API server"
        wait_until(lambda: logged(operator, waits), 180, otherwise=lambda: ClusterError("it does not wait"))
        outage.last()
        operator.process.wait_ready(lambda: operator.get("/livez")[0] == 200)  # its pages come beside that word
        assert operator.get("/readyz")[0] == 503
    finally:
        way.open()
    operator.process.wait_ready(lambda: operator.get("/readyz")[0] == 200)
    play.hold = set()
    published_once(standin, namespace)


def ended(standin: Standin, namespace: str, name: str) -> bool:
    """Whether the Job of this name has."""
    return "completionTime" in (standin.get("Job", namespace, name) or {}).get("status", {})


def test_a_store_that_is_away_before_a_training_is_told_and_waited_for(
    standin: Standin, play: Play, namespace: str, own_store: Minio
) -> None:
    """A probe needs no store."""
    own_store.stop()
    try:
        standin.create("RLEnvironment", namespace, ENVIRONMENT)
        standin.until_said("RLEnvironment", namespace, "cartpole", "Ready", "Probed")
        standin.create("TrainingJob", namespace, job())
        message = standin.until_said("TrainingJob", namespace, "a", "Complete", "StoreUnavailable")
        assert own_store.endpoint in message
        assert "Connection refused" in message
        assert standin.names("Job", namespace) == ["cartpole-probe-1"]
    finally:
        own_store.start()
    published_once(standin, namespace)


def test_wrong_credentials_are_told_and_mended_ones_noticed_without_a_restart(
    standin: Standin, play: Play, namespace: str, operator: Operator
) -> None:
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job())
    standin.until_said("PolicyVersion", namespace, "cartpole-1", "Verified", "Verified")
    operator.has_keys(operator.user.model_copy(update={"secret_key": "rotated" * 4}))
    standin.create("TrainingJob", namespace, job("b"))
    assert REFUSED in standin.until_said("TrainingJob", namespace, "b", "Complete", "AccessDenied")
    message = standin.until_said("PolicyVersion", namespace, "cartpole-1", "Verified", "AccessDenied")
    assert "SignatureDoesNotMatch" in message
    assert standin.said("PolicyVersion", namespace, "cartpole-1", "Verified")[1] == "Unknown", "it may be as it was"
    operator.has_keys(operator.user)
    standin.until_said("PolicyVersion", namespace, "cartpole-1", "Verified", "Verified")
    standin.until_said("TrainingJob", namespace, "b", "Complete", "Published")


def test_an_image_that_is_mended_at_its_registry_needs_no_hand(standin: Standin, play: Play, namespace: str) -> None:
    trains(standin, play, namespace)
    pod: Raw = standin.get("Pod", namespace, "a-train-1-x") or {}
    running = pod["status"]["containerStatuses"]
    words = 'Back-off pulling image "registry.example/own:1": ErrImagePull: not found'
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": words}}
    pulling = {"phase": "Pending", "containerStatuses": [{**running[0], "ready": False, "state": waiting}]}
    standin.patch("Pod", namespace, "a-train-1-x", {"status": pulling}, "status")
    assert standin.until_said("TrainingJob", namespace, "a", "Complete", "ImagePullBackOff") == words
    pulled = {"phase": "Running", "containerStatuses": running}
    standin.patch("Pod", namespace, "a-train-1-x", {"status": pulled}, "status")
    play.hold = set()
    published_once(standin, namespace)


def test_a_store_user_that_is_replaced_takes_no_session_along(
    standin: Standin, play: Play, namespace: str, operator: Operator
) -> None:
    """A session dies with the user that minted it: those of another user are minted anew."""
    trains(standin, play, namespace)

    def rights() -> str:
        secret: Raw = standin.get("Secret", namespace, "a-train-1-store") or {}
        return str(secret["metadata"]["annotations"]["checkrein.dev/rights"])

    before = rights()
    operator.kill()  # it believes for a minute what it has seen
    operator.has_keys(operator.another_user())
    operator.start()
    standin.until(lambda: rights() != before, "minted anew")
    play.hold = set()
    published_once(standin, namespace)
