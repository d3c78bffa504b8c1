"""The operator's process on a real API server and a real store; pods are played."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio
from tests.control.audit import writes
from tests.control.builders import PENDULUM, version
from tests.control.conftest import Operator, metric, trains
from tests.control.objects import AGENT, ENVIRONMENT, Raw, job
from tests.control.standin import PROGRESS, Ending, Play, Standin

from checkrein.api.meta import API_VERSION
from checkrein.api.policy import Artifact, KeptRecording
from checkrein.api.tasks import Failure, ProbeReport, TrainingReport
from checkrein.control.kinds import OWN
from checkrein.store import artifacts, recordings

pytestmark = [pytest.mark.controlplane, pytest.mark.store]


def test_from_an_environment_to_a_policy_that_acts(
    standin: Standin, play: Play, namespace: str, operator: Operator, controlplane: ControlPlane
) -> None:
    play.hold = {"trainer"}
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job())
    standin.create("AgentDeployment", namespace, AGENT)

    assert "observation Box(4); action Discrete(2)" in standin.until_said(
        "RLEnvironment", namespace, "cartpole", "Ready", "Probed"
    )
    standin.until(lambda: _status(standin, namespace).get("progress") == PROGRESS.progress.dump(), "progress is shown")
    assert _status(standin, namespace)["checkpoint"]["step"] == 2000
    play.hold = set()
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Published")
    standin.until_said("PolicyVersion", namespace, "cartpole-1", "Verified", "Verified")
    assert "cartpole-1 decides on 2 of 2" in standin.until_said(
        "AgentDeployment", namespace, "cartpole", "Ready", "Deciding"
    )

    agent = standin.get("AgentDeployment", namespace, "cartpole")
    version = standin.get("PolicyVersion", namespace, "cartpole-1")
    assert agent
    assert version
    assert (agent["status"]["epoch"], agent["status"]["stable"]["name"]) == (1, "cartpole-1")
    assert "ownerReferences" not in version["metadata"]
    loaded = artifacts.load(operator.store("policies"), Artifact.model_validate(version["spec"]["artifact"]))
    assert loaded.files == {"policy.onnx": b"network of seed 0"}
    recording = recordings.load(operator.store("policies"), KeptRecording.model_validate(version["spec"]["recording"]))
    assert (len(recording.returns), recording.parent) == (version["spec"]["evaluation"]["episodes"], None)
    _only_status_is_written(standin, namespace)
    _every_write_is_of_our_own_kind(controlplane, namespace)
    _events_tell_the_story(standin, namespace)


def _status(standin: Standin, namespace: str) -> Raw:
    found: Raw = (standin.get("TrainingJob", namespace, "a") or {}).get("status", {})
    return found


def _only_status_is_written(standin: Standin, namespace: str) -> None:
    """No finalizer, no annotation, and no field but status carries the operator's name."""
    for kind in OWN:
        for obj in standin.all(kind.kind, namespace):
            meta = obj["metadata"]
            assert not {"finalizers", "annotations"} & set(meta), meta
            managed = [m for m in meta["managedFields"] if m["manager"] == "checkrein" and m["operation"] == "Apply"]
            assert [(m["subresource"], set(m["fieldsV1"])) for m in managed] == [("status", {"f:status"})]


def _every_write_is_of_our_own_kind(controlplane: ControlPlane, namespace: str) -> None:
    """Status by patch, children by create or apply, Events; each child written once."""
    counted = Counter(writes(controlplane.audit_log, namespace))
    children = {w: n for w, n in counted.items() if "/status" not in w and not w.startswith("create events")}
    assert children == {
        "create jobs/cartpole-probe-1": 1,
        "create jobs/a-train-1": 1,
        "create jobs/a-evaluate-1": 1,
        "create policyversions/cartpole-1": 1,
        "create secrets/cartpole-agent-token": 1,
        "patch secrets/a-train-1-store": 1,
        "patch secrets/a-evaluate-1-store": 1,
        "patch secrets/cartpole-agent-store": 1,
        "patch serviceaccounts/cartpole-agent": 1,
        "patch roles/cartpole-agent": 1,
        "patch rolebindings/cartpole-agent": 1,
        "patch services/cartpole-agent": 1,
        "patch services/cartpole-agent-pods": 1,
        "patch statefulsets/cartpole-agent": 1,
        "patch poddisruptionbudgets/cartpole-agent": 1,
    }


