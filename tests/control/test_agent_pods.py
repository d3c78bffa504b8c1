"""The replicas' pods: where the log lies, what they are told, how long they may take to stop."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control import builders as b

from checkrein.api.tasks import LOG_DIRECTORY, TASK_VARIABLE, TOKEN_KEYS, AgentTask
from checkrein.control.workloads import agents, jobs


def stateful_set(**spec: Any) -> Any:
    made = agents.objects(b.agent(spec=spec), b.SETTINGS, b.CLUSTER)
    return next(o for o in made if o["kind"] == "StatefulSet")["spec"]


def pod(**spec: Any) -> Any:
    return stateful_set(**spec)["template"]["spec"]


def mounts(**spec: Any) -> dict[str, str]:
    return {m["name"]: m["mountPath"] for m in pod(**spec)["containers"][0]["volumeMounts"]}


def test_a_replica_is_told_where_its_log_goes() -> None:
    env = {e["name"]: e for e in pod()["containers"][0]["env"]}
    task = AgentTask.model_validate_json(env[TASK_VARIABLE]["value"])
    assert task.uid == "cartpole-uid"
    assert task.decisions
    assert task.decisions.bucket == "checkrein-decisions"
    assert task.decisions.write_prefix == "decisions/cluster-uid/games/cartpole-uid/"
    assert {e: env[e]["valueFrom"]["fieldRef"]["fieldPath"] for e in ("POD_NAME", "POD_UID")} == {
        "POD_NAME": "metadata.name",
        "POD_UID": "metadata.uid",
    }


def test_a_replica_knows_who_may_ask_for_evidence() -> None:
    settings = b.SETTINGS.model_copy(update={"account": "system:serviceaccount:checkrein-system:checkrein-operator"})
    made = agents.objects(b.agent(), settings, b.CLUSTER)
    [container] = next(o for o in made if o["kind"] == "StatefulSet")["spec"]["template"]["spec"]["containers"]
    task = AgentTask.model_validate_json(next(e["value"] for e in container["env"] if e["name"] == TASK_VARIABLE))
    assert task.operator == settings.account


def test_the_log_lies_on_a_bounded_disk_of_the_pod() -> None:
    volumes = {v["name"]: v for v in pod()["volumes"]}
    assert volumes["log"] == {"name": "log", "emptyDir": {"sizeLimit": "1Gi"}}
    assert mounts()["log"] == LOG_DIRECTORY
    assert "volumeClaimTemplates" not in stateful_set()


@pytest.mark.parametrize(
    ("volume", "storage_class"),
    [
        pytest.param({"size": "2Gi"}, {}, id="the cluster's own class"),
        pytest.param({"size": "2Gi", "storageClassName": "fast"}, {"storageClassName": "fast"}, id="a named class"),
    ],
)
def test_or_on_a_volume_that_outlives_the_pod(volume: dict[str, Any], storage_class: dict[str, str]) -> None:
    spec = {"decisionLog": {"volume": volume}}
    made = stateful_set(**spec)
    [claim] = made["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "log"
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}},
        **storage_class,
    }
    assert made["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert "log" not in {v["name"] for v in pod(**spec)["volumes"]}
    assert mounts(**spec)["log"] == LOG_DIRECTORY


def test_keys_are_mounted_as_a_folder() -> None:
    assert mounts()["token"] == TOKEN_KEYS


def test_there_is_time_to_ship_the_log() -> None:
    assert pod()["terminationGracePeriodSeconds"] == 60


def test_drains_take_one_replica_at_a_time() -> None:
    made = agents.objects(b.agent(), b.SETTINGS, b.CLUSTER)
    budget = next(o for o in made if o["kind"] == "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    labels = stateful_set()["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()


def test_images_of_a_closed_registry_are_pulled_with_the_secrets_of_the_pods_namespace() -> None:
    settings = b.SETTINGS.model_copy(update={"image_pull_secrets": ("registry", "mirror")})
    made = agents.objects(b.agent(), settings, b.CLUSTER)
    spec = next(o for o in made if o["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    probe = jobs.probe(b.environment(), settings)["spec"]["template"]["spec"]
    for pod_spec in (spec, probe):
        assert pod_spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "mirror"}]


def test_an_override_touches_no_pod() -> None:
    assert stateful_set(**b.override()) == stateful_set()
