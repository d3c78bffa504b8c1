"""What surrounds replicas: one namespace with an AgentDeployment, accounts and published policies; no operator."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from tests.agent import graphs
from tests.cluster.controlplane import ControlPlane
from tests.cluster.minio import Minio

from checkrein.api.deployment import PolicyPointer
from checkrein.api.meta import API_VERSION
from checkrein.api.policy import Artifact
from checkrein.api.spaces import Interface
from checkrein.api.tasks import AUDIENCE, StoreCredentials, StoreLocation
from checkrein.store import artifacts, buckets
from checkrein.store.client import Store

NAME = "cartpole"
ACCOUNT = "cartpole-agent"
CALLER = "caller"


class Library:
    """Publishes policies to a MinIO."""

    def __init__(self, minio: Minio) -> None:
        self.minio = minio
        suffix = secrets.token_hex(4)
        self.credentials = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
        self.location = StoreLocation(endpoint=minio.endpoint, secure=False, bucket=f"policies-{suffix}")
        runs = self.location.model_copy(update={"bucket": f"runs-{suffix}", "write_prefix": "runs/c/ns/u/1/train/"})
        self.policies = Store(self.location, lambda: self.credentials)
        self._runs = Store(runs, lambda: self.credentials)
        self.decisions_bucket = f"decisions-{suffix}"
        buckets.ensure(self.policies, self.location.bucket, runs.bucket, self.decisions_bucket)

    def decisions(self, namespace: str) -> StoreLocation:
        """Where the replicas of a namespace store their log."""
        prefix = f"decisions/c/{namespace}/u/"
        return self.location.model_copy(update={"bucket": self.decisions_bucket, "write_prefix": prefix})

    def publish(
        self, name: str, model: bytes, interface: Interface = graphs.CARTPOLE, files: Mapping[str, bytes] | None = None
    ) -> PolicyPointer:
        """A pointer to a stored policy, as the operator would write it; `files` are those beside the graph."""
        manifest = artifacts.export(self._runs, {"policy.onnx": model, **(files or {})}, interface, "PPO", graphs.OPSET)
        artifact = artifacts.publish(self._runs, self.policies, manifest)
        return PolicyPointer(name=name, artifact=artifact, interface=interface)

    def tampered(self, pointer: PolicyPointer) -> PolicyPointer:
        """The same pointer, led to a version of the manifest whose bytes somebody changed."""
        data = b"{}"
        squatter = self.policies.put(pointer.artifact.key, data)
        assert squatter.version_id
        artifact = Artifact.model_validate(pointer.artifact.model_dump() | {"version_id": squatter.version_id})
        return pointer.model_copy(update={"artifact": artifact})


class Deployment:
    """One AgentDeployment in a namespace of its own; the test plays the operator."""

    def __init__(self, controlplane: ControlPlane, namespace: str, spec: Mapping[str, Any] | None = None) -> None:
        self.controlplane = controlplane
        self.namespace = namespace
        self.kubectl = controlplane.kubectl
        self.kubectl("create", "namespace", namespace)
        rule = {"apiGroups": ["checkrein.dev"], "resources": ["agentdeployments"], "resourceNames": [NAME]}
        named = {"apiGroups": ["checkrein.dev"], "resources": ["policyversions"], "verbs": ["get"]}
        rbac = "rbac.authorization.k8s.io"
        role = {"apiGroup": rbac, "kind": "Role", "name": ACCOUNT}
        account = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
        self.kubectl.apply(
            self._object("v1", "ServiceAccount", ACCOUNT),
            self._object("v1", "ServiceAccount", CALLER),
            self._object(f"{rbac}/v1", "Role", ACCOUNT, rules=[rule | {"verbs": ["get", "list", "watch"]}, named]),
            self._object(f"{rbac}/v1", "RoleBinding", ACCOUNT, roleRef=role, subjects=[account]),
            self._deployment(spec or {"auth": {"mode": "None"}}),
            namespace=namespace,
        )

    def _object(self, api_version: str, kind: str, name: str, **body: Any) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}

    def _deployment(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The policy that the spec names does not matter to a replica."""
        return self._object(API_VERSION, "AgentDeployment", NAME, spec={"policyVersion": "wanted", **spec})

    def set_spec(self, spec: Mapping[str, Any]) -> None:
        """Replace the spec."""
        self.kubectl.apply(self._deployment(spec), namespace=self.namespace)

    def set_status(
        self, epoch: int, stable: PolicyPointer | None, candidate: PolicyPointer | None = None, **more: Any
    ) -> None:
        """Who acts and who is checked, from `epoch` on; `more` are other fields, such as step and rollout."""
        pointers = {"stable": stable, "candidate": candidate}
        status = {"epoch": epoch} | {k: p.dump() if p else None for k, p in pointers.items()} | more
        self.kubectl(
            *("patch", "agentdeployment", NAME, "-n", self.namespace),
            *("--subresource=status", "--type=merge", "-p", json.dumps({"status": status})),
        )

    def token(self, account: str = CALLER, *, namespace: str = "", audience: str = AUDIENCE) -> str:
        """From the TokenRequest API."""
        options = ["--audience", audience] if audience else []
        return self.kubectl("create", "token", account, "-n", namespace or self.namespace, *options).strip()