def _events_tell_the_story(standin: Standin, namespace: str) -> None:
    last = {"Probed", "Published", "Verified", "Complete", "Deciding"}  # of each object
    standin.until(lambda: last <= _reasons(standin, namespace), "Events follow the status")
    told = sorted(standin.all("Event", namespace), key=lambda e: str(e["eventTime"]))
    about = {kind.kind: [e["reason"] for e in told if e["regarding"]["kind"] == kind.kind] for kind in OWN}
    assert about["RLEnvironment"] == ["Probing", "Probed"]
    assert about["TrainingJob"][-4:] == ["Training", "Evaluating", "Publishing", "Published"]
    assert about["PolicyVersion"] == ["Verified"]
    deployed = [reason for reason in about["AgentDeployment"] if reason != "Durable"]
    assert deployed[-2:] in (["Complete", "Deciding"], ["Deciding", "Complete"])
    assert all(e["metadata"]["name"].startswith(f"{e['regarding']['name']}-") for e in told)


def test_in_a_steady_state_nothing_is_written(
    standin: Standin, play: Play, namespace: str, operator: Operator, controlplane: ControlPlane
) -> None:
    play.hold = {"trainer"}
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job())
    standin.create("AgentDeployment", namespace, AGENT)
    standin.until(lambda: "progress" in _status(standin, namespace), "the trainer was asked")
    standin.until_said("AgentDeployment", namespace, "cartpole", "Ready", "NoPolicy")
    # A replica that was too slow to answer is asked again after half a minute; what it says then is news.
    standin.until(lambda: _replicas_were_heard(standin, namespace), "both replicas are known, and were asked")
    _two_resyncs(standin, operator)
    before = writes(controlplane.audit_log, namespace)
    _two_resyncs(standin, operator)
    assert writes(controlplane.audit_log, namespace)[len(before) :] == []


def _replicas_were_heard(standin: Standin, namespace: str) -> bool:
    status = (standin.get("AgentDeployment", namespace, "cartpole") or {}).get("status", {})
    return status.get("readyReplicas") == 2 and "Durable" in _reasons(standin, namespace)


def _two_resyncs(standin: Standin, operator: Operator) -> None:
    """Each of them 2 s after the last or later; progress is read four times in that time."""
    seen = metric(operator, "checkrein_resyncs_total")
    standin.until(lambda: metric(operator, "checkrein_resyncs_total") >= seen + 2, "two comparisons with a list")


def test_the_second_version_is_held_beside_the_first(
    standin: Standin, play: Play, namespace: str, operator: Operator
) -> None:
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    for name, number in (("a", 1), ("b", 2)):
        standin.create("TrainingJob", namespace, job(name, seed=number))
        standin.until_said("TrainingJob", namespace, name, "Complete", "Published")
    second = standin.get("PolicyVersion", namespace, "cartpole-2")
    assert second
    told = recordings.load(operator.store("policies"), KeptRecording.model_validate(second["spec"]["recording"]))
    assert told.parent
    assert told.parent.name == "cartpole-1", "which the evaluator's own session could read"


def test_a_job_waits_for_its_environment(standin: Standin, play: Play, namespace: str) -> None:
    play.hold = {"trainer"}
    standin.create("TrainingJob", namespace, job())
    message = standin.until_said("TrainingJob", namespace, "a", "Complete", "EnvironmentNotFound")
    assert message.startswith("spec.environmentRef.name: no RLEnvironment 'cartpole'")
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Training")


@pytest.mark.parametrize(
    ("change", "ending", "reason", "words"),
    [
        pytest.param({"gates": [{"atLeast": "499.9"}]}, None, "GateNotMet", "is below the 499.9 asked for", id="gate"),
        pytest.param(
            {},
            Ending(
                TrainingReport(
                    failure=Failure(reason="UnknownHyperparameter", message="spec.algorithm: n_step", permanent=True)
                ),
                2,
            ),
            "UnknownHyperparameter",
            "spec.algorithm: n_step",
            id="misspelt",
        ),
        pytest.param({"backoffLimit": 0}, Ending(None, 137), "BackoffLimitExceeded", "exit code 137", id="killed"),
    ],
)
def test_a_job_that_fails_publishes_nothing(
    standin: Standin, play: Play, namespace: str, change: Raw, ending: Ending | None, reason: str, words: str
) -> None:
    if ending:
        play.endings["a-train-1"] = ending
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job(**change))
    assert words in standin.until_said("TrainingJob", namespace, "a", "Failed", reason)
    assert standin.names("PolicyVersion", namespace) == []
    assert ("evaluation" in _status(standin, namespace)) is (reason == "GateNotMet")


