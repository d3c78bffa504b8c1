"""Training jobs that wait, are refused, fail, are killed - and what is left of each."""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e.world import World

LONG: dict[str, Any] = {
    "algorithm": {"name": "PPO", "hyperparameters": {"n_steps": 128, "batch_size": 64}},
    "budget": {"steps": 24_000},
    "checkpoint": {"everySteps": 2_000, "keep": 2},
}


@pytest.fixture(scope="module")
def trainable(shared: World) -> World:
    """A namespace with a Ready environment."""
    shared.cartpole()
    return shared


def test_a_job_waits_for_its_environment_and_starts_when_it_appears(world: World) -> None:
    world.train("early", "late")
    message = world.until_condition("trainingjob", "early", "Complete", "False", "EnvironmentNotFound")
    assert "spec.environmentRef.name" in message
    assert "late" in message
    world.environment("late", "CartPole-v1", reward={"bounds": {"min": "0", "max": "500"}})
    assert world.trained("early") == "cartpole-1"


def test_an_algorithm_that_cannot_act_there_is_refused(shared: World) -> None:
    shared.environment("pendulum", "Pendulum-v1")
    shared.train("dqn", "pendulum", algorithm={"name": "DQN"})
    message = shared.until_condition("trainingjob", "dqn", "Failed", "True", "UnsuitableAlgorithm")
    assert "spec.algorithm.name: DQN cannot act in action space Box(1)" in message
    assert shared.get("job", "dqn-train-1") == {}, "no pod was started for it"


def test_a_misspelt_hyperparameter_is_refused_before_a_step_is_spent(trainable: World) -> None:
    trainable.train("typo", algorithm={"name": "PPO", "hyperparameters": {"learning_rat": 0.001}})
    message = trainable.until_condition("trainingjob", "typo", "Failed", "True", "InvalidHyperparameters")
    assert "spec.algorithm.hyperparameters.learning_rat" in message
    assert "learning_rate" in message
    assert trainable.get("trainingjob", "typo")["status"]["attempt"] == 1, "another attempt would fail the same way"


def test_what_misses_its_gate_is_not_published_and_its_evaluation_is_kept(trainable: World) -> None:
    trainable.train("weak", gates=[{"atLeast": "499"}], publish={"policy": "weak"})
    message = trainable.until_condition("trainingjob", "weak", "Failed", "True", "GateNotMet")
    assert "499" in message
    assert trainable.get("trainingjob", "weak")["status"]["evaluation"]["episodes"] == 5
    assert trainable.get("policyversion", "weak-1") == {}


@pytest.mark.parametrize(
    "deletion",
    [
        pytest.param(("--grace-period=0", "--force"), id="killed at once (SIGKILL)"),
        pytest.param(("--grace-period=10",), id="told to end (SIGTERM)"),
    ],
)
def test_a_killed_trainer_goes_on_from_its_checkpoint(trainable: World, deletion: tuple[str, ...]) -> None:
    name = "killed" if "--force" in deletion else "told"
    trainable.train(name, **LONG, publish={"policy": name})
    trainable.until("trainingjob", name, lambda o: bool(o["status"].get("checkpoint")), "checkpointed")
    pod = trainable.items("pods", f"job-name={name}-train-1")[0]["metadata"]["name"]
    trainable.kubectl("delete", "pod", pod, *deletion)
    assert trainable.trained(name) == f"{name}-1"
    assert trainable.get("trainingjob", name)["status"]["attempt"] == 2
    assert "resuming from step" in trainable.kubectl("logs", f"job/{name}-train-2")


def test_only_the_newest_checkpoints_are_kept(trainable: World) -> None:
    trainable.train("pruned", **LONG, publish={"policy": "pruned"})
    trainable.trained("pruned")
    uid = trainable.get("trainingjob", "pruned")["metadata"]["uid"]
    runs = f"/data/checkrein-runs/runs/*/{trainable.name}/{uid}/1/train/checkpoints"
    listed = trainable.cluster.kubectl("-n", "checkrein-system", "exec", "minio-0", "--", "sh", "-c", f"ls {runs}")
    assert len(listed.split()) == 2


@pytest.mark.parametrize("phase", ["Running", "Evaluating"])
def test_an_operator_that_dies_loses_and_repeats_nothing(trainable: World, phase: str) -> None:
    name = f"op-{phase.lower()}"
    trainable.train(name, publish={"policy": name})
    trainable.until("trainingjob", name, lambda o: o["status"].get("phase") == phase, phase)
    operator = ("-n", "checkrein-system", "delete", "pod", "-l", "app.kubernetes.io/name=checkrein")
    trainable.cluster.kubectl(*operator, "--grace-period=0", "--force")
    assert trainable.trained(name) == f"{name}-1"
    job = trainable.get("trainingjob", name)
    assert job["status"]["attempt"] == 1
    assert len(trainable.items("jobs", f"checkrein.dev/uid={job['metadata']['uid']}")) == 2


def test_policies_outlive_their_training_job(trainable: World) -> None:
    trainable.train("mortal", publish={"policy": "mortal"})
    version = trainable.trained("mortal")
    trainable.kubectl("delete", "trainingjob", "mortal")
    trainable.until_condition("policyversion", version, "Verified", "True")
    trainable.train("mortal", publish={"policy": "mortal"})
    assert trainable.trained("mortal") == "mortal-2", "a number is never used twice"
