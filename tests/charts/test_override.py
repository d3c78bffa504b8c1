"""Who may take the reins: spec.override is a right of its own, by every way in which a field can change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.api.objects import MISSING, agent, changed
from tests.api.server import APPLY, MERGE, Refused, Server
from tests.charts.people import bind, refusal, until_allowed
from tests.charts.render import template
from tests.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.controlplane
Raw = dict[str, Any]
NAMESPACE = "reins"
PATH = f"/apis/checkrein.dev/v1alpha1/namespaces/{NAMESPACE}/agentdeployments"
JSON_PATCH = "application/json-patch+json"
SAYS = (
    "may set, change or take it away only with the right to update agentdeployments/override "
    f"in namespace {NAMESPACE} (ClusterRole checkrein-override)"
)
ARGO = "system:serviceaccount:argocd:argocd-application-controller"
KUBE_SYSTEM = "system:serviceaccount:kube-system"


def override(by: str, **fields: Any) -> Raw:
    return {"mode": "Fallback", "reason": "a fault", "by": by, "until": "2036-01-01T00:00:00Z"} | fields


def deployment(by: str | None = None, **fields: Any) -> Raw:
    """AgentDeployment cartpole, under an override if somebody set one."""
    obj = changed(agent(), "spec.override", override(by, **fields) if by else MISSING)
    obj["metadata"]["namespace"] = NAMESPACE
    return obj


@pytest.fixture(scope="module", autouse=True)
def people(installed: ControlPlane, admin: Server) -> None:
    """An editor; an overrider, who may no more than that; one who is both; each once the API server knows of it."""
    roles = [
        ("editor", "checkrein-edit"),
        ("editor", "checkrein-view"),
        ("overrider", "checkrein-override"),
        ("both", "checkrein-edit"),
        ("both", "checkrein-override"),
    ]
    bind(installed, NAMESPACE, roles)
    seen = admin.as_user("editor")
    until_allowed(lambda: seen.create(deployment(), dry_run=True))
    until_allowed(lambda: seen.send("GET", PATH))
    until_allowed(lambda: admin.as_user("both").create(deployment("both"), dry_run=True))
    refusal(lambda: seen.create(deployment("editor"), dry_run=True))


@pytest.fixture
def editor(admin: Server) -> Server:
    return admin.as_user("editor")


@pytest.fixture
def overrider(admin: Server) -> Server:
    return admin.as_user("overrider")


@pytest.fixture
def plain(admin: Server) -> Iterator[Raw]:
    """Without an override."""
    yield admin.create(deployment())
    admin.delete(deployment())


@pytest.fixture
def held(admin: Server) -> Iterator[Raw]:
    """Under one."""
    yield admin.as_user("both").create(deployment("both"))
    admin.delete(deployment())


def apply(spec: Raw) -> Callable[[Server], object]:
    """A forced server-side apply of all that somebody would have the spec be."""
    body = {"apiVersion": "checkrein.dev/v1alpha1", "kind": "AgentDeployment", "metadata": {"name": "cartpole"}}
    return lambda s: s.send("PATCH", f"{PATH}/cartpole", body | {"spec": spec}, content_type=APPLY, dry_run=True)


def merge(spec: Raw) -> Callable[[Server], object]:
    return lambda s: s.send("PATCH", f"{PATH}/cartpole", {"spec": spec}, content_type=MERGE, dry_run=True)


def json_patch(*operations: Raw) -> Callable[[Server], object]:
    body: Any = list(operations)
    return lambda s: s.send("PATCH", f"{PATH}/cartpole", body, content_type=JSON_PATCH, dry_run=True)


def spec_with(by: str | None, **fields: Any) -> Raw:
    spec: Raw = deployment(by, **fields)["spec"]
    return spec


def test_an_editor_creates_no_agent_under_an_override(editor: Server) -> None:
    assert editor.create(deployment(), dry_run=True)
    with pytest.raises(Refused) as refused:
        editor.create(deployment("editor"), dry_run=True)
    assert refused.value.status == 403
    assert f"spec.override: editor {SAYS}" in refused.value.message


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(merge({"override": override("editor")}), id="merge patch"),
        pytest.param(json_patch({"op": "add", "path": "/spec/override", "value": override("editor")}), id="JSON patch"),
        pytest.param(apply(spec_with("editor")), id="forced apply"),
    ],
)
def test_an_editor_sets_none(editor: Server, plain: Raw, way: Callable[[Server], object]) -> None:
    with pytest.raises(Refused, match=r"spec\.override: editor may set, change or take it away only"):
        way(editor)


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(merge({"override": {"until": "2036-01-02T00:00:00Z"}}), id="another end"),
        pytest.param(merge({"override": {"reason": "none"}}), id="another reason"),
        pytest.param(merge({"override": None}), id="taken away by a merge patch"),
        pytest.param(json_patch({"op": "remove", "path": "/spec/override"}), id="taken away by a JSON patch"),
        pytest.param(apply(spec_with("both", mode="Stop")), id="changed by a forced apply"),
        pytest.param(
            lambda s: s.replace(deployment() | {"metadata": s.get(deployment())["metadata"]}), id="left out of a PUT"
        ),
    ],
)
def test_an_editor_neither_changes_nor_lifts_one(
    admin: Server, editor: Server, held: Raw, way: Callable[[Server], object]
) -> None:
    with pytest.raises(Refused, match=r"spec\.override: editor may set, change or take it away only"):
        way(editor)
    assert admin.get(held)["spec"]["override"]["mode"] == "Fallback"


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(merge({"policyVersion": "cartpole-2"}), id="another version"),
        pytest.param(merge({"replicas": 3}), id="more replicas"),
        pytest.param(merge({"override": {"by": "both"}}), id="the same override again"),
        pytest.param(apply({"policyVersion": "cartpole-2"}), id="an apply that does not speak of it"),
        pytest.param(
            lambda s: s.send(
                "PATCH", f"{PATH}/cartpole/scale", {"spec": {"replicas": 3}}, content_type=MERGE, dry_run=True
            ),
            id="scale",
        ),
    ],
)
def test_an_editor_changes_all_else(editor: Server, held: Raw, way: Callable[[Server], object]) -> None:
    assert way(editor)


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(merge({"override": override("overrider")}), id="merge patch"),
        pytest.param(
            json_patch({"op": "add", "path": "/spec/override", "value": override("overrider")}), id="JSON patch"
        ),
        pytest.param(apply({"override": override("overrider")} | {"policyVersion": "cartpole-1"}), id="forced apply"),
    ],
)
def test_an_overrider_sets_one(overrider: Server, plain: Raw, way: Callable[[Server], object]) -> None:
    assert way(overrider)


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(merge({"override": None}), id="taken away"),
        pytest.param(merge({"override": override("overrider", mode="Stop")}), id="taken over"),
    ],
)
def test_an_overrider_ends_another_ones(overrider: Server, held: Raw, way: Callable[[Server], object]) -> None:
    assert way(overrider)


def test_nobody_acts_in_anothers_name(overrider: Server, plain: Raw) -> None:
    with pytest.raises(Refused) as refused:
        merge({"override": override("boss")})(overrider)
    assert "spec.override.by must be overrider, who asks for it" in refused.value.message
    assert "override.gitopsAccounts" in refused.value.message


def test_whoever_prolongs_one_stands_for_it(overrider: Server, held: Raw) -> None:
    until = {"until": "2036-01-02T00:00:00Z"}
    with pytest.raises(Refused, match=r"spec\.override\.by must be overrider"):
        merge({"override": until})(overrider)
    assert merge({"override": until | {"by": "overrider"}})(overrider)


def test_a_gitops_account_may_name_others_but_needs_the_right(
    installed: ControlPlane, admin: Server, plain: Raw
) -> None:
    argo = admin.as_user(ARGO)
    installed.kubectl("apply", "--server-side", "-f", "-", stdin=_admission(ARGO))
    try:
        with pytest.raises(Refused, match=f"{ARGO} may set, change or take it away only"):
            merge({"override": override("boss")})(_editor(installed, argo))
        role = ("rolebinding", "argo-override", "--clusterrole=checkrein-override", f"--user={ARGO}")
        installed.kubectl("-n", NAMESPACE, "create", *role)
        until_allowed(lambda: merge({"override": override("boss")})(argo))
        with pytest.raises(Refused, match=r"spec\.override\.by must be overrider"):
            merge({"override": override("boss")})(admin.as_user("overrider"))
    finally:
        installed.kubectl("apply", "--server-side", "-f", "-", stdin=_admission())


def _admission(*accounts: str) -> str:
    """The admission policy of an installation with these GitOps accounts."""
    template_file = "templates/admission/agentdeployment-override.yaml"
    return template("--show-only", template_file, "--set-json", f"override.gitopsAccounts={json.dumps(accounts)}")


def _editor(installed: ControlPlane, user: Server) -> Server:
    """The user, once the API server knows that it may edit."""
    installed.kubectl(
        "-n", NAMESPACE, "create", "rolebinding", "argo-edit", "--clusterrole=checkrein-edit", f"--user={ARGO}"
    )
    until_allowed(lambda: merge({"replicas": 1})(user))
    return user


def delete(user: Server) -> object:
    return user.delete(deployment(), dry_run=True)


def test_deleting_one_under_an_override_takes_the_right(admin: Server, editor: Server, held: Raw) -> None:
    with pytest.raises(Refused) as refused:
        delete(editor)
    assert "AgentDeployment cartpole is under an override (spec.override, by both)" in refused.value.message
    assert "(ClusterRole checkrein-override)" in refused.value.message
    with pytest.raises(Refused, match="is under an override"):
        editor.send("DELETE", PATH, {}, dry_run=True)
    assert delete(admin.as_user("both"))


@pytest.mark.parametrize("account", ["namespace-controller", "generic-garbage-collector"])
def test_it_goes_with_its_namespace_or_owner(admin: Server, held: Raw, account: str) -> None:
    assert delete(admin.as_user(f"{KUBE_SYSTEM}:{account}", "system:masters"))


def test_without_an_override_an_editor_deletes(editor: Server, plain: Raw) -> None:
    assert delete(editor)


@pytest.mark.parametrize(
    ("reason", "generation", "may"),
    [
        pytest.param("Expired", 0, True, id="its time is over -> yes"),
        pytest.param("Expired", -1, False, id="that was said of an earlier one -> no"),
        pytest.param("Fallback", 0, False, id="it holds -> no"),
    ],
)
def test_that_its_time_is_over_is_the_operators_word(
    operator: Server, editor: Server, held: Raw, reason: str, generation: int, may: bool
) -> None:
    said = {
        "type": "Overridden",
        "status": "False",
        "reason": reason,
        "observedGeneration": held["metadata"]["generation"] + generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    operator.patch(held, {"status": {"conditions": [said]}}, "status")
    if may:
        assert delete(editor)
    else:
        with pytest.raises(Refused, match="is under an override"):
            delete(editor)