def test_a_killed_trainer_is_followed_by_another_attempt(standin: Standin, play: Play, namespace: str) -> None:
    play.endings["a-train-1"] = Ending(None, 137, ahead=50)  # so that the pause is not over before anybody looks
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job())
    assert "exit code 137" in standin.until_said("TrainingJob", namespace, "a", "Complete", "Retrying")
    standin.ended_now(namespace, "a-train-1")
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Published")
    assert _status(standin, namespace)["attempt"] == 2
    assert "a-train-3" not in standin.names("Job", namespace)


def test_a_pod_that_no_watch_shows_is_read(standin: Standin, play: Play, namespace: str) -> None:
    play.unlabelled = True
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job(gates=[]))
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Published")
    assert _status(standin, namespace)["attempt"] == 1


def test_dqn_is_refused_where_actions_are_continuous(standin: Standin, play: Play, namespace: str) -> None:
    play.endings["cartpole-probe-1"] = Ending(ProbeReport(interface=PENDULUM))
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job(algorithm={"name": "DQN"}))
    message = standin.until_said("TrainingJob", namespace, "a", "Failed", "UnsuitableAlgorithm")
    assert message.startswith("spec.algorithm.name: DQN cannot act in action space Box(4); use PPO or A2C or SAC or ")
    assert standin.names("Job", namespace) == ["cartpole-probe-1"]


def test_what_is_deleted_while_the_operator_is_away_is_noticed(
    standin: Standin, play: Play, namespace: str, operator: Operator
) -> None:
    trains(standin, play, namespace)
    operator.kill()
    standin.delete("Job", namespace, "a-train-1")
    operator.start()
    standin.until(lambda: "a-train-2" in standin.names("Job", namespace), "another attempt")
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Training")


def test_a_version_that_points_at_other_bytes_is_rejected(standin: Standin, play: Play, namespace: str) -> None:
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job(gates=[]))
    standin.until_said("PolicyVersion", namespace, "cartpole-1", "Verified", "Verified")
    spec = (standin.get("PolicyVersion", namespace, "cartpole-1") or {})["spec"]
    spec["version"], spec["artifact"]["digest"] = 2, f"sha256:{'0' * 64}"
    spec["artifact"]["key"] = f"sha256/00/{'0' * 64}"
    standin.create("PolicyVersion", namespace, {"metadata": {"name": "cartpole-2"}, "spec": spec})
    standin.until(lambda: standin.said("PolicyVersion", namespace, "cartpole-2", "Verified")[1] == "False", "rejected")
    reason, _, message = standin.said("PolicyVersion", namespace, "cartpole-2", "Verified")
    assert reason in ("NotFound", "StoreRefused")
    assert "0" * 64 in message
    standin.create("AgentDeployment", namespace, {**AGENT, "spec": {"policyVersion": "cartpole-2"}})
    assert reason in standin.until_said("AgentDeployment", namespace, "cartpole", "Progressing", "PolicyNotVerified")


def test_a_version_knows_who_uses_it_until_that_is_gone(standin: Standin, play: Play, namespace: str) -> None:
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job(gates=[]))
    standin.create("AgentDeployment", namespace, AGENT)

    def used_by() -> Any:
        return (standin.get("PolicyVersion", namespace, "cartpole-1") or {}).get("status", {}).get("usedBy", [])

    standin.until(lambda: used_by() == ["agentdeployment/cartpole"], "used")
    standin.delete("AgentDeployment", namespace, "cartpole")
    standin.until(lambda: used_by() == [], "not used")


def test_a_quota_is_told_and_survived(standin: Standin, play: Play, namespace: str) -> None:
    quota = f"/api/v1/namespaces/{namespace}/resourcequotas"
    hard = {"count/jobs.batch": "0"}
    standin.server.send("POST", quota, {"metadata": {"name": "none"}, "spec": {"hard": hard}})
    counted = {"status": {"hard": hard, "used": hard}}  # the quota controller's part
    standin.server.send("PATCH", f"{quota}/none/status", counted, content_type="application/merge-patch+json")
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    words = "exceeded quota: none, requested: count/jobs.batch=1"  # the API server may not know what is used at first
    standin.until(
        lambda: words in standin.said("RLEnvironment", namespace, "cartpole", "Ready")[2], "the quota is told"
    )
    assert standin.said("RLEnvironment", namespace, "cartpole", "Ready")[0] == "Forbidden"
    standin.server.send("DELETE", f"{quota}/none")
    standin.until_said("RLEnvironment", namespace, "cartpole", "Ready", "Probed")


