"""What all pods of ours share: Pod Security `restricted`, tasks as environment, credentials as a mounted file."""

from __future__ import annotations

import posixpath
from typing import Any

from checkrein.api.meta import API_VERSION, Model, ObjectMeta, PodTemplate
from checkrein.api.names import labels
from checkrein.api.tasks import CREDENTIALS_FILE, TASK_VARIABLE
from checkrein.control.settings import Settings

USER = 65532
TASK_DEPTH = 100  # pods read JSON up to 200 deep (pydantic-core)
TASK_BYTES = 120_000
"""Most that a task may be made of: Linux takes 131,072 bytes in one variable (MAX_ARG_STRLEN, execve(2))."""


def owner_reference(kind: str, owner: ObjectMeta) -> dict[str, Any]:
    """The controlling owner; its deletion takes the child along."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child(api_version: str, kind: str, name: str, component: str, owner_kind: str, owner: ObjectMeta) -> dict[str, Any]:
    """Type and metadata of an owned object."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": labels(component, owner_kind, owner.name, owner.uid),
            "ownerReferences": [owner_reference(owner_kind, owner)],
        },
    }


def task_variable(task: Model) -> dict[str, str]:
    """The task as the pod's entry point reads it."""
    # $(NAME) would be expanded by the kubelet, and a user's text may hold it: $$ is its escape.
    return {"name": TASK_VARIABLE, "value": task.model_dump_json(by_alias=True, exclude_none=True).replace("$(", "$$(")}


def excess(*parts: Model) -> str:
    """Why what these say cannot be handed to a pod, as a sentence's rest; empty where it can."""
    size = sum(len(part.model_dump_json(by_alias=True, exclude_none=True).encode()) for part in parts)
    if size > TASK_BYTES:
        return f"{size:,} bytes; a pod can be told at most {TASK_BYTES:,}"
    if any(_is_deeper(part.dump(), TASK_DEPTH) for part in parts):
        return f"values nested more than {TASK_DEPTH} deep; a pod can be told no deeper ones"
    return ""


def _is_deeper(value: Any, levels: int) -> bool:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or _is_deeper(member, levels - 1) for member in members)


def secret_volume(name: str, secret: str) -> dict[str, Any]:
    """A Secret that only the pod's group can read."""
    return {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}


def store_mount() -> dict[str, Any]:
    """Where the volume `store` is seen by the container."""
    return {"name": "store", "mountPath": posixpath.dirname(CREDENTIALS_FILE), "readOnly": True}


def container(name: str, image: str, command: list[str], template: PodTemplate, settings: Settings) -> dict[str, Any]:
    """A container that may do nothing but run; /tmp is its only writable place."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": command,
        "resources": template.resources.dump(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108 - a volume of the pod's own
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def pod_spec(
    main: dict[str, Any], template: PodTemplate, volumes: list[dict[str, Any]], settings: Settings
) -> dict[str, Any]:
    """A pod with one container that passes Pod Security `restricted`."""
    return {
        "containers": [main],
        "imagePullSecrets": [{"name": secret} for secret in settings.image_pull_secrets],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": dict(template.node_selector),
        "tolerations": [t.dump() for t in template.tolerations],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
    }
