"""Who may do what once the chart is installed: the operator what it needs and no more, people by aggregation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.api.objects import MISSING, agent, changed, environment
from tests.api.server import APPLY, Refused, Server
from tests.charts.conftest import OPERATOR
from tests.charts.people import SECONDS
from tests.cluster.steps import ClusterError, wait_until

from checkrein.api.deployment import AgentDeployment
from checkrein.control import kinds
from checkrein.control.settings import Images, Settings, StoreSettings
from checkrein.control.workloads import agents

pytestmark = pytest.mark.controlplane
OURS = [kind.plural for kind in kinds.OWN]
READ = ["get", "list", "watch"]
RIGHTS = ("override", "promote", "review")


def allowed(admin: Server, user: str, verb: str, resource: str, *, name: str = "", namespace: str = "games") -> bool:
    """The API server's own answer. A resource is GROUP/RESOURCE[/SUBRESOURCE]; the core group is empty."""
    group, plural, *subresource = resource.split("/")
    asked = {"group": group, "resource": plural, "verb": verb, "name": name, "namespace": namespace}
    asked |= {"subresource": subresource[0]} if subresource else {}
    return _review(admin, {"user": user, "groups": ["system:authenticated"], "resourceAttributes": asked})


def _review(admin: Server, spec: dict[str, Any]) -> bool:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = admin.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


NEEDED = [
    *[(verb, f"{kind.group}/{kind.plural}") for kind in (*kinds.OWN, *kinds.CHILDREN) for verb in READ],
    *[("patch", f"{kind.group}/{kind.plural}/status") for kind in kinds.OWN],
    ("create", "checkrein.dev/policyversions"),
    ("create", "batch/jobs"),
    ("delete", "batch/jobs"),
    *[
        (verb, f"{kind.group}/{kind.plural}")
        for kind in kinds.CHILDREN
        if kind.kind not in ("Job", "Pod")
        for verb in ("create", "patch")
    ],
    ("get", "/secrets"),
    ("create", "/secrets"),
    ("patch", "/secrets"),
    ("create", "events.k8s.io/events"),
    ("list", "events.k8s.io/events"),
]
DENIED = [
    *[(verb, f"checkrein.dev/{plural}") for plural in OURS for verb in ("update", "patch", "delete")],
    *[("create", f"checkrein.dev/{plural}") for plural in OURS if plural != "policyversions"],
    ("create", "checkrein.dev/policyversions/import"),
    *[("update", f"checkrein.dev/agentdeployments/{right}") for right in RIGHTS],
    ("update", "checkrein.dev/agentdeployments/scale"),
    ("list", "/secrets"),
    ("watch", "/secrets"),
    ("delete", "/secrets"),
    ("create", "/pods"),
    ("delete", "/pods"),
    ("create", "/pods/eviction"),
    ("create", "networking.k8s.io/networkpolicies"),
    ("create", "/pods/exec"),
    ("get", "/pods/log"),
    ("create", "/serviceaccounts/token"),
    ("impersonate", "/users"),
    ("escalate", "rbac.authorization.k8s.io/roles"),
    ("bind", "rbac.authorization.k8s.io/roles"),
    ("create", "rbac.authorization.k8s.io/clusterroles"),
    ("create", "rbac.authorization.k8s.io/clusterrolebindings"),
    ("get", "/configmaps"),
    ("create", "/events"),
    ("list", "/namespaces"),
    ("list", "/nodes"),
    ("get", "apiextensions.k8s.io/customresourcedefinitions"),  # but for our four, by name
    ("list", "apiextensions.k8s.io/customresourcedefinitions"),
    ("update", "admissionregistration.k8s.io/validatingadmissionpolicies"),
]


@pytest.mark.parametrize(("verb", "resource"), NEEDED, ids=lambda word: word)
def test_the_operator_may(admin: Server, verb: str, resource: str) -> None:
    assert allowed(admin, OPERATOR, verb, resource)


@pytest.mark.parametrize(("verb", "resource"), DENIED, ids=lambda word: word)
def test_the_operator_may_not(admin: Server, verb: str, resource: str) -> None:
    assert not allowed(admin, OPERATOR, verb, resource)


@pytest.mark.parametrize(("name", "may"), [("kube-system", True), ("default", False)])
def test_the_operator_reads_one_namespace_for_the_clusters_identity(admin: Server, name: str, may: bool) -> None:
    assert allowed(admin, OPERATOR, "get", "/namespaces", name=name, namespace=name) is may


def test_the_operator_reads_its_own_definitions_by_name(admin: Server) -> None:
    resource = "apiextensions.k8s.io/customresourcedefinitions"
    for plural in OURS:
        assert allowed(admin, OPERATOR, "get", resource, name=f"{plural}.checkrein.dev", namespace="")
    assert not allowed(admin, OPERATOR, "get", resource, name="workflows.argoproj.io", namespace="")