FOREIGN_JOB = {
    "metadata": {"name": "cartpole-probe-1"},
    "spec": {
        "suspend": True,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "registry.example/x"}]}},
    },
}
FOREIGN_SERVICE = {"metadata": {"name": "cartpole-agent"}, "spec": {"ports": [{"port": 80}]}}
FOREIGN_SECRET = {"metadata": {"name": "cartpole-agent-token"}, "stringData": {"key": "somebody's"}}


def test_a_store_that_lost_its_data_is_named_and_nothing_is_published_over_what_there_was(
    standin: Standin, play: Play, namespace: str
) -> None:
    """The cluster has a version of which this store knows neither number nor bytes."""
    former = version("cartpole-1", uid="former-uid").spec.dump()
    former["artifact"]["versionId"] = "00000000-0000-4000-8000-000000000000"
    made = standin.create("PolicyVersion", namespace, {"metadata": {"name": "cartpole-1"}, "spec": former})
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job())
    message = standin.until_said("TrainingJob", namespace, "a", "Complete", "StoreLostData")
    assert message.startswith("PolicyVersion cartpole-1 exists, but the store knows neither its artifact nor")
    standin.until(lambda: "StoreLostData" in _reasons(standin, namespace), "an Event says so")
    assert _version(standin, namespace)["spec"] == made["spec"]

    standin.delete("PolicyVersion", namespace, "cartpole-1")
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Published")
    assert _version(standin, namespace)["spec"]["provenance"]["uid"] != "former-uid"


def _reasons(standin: Standin, namespace: str) -> set[str]:
    return {event["reason"] for event in standin.all("Event", namespace)}


def _version(standin: Standin, namespace: str) -> Raw:
    found = standin.get("PolicyVersion", namespace, "cartpole-1")
    assert found
    return found


@pytest.mark.parametrize(
    ("kind", "foreign", "ours", "main"),
    [
        pytest.param("Job", FOREIGN_JOB, ("RLEnvironment", ENVIRONMENT), "Ready", id="created"),
        pytest.param("Service", FOREIGN_SERVICE, ("AgentDeployment", AGENT), "Progressing", id="applied"),
        pytest.param("Secret", FOREIGN_SECRET, ("AgentDeployment", AGENT), "Progressing", id="secret"),
    ],
)
def test_what_somebody_else_made_is_left_alone(
    standin: Standin, play: Play, namespace: str, kind: str, foreign: Raw, ours: tuple[str, Raw], main: str
) -> None:
    name = foreign["metadata"]["name"]
    made = standin.create(kind, namespace, foreign)
    standin.create(ours[0], namespace, ours[1])
    message = standin.until_said(ours[0], namespace, "cartpole", main, "NameTaken")
    assert message == f"{kind} {name} exists and belongs to something else"
    assert standin.get(kind, namespace, name) == made
    standin.delete(kind, namespace, name)
    standin.until(lambda: standin.said(ours[0], namespace, "cartpole", main)[0] != "NameTaken", "goes on")


def test_a_store_that_is_away_is_told_and_waited_for(
    standin: Standin, play: Play, namespace: str, minio: Minio
) -> None:
    play.hold = {"evaluator"}
    standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.create("TrainingJob", namespace, job())
    standin.until(lambda: "a-evaluate-1-x" in standin.names("Pod", namespace), "the evaluator runs")
    minio.stop()
    try:
        standin.patch("TrainingJob", namespace, "a", {"metadata": {"labels": {"look": "again"}}})
        assert "cannot" in standin.until_said("TrainingJob", namespace, "a", "Complete", "StoreUnavailable")
    finally:
        minio.start()
    play.hold = set()
    standin.until_said("TrainingJob", namespace, "a", "Complete", "Published")


def test_a_session_is_renewed_in_the_second_half_of_its_life(
    standin: Standin, play: Play, namespace: str, operator: Operator
) -> None:
    trains(standin, play, namespace)

    def session() -> str:
        secret: Raw = standin.get("Secret", namespace, "a-train-1-store") or {}
        return str(secret["data"]["credentials.json"])

    operator.kill()  # it believes for a minute what it has seen
    first = session()
    soon = (datetime.now(UTC) + timedelta(minutes=29)).isoformat()
    renew = {"metadata": {"annotations": {"checkrein.dev/expires": soon}}}
    standin.patch("Secret", namespace, "a-train-1-store", renew)
    operator.start()
    standin.until(lambda: session() != first, "renewed")


