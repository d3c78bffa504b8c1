"""The objects of an AgentDeployment: replicas, Services in front, and the one right that a replica has."""

from __future__ import annotations

from typing import Any

from checkrein.api import names
from checkrein.api.deployment import AgentDeployment
from checkrein.api.digests import canonical_json, sha256
from checkrein.api.meta import GROUP
from checkrein.api.tasks import LOG_DIRECTORY, MANAGEMENT_PORT, SERVING_PORT, TOKEN_KEYS, AgentTask, StoreLocation
from checkrein.control.settings import Settings
from checkrein.control.workloads import pods
from checkrein.store import keys

KIND = "AgentDeployment"
DESIRED = f"{GROUP}/desired"  # digest of what was applied: an unchanged child is not written again
GRACE_SECONDS = 60  # for the end of the decision log to reach the store
LOG_SIZE = "1Gi"


def _child(agent: AgentDeployment, api_version: str, kind: str, name: str, **body: Any) -> dict[str, Any]:
    obj = {**pods.child(api_version, kind, name, "agent", KIND, agent.metadata), **body}
    obj["metadata"]["annotations"] = {DESIRED: sha256(canonical_json(obj))}
    return obj


def objects(agent: AgentDeployment, settings: Settings, cluster: str) -> tuple[dict[str, Any], ...]:
    """Everything but the Secrets, in the order in which it is needed."""
    return (*_rights(agent), *_services(agent), _stateful_set(agent, settings, cluster), _budget(agent))


def _rights(agent: AgentDeployment) -> tuple[dict[str, Any], ...]:
    """A replica may read its own AgentDeployment, and PolicyVersions: it finds fallback and pin with nobody's help."""
    name = names.agent(agent.metadata.name)
    rbac = "rbac.authorization.k8s.io"
    own = {
        "apiGroups": [GROUP],
        "resources": ["agentdeployments"],
        "resourceNames": [agent.metadata.name],
        "verbs": ["get", "list", "watch"],
    }
    policies = {"apiGroups": [GROUP], "resources": ["policyversions"], "verbs": ["get"]}
    return (
        _child(agent, "v1", "ServiceAccount", name, automountServiceAccountToken=False),
        _child(agent, f"{rbac}/v1", "Role", name, rules=[own, policies]),
        _child(
            agent,
            f"{rbac}/v1",
            "RoleBinding",
            name,
            roleRef={"apiGroup": rbac, "kind": "Role", "name": name},
            subjects=[{"kind": "ServiceAccount", "name": name, "namespace": agent.metadata.namespace}],
        ),
    )


def _services(agent: AgentDeployment) -> tuple[dict[str, Any], ...]:
    selector = names.selector("agent", agent.metadata.name)
    decisions = {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}
    management = {"name": "management", "port": MANAGEMENT_PORT, "targetPort": "management", "protocol": "TCP"}
    return (
        _child(
            agent, "v1", "Service", names.agent(agent.metadata.name), spec={"selector": selector, "ports": [decisions]}
        ),
        _child(
            agent,
            "v1",
            "Service",
            names.agent_pods(agent.metadata.name),
            # Replicas are found before they are ready: the operator asks them what keeps them.
            spec={
                "selector": selector,
                "clusterIP": "None",
                "publishNotReadyAddresses": True,
                "ports": [decisions, management],
            },
        ),
    )


def _stateful_set(agent: AgentDeployment, settings: Settings, cluster: str) -> dict[str, Any]:
    name = names.agent(agent.metadata.name)
    selector = names.selector("agent", agent.metadata.name)
    pod_labels = names.labels("agent", KIND, agent.metadata.name, agent.metadata.uid)
    return _child(
        agent,
        "apps/v1",
        "StatefulSet",
        name,
        spec={
            "replicas": agent.spec.replicas,
            "serviceName": names.agent_pods(agent.metadata.name),
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": pod_labels}, "spec": _pod(agent, settings, cluster)},
            **_claims(agent),
        },
    )


def _budget(agent: AgentDeployment) -> dict[str, Any]:
    """Whoever drains nodes takes one replica at a time; one that does not run anyway holds nobody up."""
    spec = {
        "maxUnavailable": 1,  # of one replica, too: minAvailable would keep its node from being drained for ever
        "selector": {"matchLabels": names.selector("agent", agent.metadata.name)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return _child(agent, "policy/v1", "PodDisruptionBudget", names.agent(agent.metadata.name), spec=spec)


def _claims(agent: AgentDeployment) -> dict[str, Any]:
    """A persistent volume for each replica's log, where one is asked for. It outlives the replica: it is evidence."""
    volume = agent.spec.decision_log.volume
    if volume is None:
        return {}
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": volume.size}},
    }
    if volume.storage_class_name is not None:
        spec["storageClassName"] = volume.storage_class_name
    return {
        "volumeClaimTemplates": [{"metadata": {"name": "log"}, "spec": spec}],
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    }


def _pod(agent: AgentDeployment, settings: Settings, cluster: str) -> dict[str, Any]:
    name = names.agent(agent.metadata.name)
    main = pods.container("agent", settings.images.agent, ["checkrein-agent"], agent.spec.template, settings)
    task = AgentTask(
        cluster=cluster,
        namespace=agent.metadata.namespace,
        name=agent.metadata.name,
        uid=agent.metadata.uid,
        store=policies_location(settings),
        decisions=decisions_location(agent, settings, cluster),
        operator=settings.account,
    )
    main["env"] += [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        pods.task_variable(task),
    ]
    main["volumeMounts"] += [
        pods.store_mount(),
        {"name": "token", "mountPath": TOKEN_KEYS, "readOnly": True},
        {"name": "log", "mountPath": LOG_DIRECTORY},
    ]
    main["ports"] = [
        {"name": "http", "containerPort": SERVING_PORT},
        {"name": "management", "containerPort": MANAGEMENT_PORT},
    ]
    main["readinessProbe"] = _get("/readyz", periodSeconds=1, failureThreshold=2)
    main["livenessProbe"] = _get("/livez", periodSeconds=10, failureThreshold=3, initialDelaySeconds=10)
    volumes = [
        pods.secret_volume("store", names.credentials(name)),
        pods.secret_volume("token", names.token_key(agent.metadata.name)),
    ]
    if agent.spec.decision_log.volume is None:
        volumes.append({"name": "log", "emptyDir": {"sizeLimit": LOG_SIZE}})
    return {
        **pods.pod_spec(main, agent.spec.template, volumes, settings),
        "serviceAccountName": name,
        "automountServiceAccountToken": True,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
    }


def _get(path: str, **limits: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "management"}, **limits}


def policies_location(settings: Settings) -> StoreLocation:
    """Where replicas read policies."""
    return settings.store.location(settings.store.policies_bucket)


def decisions_location(agent: AgentDeployment, settings: Settings, cluster: str) -> StoreLocation:
    """Where replicas put their decision log, and nobody else puts anything."""
    meta = agent.metadata
    prefix = keys.decisions_prefix(cluster, meta.namespace, meta.uid)
    return settings.store.location(settings.store.decisions_bucket, write_prefix=prefix)
