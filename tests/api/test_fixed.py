"""What can change after creation and what cannot, on a real API server, free-form arguments included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.api.objects import DIGEST, MISSING, agent, changed, environment, policy_version, training
from tests.api.server import Refused, Server

pytestmark = pytest.mark.controlplane
Raw = dict[str, Any]


class Kept:
    """Objects that exist for one test."""

    def __init__(self, server: Server) -> None:
        self._server, self._objects = server, list[Raw]()

    def create(self, obj: Raw, status: Raw | None = None) -> Raw:
        """Creates it, with a status where one is given; returns what the server has."""
        self._objects.append(obj)
        created = self._server.create(obj)
        return self._server.patch(created, {"status": status}, "status") if status else created

    def remove(self) -> None:
        for obj in self._objects:
            self._server.delete(obj)


@pytest.fixture
def kept(server: Server) -> Iterator[Kept]:
    objects = Kept(server)
    yield objects
    objects.remove()


FIXED_IN_TRAINING = [
    pytest.param("spec.environmentRef.name", "other", id="the environment"),
    pytest.param("spec.algorithm.name", "DQN", id="the algorithm"),
    pytest.param("spec.algorithm.hyperparameters.n_steps", 2048, id="a hyperparameter"),
    pytest.param("spec.algorithm.hyperparameters.deep.x", [1, 0.25], id="a value deep inside a hyperparameter"),
    pytest.param("spec.algorithm.hyperparameters.gamma", 0.9, id="one more hyperparameter"),
    pytest.param("spec.algorithm.hyperparameters.n_steps", MISSING, id="one hyperparameter less"),
    pytest.param("spec.algorithm.hyperparameters", MISSING, id="no hyperparameters any more"),
    pytest.param("spec.algorithm.network.hidden", [64], id="the network"),
    pytest.param("spec.budget.steps", 1, id="the budget"),
    pytest.param("spec.budget.duration", MISSING, id="no duration any more"),
    pytest.param("spec.environments", 4, id="environment copies"),
    pytest.param("spec.environments", MISSING, id="environment copies back to the default"),
    pytest.param("spec.seed", 2, id="the seed"),
    pytest.param("spec.checkpoint.keep", 3, id="checkpoints"),
    pytest.param("spec.evaluation.episodes", 10, id="the evaluation"),
    pytest.param("spec.gates", MISSING, id="no gates any more"),
    pytest.param("spec.gates.0.atLeast", "1", id="a lower bar"),
    pytest.param("spec.publish.policy", "other", id="the policy's name"),
    pytest.param("spec.tracking.mlflow.uri", "http://elsewhere", id="a tracker"),
    pytest.param("spec.tracking", MISSING, id="no trackers any more"),
    pytest.param("spec.template.nodeSelector.zone", "a", id="where pods run"),
]


@pytest.mark.parametrize(("path", "value"), FIXED_IN_TRAINING)
def test_a_training_job_keeps(server: Server, kept: Kept, path: str, value: Any) -> None:
    created = kept.create(training())
    field = path.split(".")[1]
    with pytest.raises(Refused, match=f"{field} cannot change after creation; create another TrainingJob"):
        server.replace(changed(created, path, value))


@pytest.mark.parametrize("field", ["backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"])
@pytest.mark.parametrize("value", [7, MISSING], ids=["another value", "none"])
def test_a_training_job_may_change(server: Server, kept: Kept, field: str, value: Any) -> None:
    created = kept.create(training())
    replaced = server.replace(changed(created, f"spec.{field}", value))
    assert replaced["spec"].get(field) == (value if value is not MISSING else {"backoffLimit": 3}.get(field))


def test_a_training_job_may_be_suspended_and_resumed(server: Server, kept: Kept) -> None:
    suspended = server.replace(changed(kept.create(training()), "spec.suspend", True))
    assert suspended["spec"]["suspend"] is True
    assert server.replace(changed(suspended, "spec.suspend", False))["spec"]["suspend"] is False


def test_every_field_of_a_training_job_is_either_fixed_or_named_as_mutable() -> None:
    named = {param.values[0].split(".")[1] for param in FIXED_IN_TRAINING}  # type: ignore[union-attr]
    mutable = {"suspend", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"}
    assert named | mutable == set(training()["spec"])


CHANGES_OF_ENVIRONMENT = [
    pytest.param("spec.version", "2", id="the version"),
    pytest.param("spec.source.gymnasium.id", "CartPole-v0", id="the source"),
    pytest.param("spec.source.gymnasium.kwargs.sutton_barto_reward", True, id="an argument"),
    pytest.param("spec.source.gymnasium.kwargs.deep.x", [1, 3], id="a value deep inside an argument"),
    pytest.param("spec.source.gymnasium.kwargs.more", 1, id="one more argument"),
    pytest.param("spec.source.gymnasium.kwargs", MISSING, id="no arguments any more"),
    pytest.param("spec.image", MISSING, id="no image any more"),
    pytest.param("spec.reward.success", "400", id="the goal"),
    pytest.param("spec.safety.maxEpisodeSteps", 100, id="the length of episodes"),
]


@pytest.mark.parametrize(("path", "value"), CHANGES_OF_ENVIRONMENT)
def test_an_environment_with_a_digest_keeps(server: Server, kept: Kept, path: str, value: Any) -> None:
    created = kept.create(environment(), {"digest": DIGEST})
    with pytest.raises(Refused, match=r"spec cannot change once status\.digest is set; create another RLEnvironment"):
        server.replace(changed(created, path, value))


@pytest.mark.parametrize(("path", "value"), CHANGES_OF_ENVIRONMENT)
def test_an_environment_without_a_digest_may_change(server: Server, kept: Kept, path: str, value: Any) -> None:
    created = kept.create(environment(), {"phase": "Failed"})
    assert server.replace(changed(created, path, value))["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"digest": None}, id="no digest any more"),
        pytest.param({"digest": "sha256:" + "0" * 64}, id="another digest"),
        pytest.param(None, id="no status any more"),
    ],
)
def test_an_environment_keeps_its_digest_and_with_it_its_spec(server: Server, kept: Kept, status: Any) -> None:
    created = kept.create(environment(), {"digest": DIGEST})
    with pytest.raises(Refused, match=r"status\.digest cannot change once it is set"):
        server.patch(created, {"status": status}, "status")


def test_an_environment_cannot_shed_its_digest_along_with_its_spec(server: Server, kept: Kept) -> None:
    created = kept.create(environment(), {"digest": DIGEST})
    with pytest.raises(Refused, match=r"spec cannot change"):
        server.patch(created, {"status": None, "spec": {"version": "2"}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("spec.artifact.digest", "sha256:" + "0" * 64, id="the artifact"),
        pytest.param("spec.artifact.versionId", "other", id="the artifact's version id"),
        pytest.param("spec.interface.action.start", MISSING, id="the interface"),
        pytest.param("spec.evaluation.lowerBound", "499", id="what the evaluation showed"),
        pytest.param("spec.evaluation.lowerBound", MISSING, id="no bound any more"),
        pytest.param("spec.provenance.seed", 2, id="where it comes from"),
    ],
)
def test_a_policy_version_keeps(server: Server, kept: Kept, path: str, value: Any) -> None:
    created = kept.create(policy_version())
    with pytest.raises(Refused, match=r"spec cannot change; publish another version"):
        server.replace(changed(created, path, value))


def test_labels_and_status_of_fixed_objects_may_change(server: Server, kept: Kept) -> None:
    created = kept.create(policy_version(), {"phase": "Verified", "usedBy": ["agentdeployment/cartpole"]})
    labelled = server.patch(created, {"metadata": {"labels": {"team": "games"}}})
    assert labelled["status"]["phase"] == "Verified"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("spec.decisionLog.volume.size", "2Gi", id="a larger one"),
        pytest.param("spec.decisionLog.volume", MISSING, id="none any more"),
        pytest.param("spec.decisionLog", MISSING, id="nothing said of the log any more"),
    ],
)
def test_an_agent_deployment_keeps_its_volume(server: Server, kept: Kept, path: str, value: Any) -> None:
    created = kept.create(agent())
    with pytest.raises(Refused, match="volume cannot change after creation; create another AgentDeployment") as refusal:
        server.replace(changed(created, path, value))
    assert "spec.decisionLog.volume" in refusal.value.message


def test_nor_does_it_get_one_later(server: Server, kept: Kept) -> None:
    created = kept.create(changed(agent(), "spec.decisionLog", MISSING))
    with pytest.raises(Refused, match="volume cannot change after creation"):
        server.replace(changed(created, "spec.decisionLog.volume", {"size": "1Gi"}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("spec.override", MISSING, id="no override any more"),
        pytest.param("spec.override.until", "2027-01-01T00:00:00Z", id="another end"),
        pytest.param("spec.fallback.action", [1, 0], id="another fallback"),
        pytest.param("spec.limits", {"decisionsPerSecond": 1}, id="other limits"),
        pytest.param("spec.exploration", MISSING, id="no exploration any more"),
        pytest.param("spec.shield", [], id="no rules any more"),
        pytest.param("spec.episodeDeadline", "1h", id="longer episodes"),
        pytest.param("spec.decisionLog.observations", "Digest", id="less in the log"),
        pytest.param("spec.auth.reporters", [], id="no reporters any more"),
    ],
)
def test_an_agent_deployment_may_change_its(server: Server, kept: Kept, path: str, value: Any) -> None:
    created = kept.create(agent())
    assert server.replace(changed(created, path, value))["metadata"]["generation"] == 2


def test_an_agent_deployment_may_change(server: Server, kept: Kept) -> None:
    created = kept.create(agent())
    assert server.replace(changed(created, "spec.policyVersion", "cartpole-2"))["metadata"]["generation"] == 2
