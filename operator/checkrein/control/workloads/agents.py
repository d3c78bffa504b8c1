"""The objects of an AgentDeployment: replicas, Services in front, and the one right that a replica has."""

from __future__ import annotations

import posixpath
from typing import Any

from checkrein.api import names
from checkrein.api.deployment import AgentDeployment
from checkrein.api.digests import canonical_json, sha256
from checkrein.api.meta import GROUP
from checkrein.api.tasks import MANAGEMENT_PORT, SERVING_PORT, TOKEN_KEY_FILE, AgentTask, StoreLocation
from checkrein.control.settings import Settings
from checkrein.control.workloads import pods

KIND = "AgentDeployment"
DESIRED = f"{GROUP}/desired"  # digest of what was applied: an unchanged child is not written again


def _child(agent: AgentDeployment, api_version: str, kind: str, name: str, **body: Any) -> dict[str, Any]:
    obj = {**pods.child(api_version, kind, name, "agent", KIND, agent.metadata), **body}
    obj["metadata"]["annotations"] = {DESIRED: sha256(canonical_json(obj))}
    return obj


def objects(agent: AgentDeployment, settings: Settings, cluster: str) -> tuple[dict[str, Any], ...]:
    """Everything but the Secrets, in the order in which it is needed."""
    return (*_rights(agent), *_services(agent), _stateful_set(agent, settings, cluster))


def _rights(agent: AgentDeployment) -> tuple[dict[str, Any], ...]:
    """A replica may read its own AgentDeployment, nothing else."""
    name = names.agent(agent.metadata.name)
    rbac = "rbac.authorization.k8s.io"
    rule = {
        "apiGroups": [GROUP],
        "resources": ["agentdeployments"],
        "resourceNames": [agent.metadata.name],
        "verbs": ["get", "list", "watch"],
    }
    return (
        _child(agent, "v1", "ServiceAccount", name, automountServiceAccountToken=False),
        _child(agent, f"{rbac}/v1", "Role", name, rules=[rule]),
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
        },
    )


def _pod(agent: AgentDeployment, settings: Settings, cluster: str) -> dict[str, Any]:
    name = names.agent(agent.metadata.name)
    main = pods.container(
        "agent", settings.images.agent, ["checkrein-agent"], agent.spec.template, settings.image_pull_policy
    )
    task = AgentTask(
        cluster=cluster,
        namespace=agent.metadata.namespace,
        name=agent.metadata.name,
        store=policies_location(settings),
    )
    main["env"] += [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        pods.task_variable(task),
    ]
    main["volumeMounts"] += [
        pods.store_mount(),
        {"name": "token", "mountPath": posixpath.dirname(TOKEN_KEY_FILE), "readOnly": True},
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
    spec = pods.pod_spec(main, agent.spec.template, volumes)
    return {**spec, "serviceAccountName": name, "automountServiceAccountToken": True}


def _get(path: str, **limits: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "management"}, **limits}


def policies_location(settings: Settings) -> StoreLocation:
    """Where replicas read policies."""
    return settings.store.location(settings.store.policies_bucket)
