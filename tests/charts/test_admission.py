"""Admission without webhooks: what is in use stays, and only those who may say so bring policies into being."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.api.objects import DIGEST, MISSING, agent, changed, environment, pointer, policy_version, strategy
from tests.api.server import Refused, Server
from tests.charts.people import SECONDS, refusal, until_allowed
from tests.cluster.controlplane import ControlPlane
from tests.cluster.steps import ClusterError, wait_until

pytestmark = pytest.mark.controlplane
Raw = dict[str, Any]
NAMESPACES = ("games", "arcade")
ANOTHER = "set its spec.policyVersion to another version first"
LONG_AGO = {"reason": "a fault", "by": "admin", "until": "2026-01-01T00:00:00Z"}
HISTORY = {"seq": 1, "event": "Promoted", "policy": "cartpole-2", "digest": DIGEST, "from": "cartpole-1"}
HISTORY |= {"time": "2026-01-01T00:00:00Z"}
REJECTED = {"seq": 2, "event": "Rejected", "policy": "cartpole-3", "from": "cartpole-2"}
NAMESPACE_CONTROLLER = "system:serviceaccount:kube-system:namespace-controller"


def within(namespace: str, obj: Raw) -> Raw:
    """The object in that namespace."""
    obj["metadata"]["namespace"] = namespace
    return obj


def bind(plane: ControlPlane, user: str, role: str) -> None:
    """Gives a user a ClusterRole's rights in namespace games."""
    plane.kubectl("-n", "games", "create", "rolebinding", f"{user}-{role}", f"--clusterrole={role}", f"--user={user}")


@pytest.fixture(scope="module", autouse=True)
def people(installed: ControlPlane, admin: Server) -> None:
    """Namespaces, and in games: an editor, an importer, and one with all verbs on policyversions but no more; each once
    the API server knows of it: else its refusals would be for want of that.
    """
    for namespace in NAMESPACES:
        installed.kubectl("create", "namespace", namespace)
    bind(installed, "editor", "checkrein-edit")
    bind(installed, "importer", "checkrein-import")
    installed.kubectl("create", "clusterrole", "all-verbs", "--verb=*", "--resource=policyversions.checkrein.dev")
    bind(installed, "meddler", "all-verbs")
    until_allowed(lambda: admin.as_user("editor").create(within("games", environment()), dry_run=True))
    until_allowed(lambda: admin.as_user("importer").create(within("games", policy_version()), dry_run=True))
    until_allowed(
        lambda: admin.as_user("meddler").send("GET", "/apis/checkrein.dev/v1alpha1/namespaces/games/policyversions")
    )


@pytest.fixture
def version(admin: Server) -> Iterator[Raw]:
    """PolicyVersion cartpole-1 of namespace games."""
    created = admin.create(within("games", policy_version()))
    yield created
    wait_until(lambda: deleted(admin, created), SECONDS, otherwise=lambda: ClusterError("it is still in use"))


def deleted(admin: Server, version: Raw) -> bool:
    """Whether it could be deleted: admission learns a moment later that nothing uses it any more."""
    try:
        admin.delete(version)
    except Refused as refused:
        return refused.status == 404
    return True


@pytest.fixture
def deploy(admin: Server) -> Iterator[Callable[..., Raw]]:
    """Creates an AgentDeployment that wants another version, unless told otherwise."""
    created: list[Raw] = []

    def create(
        namespace: str = "games", wants: str = "cartpole-9", status: Raw | None = None, spec: Raw | None = None
    ) -> Raw:
        whole = changed(agent(version=wants), "spec.override", MISSING)
        whole["spec"] |= spec or {}
        obj = admin.create(within(namespace, whole))
        created.append(obj)
        return admin.patch(obj, {"status": status}, "status") if status else obj

    yield create
    for obj in created:
        admin.delete(obj)


@pytest.mark.parametrize(
    ("options", "says", "mend"),
    [
        pytest.param({"wants": "cartpole-1"}, "wants it (spec.policyVersion)", ANOTHER, id="wanted"),
        pytest.param({"status": {"stable": pointer()}}, "acts by it (status.stable)", ANOTHER, id="stable"),
        pytest.param(
            {"status": {"candidate": pointer()}}, "is checking it (status.candidate)", ANOTHER, id="candidate"
        ),
        pytest.param(
            {"spec": {"fallback": {"policyVersion": "cartpole-1", "action": [0]}}},
            "falls back to it (spec.fallback.policyVersion)",
            "name another one there first",
            id="fallback",
        ),
        pytest.param(
            {"spec": {"strategy": strategy() | {"reference": "cartpole-1"}}},
            "judges candidates against it (spec.strategy.reference)",
            "name another one there first, or none",
            id="reference",
        ),
        pytest.param(
            {"status": {"stable": pointer("cartpole-2"), "history": [HISTORY, HISTORY | REJECTED]}},
            "would go back to it after a breach (spec.strategy.watch)",
            "set its onBreach to Report first",
            id="the one before, which a breach would bring back",
        ),
        pytest.param(
            {"spec": {"override": {"mode": "Pin", "policyVersion": "cartpole-1", **LONG_AGO}}},
            "is pinned to it (spec.override.policyVersion)",
            "take its spec.override away first, even one whose time is over",
            id="pin",
        ),
    ],
)
def test_a_version_in_use_cannot_be_deleted(
    admin: Server, version: Raw, deploy: Callable[..., Raw], options: Raw, says: str, mend: str
) -> None:
    deploy(**options)
    for user in (admin, admin.as_user("editor")):
        refused = refusal(lambda user=user: user.delete(version, dry_run=True))  # type: ignore[misc]
        assert f"PolicyVersion cartpole-1 is in use: AgentDeployment cartpole {says}" in refused.message
        assert mend in refused.message


