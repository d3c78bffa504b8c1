"""Names and labels of what Checkrein creates, derived from the owner: creating twice meets the same object.

A pod's name ends up in a label value (63 characters); owners have at most 40, so every suffix here fits.
"""

from __future__ import annotations

from checkrein.api.meta import GROUP

MANAGED_BY = "checkrein"
OWNER_KIND = f"{GROUP}/kind"
OWNER_NAME = f"{GROUP}/name"
OWNER_UID = f"{GROUP}/uid"
COMPONENT = "app.kubernetes.io/component"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
# Kueue's, set by a person on a TrainingJob and passed on to its Jobs.
QUEUE = "kueue.x-k8s.io/queue-name"
QUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"


def labels(component: str, kind: str, name: str, uid: str) -> dict[str, str]:
    """Labels of a child: what it is, whose it is."""
    return {
        MANAGED_BY_LABEL: MANAGED_BY,
        COMPONENT: component,
        OWNER_KIND: kind,
        OWNER_NAME: name,
        OWNER_UID: uid,
    }


def selector(component: str, name: str) -> dict[str, str]:
    """Labels by which a Service or StatefulSet finds its pods (stable over the owner's re-creation)."""
    return {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT: component, OWNER_NAME: name}


def probe_job(environment: str, generation: int) -> str:
    """Job that probes one generation of an RLEnvironment."""
    return f"{environment}-probe-{generation}"


def training_job(name: str, attempt: int) -> str:
    """Job of one training attempt."""
    return f"{name}-train-{attempt}"


def evaluation_job(name: str, attempt: int) -> str:
    """Job that evaluates what an attempt exported."""
    return f"{name}-evaluate-{attempt}"


def credentials(job: str) -> str:
    """Secret with the store session of one Job or agent."""
    return f"{job}-store"


def agent(name: str) -> str:
    """StatefulSet, its budget of disruptions, Service, ServiceAccount, Role and RoleBinding of an AgentDeployment."""
    return f"{name}-agent"


def agent_pods(name: str) -> str:
    """Headless Service that gives the replicas their names."""
    return f"{name}-agent-pods"


def token_key(name: str) -> str:
    """Secret with the keys that authenticate episode tokens, and the one by which arms are told."""
    return f"{name}-agent-token"


def policy_version(policy: str, version: int) -> str:
    """PolicyVersion of one publication."""
    return f"{policy}-{version}"
