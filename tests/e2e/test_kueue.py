"""Training in Kueue's queues: it starts and stops the Jobs, by its own word alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.cluster import Cluster, external
from tests.cluster.fixtures import Seen
from tests.cluster.steps import ClusterError, wait_until
from tests.e2e import kueue
from tests.e2e.test_training import LONG
from tests.e2e.world import PATIENCE, SMALL, World, condition

TRAINING_JOB = "trainingjob"
QUEUED = {"kueue.x-k8s.io/queue-name": "training"}
CLUSTER_QUEUE, FLAVOR = "tests", "default"
ENDLESS = {**LONG, "budget": {"steps": 10_000_000}}
ROOM = {"cpu": SMALL["requests"]["cpu"], "memory": SMALL["requests"]["memory"]}  # for one Job at a time

pytestmark = [
    pytest.mark.skipif(external() is not None, reason="Kueue's program is on this machine's own node only"),
    pytest.mark.timeout(1800),  # the first time it is built
]


def named(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": kueue.API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def installed(checkrein: Cluster, seen: Seen) -> Iterator[Cluster]:
    with seen():
        kueue.install(checkrein)
    yield checkrein
    kueue.uninstall(checkrein)


@pytest.fixture
def queue(installed: Cluster, world: World) -> Iterator[World]:
    """A namespace with a queue that has room for one Job."""
    flavor = {"name": FLAVOR, "resources": [{"name": name, "nominalQuota": size} for name, size in ROOM.items()]}
    groups = [{"coveredResources": list(ROOM), "flavors": [flavor]}]
    installed.kubectl.apply(
        named("ResourceFlavor", FLAVOR, {}),
        named("ClusterQueue", CLUSTER_QUEUE, {"namespaceSelector": {}, "resourceGroups": groups}),
    )
    installed.kubectl.apply(
        named("LocalQueue", QUEUED["kueue.x-k8s.io/queue-name"], {"clusterQueue": CLUSTER_QUEUE}), namespace=world.name
    )
    yield world
    world.kubectl("delete", f"{TRAINING_JOB}s", "--all", seconds=300)
    world.kubectl("delete", "localqueue", "--all", seconds=300)
    installed.kubectl("delete", "clusterqueue", CLUSTER_QUEUE, seconds=300)
    installed.kubectl("delete", "resourceflavor", FLAVOR, seconds=300)


def test_jobs_train_in_turn_and_one_that_is_evicted_goes_on_as_the_same_attempt(queue: World) -> None:
    queue.cartpole()
    queue.train("first", labels=QUEUED, **ENDLESS)
    queue.until(TRAINING_JOB, "first", lambda o: bool(o["status"].get("checkpoint")), "checkpointed")
    queue.train("second", labels=QUEUED)
    message = queue.until_condition(TRAINING_JOB, "second", "Complete", "False", "Queued")
    assert "admission by queue 'training'" in message
    assert queue.get("job", "second-train-1")["spec"]["suspend"] is True

    stop_policy(queue, "HoldAndDrain")
    queue.until_condition(TRAINING_JOB, "first", "Complete", "False", "Queued")
    gone = lambda: not queue.items("pod", "batch.kubernetes.io/job-name=first-train-1")  # noqa: E731
    wait_until(gone, PATIENCE, otherwise=lambda: ClusterError("the evicted Job's pod stays"))
    stop_policy(queue, "None")  # and Kueue lets the other one go first
    queue.until(
        TRAINING_JOB,
        "first",
        lambda o: "is training" in condition(o, "Complete")["message"],
        "training again",
        2 * PATIENCE,
    )
    read = lambda: "resuming from step" in queue.kubectl("logs", "job/first-train-1")  # noqa: E731
    wait_until(read, PATIENCE, otherwise=lambda: ClusterError("the evicted Job began anew"))
    assert queue.get(TRAINING_JOB, "first")["status"]["attempt"] == 1

    queue.kubectl("delete", TRAINING_JOB, "first")
    assert queue.trained("second") == "cartpole-1"


def stop_policy(queue: World, policy: str) -> None:
    queue.cluster.kubectl(
        "patch", "clusterqueue", CLUSTER_QUEUE, "--type=merge", "-p", f'{{"spec": {{"stopPolicy": "{policy}"}}}}'
    )