def test_nor_can_all_be_deleted_at_once(admin: Server, version: Raw, deploy: Callable[..., Raw]) -> None:
    deploy(wants="cartpole-1")
    refused = refusal(
        lambda: admin.send("DELETE", "/apis/checkrein.dev/v1alpha1/namespaces/games/policyversions", {}, dry_run=True)
    )
    assert "is in use" in refused.message


def test_it_goes_with_its_namespace(admin: Server, version: Raw, deploy: Callable[..., Raw]) -> None:
    deploy(wants="cartpole-1")
    refusal(lambda: admin.delete(version, dry_run=True))
    controller = admin.as_user(NAMESPACE_CONTROLLER, "system:masters")
    assert controller.delete(version, dry_run=True)


def test_one_that_was_before_can_be_deleted_where_nothing_brings_it_back(
    admin: Server, version: Raw, deploy: Callable[..., Raw]
) -> None:
    later = HISTORY | {"seq": 2, "policy": "cartpole-3", "from": "cartpole-2"}
    made = deploy(status={"stable": pointer("cartpole-2"), "history": [HISTORY]})
    refusal(lambda: admin.delete(version, dry_run=True))
    admin.patch(made, {"status": {"stable": pointer("cartpole-3"), "history": [HISTORY, later]}}, "status")
    wait_until(
        lambda: _passes(lambda: admin.delete(version, dry_run=True)), SECONDS, otherwise=lambda: ClusterError("in use")
    )
    admin.patch(made, {"status": {"stable": pointer("cartpole-2"), "history": [HISTORY]}}, "status")
    refusal(lambda: admin.delete(version, dry_run=True))
    admin.patch(made, {"spec": {"strategy": {"watch": {"onBreach": "Report"}}}})
    wait_until(
        lambda: _passes(lambda: admin.delete(version, dry_run=True)), SECONDS, otherwise=lambda: ClusterError("in use")
    )


def _passes(request: Callable[[], object]) -> bool:
    try:
        request()
    except Refused:
        return False
    return True


def test_an_unused_version_can_be_deleted(admin: Server, version: Raw, deploy: Callable[..., Raw]) -> None:
    deploy(wants="cartpole-9", status={"stable": pointer("cartpole-8"), "candidate": pointer("cartpole-9")})
    elsewhere = admin.create(within("arcade", policy_version()))
    deploy("arcade", wants="cartpole-1")
    refusal(lambda: admin.delete(elsewhere, dry_run=True))
    assert admin.as_user("editor").delete(version, dry_run=True)


@pytest.mark.parametrize(
    ("user", "says"),
    [
        pytest.param("editor", 'User "editor" cannot create resource "policyversions"', id="an editor, by RBAC"),
        pytest.param(
            "meddler",
            "the operator writes PolicyVersions; meddler may import one only with the right to create "
            "policyversions/import in namespace games (ClusterRole checkrein-import)",
            id="one with all verbs on policyversions, by admission",
        ),
    ],
)
def test_not_everybody_brings_a_policy_into_being(admin: Server, user: str, says: str) -> None:
    refused = refusal(lambda: admin.as_user(user).create(within("games", policy_version()), dry_run=True))
    assert refused.status == 403
    assert says in refused.message


def test_the_operator_and_importers_do(admin: Server, operator: Server) -> None:
    for user in (operator, admin.as_user("importer"), admin):
        assert user.create(within("games", policy_version()), dry_run=True)


def test_importers_may_import_in_their_namespace_only(admin: Server) -> None:
    with pytest.raises(Refused, match='User "importer" cannot create'):
        admin.as_user("importer").create(within("arcade", policy_version()), dry_run=True)


def test_verified_is_the_operators_word(admin: Server, operator: Server, version: Raw) -> None:
    says = "status of a PolicyVersion is written by the operator alone, after it has verified the policy's bytes"
    with pytest.raises(Refused) as refused:
        admin.patch(version, {"status": {"phase": "Verified"}}, "status")
    assert says in refused.value.message
    assert operator.patch(version, {"status": {"phase": "Verified"}}, "status")["status"]["phase"] == "Verified"