def test_the_operator_can_make_all_that_an_agent_needs(admin: Server, operator: Server) -> None:
    created = admin.create(changed(agent(), "spec.override", MISSING))
    settings = Settings(store=StoreSettings(endpoint="s3:9000"), images=Images(trainer="t", agent="a"))
    children = agents.objects(AgentDeployment.model_validate(created), settings, "cluster")
    for obj in children:
        kind, meta = kinds.KINDS[obj["kind"]], obj["metadata"]
        operator.send("PATCH", kind.path(meta["namespace"], meta["name"]), obj, content_type=APPLY)
    account = "system:serviceaccount:default:cartpole-agent"
    named = {"name": "cartpole", "namespace": "default"}
    _eventually(
        lambda: all(allowed(admin, account, verb, "checkrein.dev/agentdeployments", **named) for verb in READ),
        "a replica may read its own AgentDeployment",
    )
    assert not allowed(admin, account, "get", "checkrein.dev/agentdeployments", name="another", namespace="default")
    _eventually(
        lambda: allowed(admin, account, "get", "checkrein.dev/policyversions", namespace="default"),
        "a replica may look a fallback up",
    )
    for verb in ("list", "watch", "create"):
        assert not allowed(admin, account, verb, "checkrein.dev/policyversions", namespace="default")
    assert not allowed(admin, account, "get", "checkrein.dev/policyversions", namespace="games")
    assert not allowed(admin, account, "get", "/secrets", namespace="default")


def test_the_operator_cannot_give_away_what_it_does_not_have(operator: Server) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "greedy"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}],
    }
    with pytest.raises(Refused, match="attempting to grant RBAC permissions not currently held"):
        operator.send("POST", kinds.KINDS["Role"].path("default"), role)


def test_the_operator_writes_status_and_leaves_spec_alone(admin: Server, operator: Server) -> None:
    created = admin.create(environment())
    path = kinds.KINDS["RLEnvironment"].path("default", "cartpole", "status")
    identity = {key: created[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "cartpole"}}
    written = operator.send("PATCH", path, identity | {"status": {"phase": "Probing"}}, content_type=APPLY)
    assert written["status"]["phase"] == "Probing"
    with pytest.raises(Refused, match='cannot patch resource "rlenvironments"'):
        operator.patch(created, {"spec": {"version": "2"}})


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        pytest.param("checkrein-view", [("list", plural) for plural in OURS], [("create", "trainingjobs")], id="view"),
        pytest.param(
            "checkrein-edit",
            [
                *[
                    (verb, plural)
                    for plural in OURS
                    if plural != "policyversions"
                    for verb in ("create", "update", "patch", "delete")
                ],
                ("update", "agentdeployments/scale"),
                ("delete", "policyversions"),
            ],
            [
                ("create", "policyversions"),
                ("create", "policyversions/import"),
                *[("update", f"agentdeployments/{right}") for right in RIGHTS],
                *[("patch", f"{plural}/status") for plural in OURS],
            ],
            id="edit",
        ),
        *[
            pytest.param(
                f"checkrein-{right}",
                [
                    *[(verb, "agentdeployments") for verb in (*READ, "patch", "update")],
                    *[(verb, f"agentdeployments/{right}") for verb in ("get", "patch", "update")],
                ],
                [
                    ("create", "agentdeployments"),
                    ("delete", "agentdeployments"),
                    ("patch", "agentdeployments/status"),
                    *[("update", f"agentdeployments/{another}") for another in RIGHTS if another != right],
                ],
                id=right,
            )
            for right in RIGHTS
        ],
        pytest.param(
            "checkrein-train",
            [
                *[(verb, plural) for plural in OURS for verb in READ],
                *[(verb, plural) for plural in ("rlenvironments", "trainingjobs") for verb in ("create", "delete")],
            ],
            [
                *[(verb, "agentdeployments") for verb in ("create", "update", "patch", "delete")],
                ("update", "agentdeployments/scale"),
                ("delete", "policyversions"),
                *[("update", f"agentdeployments/{right}") for right in RIGHTS],
            ],
            id="train",
        ),
        pytest.param(
            "checkrein-operate",
            [
                *[(verb, plural) for plural in OURS for verb in READ],
                *[(verb, "agentdeployments") for verb in ("create", "update", "patch", "delete")],
                ("update", "agentdeployments/scale"),
            ],
            [
                *[(verb, plural) for plural in ("rlenvironments", "trainingjobs") for verb in ("create", "delete")],
                ("delete", "policyversions"),
                *[("update", f"agentdeployments/{right}") for right in RIGHTS],
            ],
            id="operate",
        ),
        pytest.param(
            "checkrein-import",
            [("create", "policyversions"), ("create", "policyversions/import")],
            [("delete", "policyversions"), ("create", "trainingjobs")],
            id="import",
        ),
    ],
)
def test_people(admin: Server, role: str, may: list[tuple[str, str]], may_not: list[tuple[str, str]]) -> None:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": "default"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role}],
    }
    admin.send("POST", kinds.KINDS["RoleBinding"].path("default"), binding)

    def can(verb: str, resource: str) -> bool:
        return allowed(admin, role, verb, f"checkrein.dev/{resource}", namespace="default")

    _eventually(lambda: all(can(*asked) for asked in may), f"{role} may {may}")
    assert [asked for asked in may_not if can(*asked)] == []


@pytest.mark.parametrize(("role", "label"), [("checkrein-view", "view"), ("checkrein-edit", "edit")])
def test_peoples_roles_go_into_those_that_every_cluster_has(admin: Server, role: str, label: str) -> None:
    found = admin.send("GET", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}")
    assert found["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{label}"] == "true"


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/openid/v1/jwks"])
def test_every_service_account_may_read_the_keys_that_tokens_are_verified_with(admin: Server, path: str) -> None:
    account = {"user": "system:serviceaccount:games:cartpole-agent", "groups": ["system:serviceaccounts"]}
    assert _review(admin, account | {"nonResourceAttributes": {"path": path, "verb": "get"}})


def _eventually(holds: Callable[[], bool], what: str) -> None:
    """The API server's authorizer learns of a new binding by a watch of its own."""
    wait_until(holds, SECONDS, otherwise=lambda: ClusterError(f"not after {SECONDS} s: {what}"))
