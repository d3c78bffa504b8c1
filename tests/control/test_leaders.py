"""Two operators on a real API server: one leads; when it goes, is killed, or falls silent, the other one does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from tests.api.server import MERGE, Server
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.cluster.processes import State
from tests.cluster.steps import wait_until
from tests.control.conftest import Operator, named_kubeconfig
from tests.control.objects import ENVIRONMENT
from tests.control.standin import Standin

from checkrein.control.election import holder

pytestmark = [pytest.mark.controlplane, pytest.mark.store]
LEASE = "default/checkrein-operator"
PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases/checkrein-operator"
SECONDS = 180


@pytest.fixture
def two(controlplane: ControlPlane, minio: Minio) -> Iterator[list[Operator]]:
    """The first of them leads."""
    kubeconfig = named_kubeconfig(controlplane)
    states = [State.create(f"operator-{os.getpid()}-{n}", owned=True) for n in "ab"]
    try:
        first = Operator(states[0], kubeconfig, minio, lease=LEASE, resyncSeconds=2)
        leads(first)  # maybe not before the Lease of the test before has run out
        yield [first, Operator(states[1], kubeconfig, minio, lease=LEASE, resyncSeconds=2)]
    finally:
        for state in states:
            state.remove()


def leads(operator: Operator) -> None:
    """Waits until it does."""
    wait_until(lambda: operator.leads, SECONDS, otherwise=lambda: AssertionError("it does not lead"))


def ends(operator: Operator) -> None:
    """Waits until it has."""
    wait_until(lambda: not operator.process.alive(), SECONDS, otherwise=lambda: AssertionError("it goes on"))


def test_one_acts_while_the_other_waits_and_takes_over(
    two: list[Operator], controlplane: ControlPlane, standin: Standin
) -> None:
    first, second = two
    assert second.get("/readyz")[0] == 200
    assert not second.leads
    standin.join("led")
    standin.create("RLEnvironment", "led", ENVIRONMENT)
    standin.until_said("RLEnvironment", "led", "cartpole", "Ready", "Probed")

    first.kill()
    leads(second)
    standin.join("led-again")
    standin.create("RLEnvironment", "led-again", ENVIRONMENT)
    standin.until_said("RLEnvironment", "led-again", "cartpole", "Ready", "Probed")

    first.start()
    second.stop()  # it lets go of the Lease
    leads(first)
    assert Server(controlplane.kubeconfig).send("GET", PATH)["spec"]["leaseTransitions"] >= 2


def test_a_leader_that_is_told_to_end_hands_over_at_once(two: list[Operator], controlplane: ControlPlane) -> None:
    first, second = two
    os.kill(second.process.identity.pid, signal.SIGSTOP)  # so that the Lease can be seen as it is left
    os.kill(first.process.identity.pid, signal.SIGTERM)
    ends(first)
    left = Server(controlplane.kubeconfig).send("GET", PATH)
    assert holder(left) == "", "the other one has to wait for the Lease to run out"
    os.kill(second.process.identity.pid, signal.SIGCONT)
    leads(second)
    log = first.process.log.read_text()
    assert "told to end" in log
    assert "Traceback" not in log


def test_a_leader_that_was_silent_for_too_long_does_not_act_when_it_wakes(
    two: list[Operator], controlplane: ControlPlane
) -> None:
    first, second = two
    os.kill(first.process.identity.pid, signal.SIGSTOP)
    leads(second)
    os.kill(first.process.identity.pid, signal.SIGCONT)
    ends(first)
    assert second.leads


def test_a_leader_whose_lease_was_taken_away_ends(two: list[Operator], controlplane: ControlPlane) -> None:
    first, _ = two
    taken = {"spec": {"holderIdentity": "somebody-else"}}
    Server(controlplane.kubeconfig).send("PATCH", PATH, taken, content_type=MERGE)
    ends(first)
