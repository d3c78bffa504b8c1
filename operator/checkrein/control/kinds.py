"""The resources that the operator reads and writes: where the API server serves them."""

from __future__ import annotations

from dataclasses import dataclass

from checkrein.api.meta import GROUP, VERSION
from checkrein.api.names import MANAGED_BY, MANAGED_BY_LABEL


@dataclass(frozen=True)
class Kind:
    """One resource type."""

    kind: str
    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path; without a namespace, of the whole cluster."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root, f"namespaces/{namespace}" if namespace else "", self.plural, name, subresource]
        return "/".join(filter(None, parts))


OWN = (
    Kind("RLEnvironment", GROUP, VERSION, "rlenvironments"),
    Kind("TrainingJob", GROUP, VERSION, "trainingjobs"),
    Kind("PolicyVersion", GROUP, VERSION, "policyversions"),
    Kind("AgentDeployment", GROUP, VERSION, "agentdeployments"),
)
# Watched by label only: of other people's Jobs and pods the operator knows nothing.
CHILDREN = (
    Kind("Job", "batch", "v1", "jobs"),
    Kind("Pod", "", "v1", "pods"),
    Kind("StatefulSet", "apps", "v1", "statefulsets"),
    Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
    Kind("Service", "", "v1", "services"),
    Kind("ServiceAccount", "", "v1", "serviceaccounts"),
    Kind("Role", "rbac.authorization.k8s.io", "v1", "roles"),
    Kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
)
WATCHED = (*OWN, *CHILDREN)
SECRET = Kind("Secret", "", "v1", "secrets")
EVENT = Kind("Event", "events.k8s.io", "v1", "events")
LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases")
NAMESPACE = Kind("Namespace", "", "v1", "namespaces")
DEFINITION = Kind("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions")
KINDS = {k.kind: k for k in (*WATCHED, SECRET, EVENT, LEASE, NAMESPACE, DEFINITION)}
CHILD_SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