def test_a_session_that_may_other_things_than_it_should_is_replaced(
    standin: Standin, play: Play, namespace: str, operator: Operator
) -> None:
    standin.create("AgentDeployment", namespace, AGENT)
    standin.until(lambda: standin.get("Secret", namespace, "cartpole-agent-store") is not None, "a session")

    def rights() -> str:
        secret: Raw = standin.get("Secret", namespace, "cartpole-agent-store") or {}
        return str(secret["metadata"]["annotations"].get("checkrein.dev/rights", ""))

    operator.kill()
    first = rights()
    before = {"metadata": {"annotations": {"checkrein.dev/rights": None}}}  # as from a release before
    standin.patch("Secret", namespace, "cartpole-agent-store", before)
    operator.start()
    standin.until(lambda: rights() == first, "minted anew")


def test_token_keys_are_added_and_outlived_ones_dropped_and_the_one_that_tells_arms_stays(
    standin: Standin, play: Play, namespace: str, operator: Operator
) -> None:
    standin.create("AgentDeployment", namespace, AGENT)
    name, arms = "cartpole-agent-token", "assignment"

    def held() -> dict[str, str]:
        secret: Raw = standin.get("Secret", namespace, name) or {}
        return dict(secret.get("data", {}))

    def keys() -> dict[str, str]:
        return {name: key for name, key in held().items() if name != arms}

    standin.until(lambda: len(keys()) == 1, "a first key")
    [first] = keys()
    assert abs(int(first) - datetime.now(UTC).timestamp()) < 3600
    telling = held()[arms]

    operator.kill()
    old = {"key": keys()[first], "1000": keys()[first], first: None}
    standin.patch("Secret", namespace, name, {"data": old})
    operator.start()
    standin.until(lambda: set(keys()) > {"1000"} and "key" not in keys(), "one more, and the oldest gone")
    assert len(keys()) == 2
    assert keys()["1000"] == old["1000"]
    assert held()[arms] == telling

    operator.kill()
    standin.patch("Secret", namespace, name, {"data": {arms: None}})  # as from a release before
    operator.start()
    standin.until(lambda: held().get(arms) not in (None, telling), "another one made")


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_an_override_is_told_and_so_is_its_end(standin: Standin, play: Play, namespace: str) -> None:
    standin.create("AgentDeployment", namespace, AGENT)
    later, soon = (_in(seconds) for seconds in (3600, 5))
    override = {"mode": "Action", "action": [1], "reason": "sensor fault", "by": "ops", "until": later}
    standin.patch("AgentDeployment", namespace, "cartpole", {"spec": {"override": override}})
    said = standin.until_said("AgentDeployment", namespace, "cartpole", "Overridden", "Action")
    assert said == f"spec.override: Action [1.0] by ops until {later}: sensor fault"
    standin.until_said("AgentDeployment", namespace, "cartpole", "Progressing", "Overridden")
    standin.patch("AgentDeployment", namespace, "cartpole", {"spec": {"override": {"until": soon}}})
    standin.until_said("AgentDeployment", namespace, "cartpole", "Overridden", "Expired")
    standin.until_said("AgentDeployment", namespace, "cartpole", "Progressing", "PolicyVersionNotFound")
    standin.patch("AgentDeployment", namespace, "cartpole", {"spec": {"override": None}})
    standin.until_said("AgentDeployment", namespace, "cartpole", "Overridden", "Lifted")

    def told() -> list[tuple[str, str]]:
        return sorted((e["reason"], e["note"]) for e in standin.all("Event", namespace) if e["reason"] in reasons)

    reasons = ("Action", "Expired", "Lifted")
    standin.until(lambda: "Lifted" in {reason for reason, _ in told()}, "its end was told")  # a moment after the status
    changed = ("Action", said.replace(later, soon))  # is over before it is seen, where the operator is slow
    assert [reason for reason, note in told() if (reason, note) != changed] == list(reasons)
    assert ("Action", said) in told()


def test_the_operator_answers_its_kubelet(operator: Operator) -> None:
    assert operator.get("/livez") == (200, "ok")
    assert operator.get("/readyz") == (200, "ok")
    assert "checkrein_reconciles_total" in operator.get("/metrics")[1]
    assert operator.get("/")[0] == 404


def test_children_say_whose_they_are(standin: Standin, play: Play, namespace: str) -> None:
    play.hold = {"probe"}
    made = standin.create("RLEnvironment", namespace, ENVIRONMENT)
    standin.until(lambda: bool(standin.names("Job", namespace)), "probe")
    [probe] = standin.all("Job", namespace)
    owner = {"apiVersion": API_VERSION, "kind": "RLEnvironment", "name": "cartpole", "uid": made["metadata"]["uid"]}
    assert probe["metadata"]["ownerReferences"] == [{**owner, "controller": True, "blockOwnerDeletion": True}]
