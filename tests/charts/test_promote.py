"""Who lets a candidate act, and who judges sampled episodes: rights of their own, each used in one's own name."""

from __future__ import annotations

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
NAMESPACE = "promotions"
PATH = f"/apis/checkrein.dev/v1alpha1/namespaces/{NAMESPACE}/agentdeployments"
ARGO = "system:serviceaccount:argocd:argocd-application-controller"
PROMOTES = f"only with the right to update agentdeployments/promote in namespace {NAMESPACE} (ClusterRole checkrein-"
REVIEWS = f"only with the right to update agentdeployments/review in namespace {NAMESPACE} (ClusterRole checkrein-"


def deployment(**words: Any) -> Raw:
    """AgentDeployment cartpole, with approval Required and these words to its rollout."""
    obj = changed(changed(agent(), "spec.override", MISSING), "spec.rollout", words)
    obj["metadata"]["namespace"] = NAMESPACE
    return obj


def approve(by: str, **fields: Any) -> Raw:
    return {"policyVersion": "cartpole-2", "by": by} | (fields or {"full": True})


def review(by: str, sample: str = "1", answer: str = "Left") -> Raw:
    return {"sample": sample, "answer": answer, "by": by}


def merge(spec: Raw) -> Callable[[Server], object]:
    return lambda s: s.send("PATCH", f"{PATH}/cartpole", {"spec": spec}, content_type=MERGE, dry_run=True)


def say(**words: Any) -> Callable[[Server], object]:
    return merge({"rollout": words})


def apply(spec: Raw) -> Callable[[Server], object]:
    body = {"apiVersion": "checkrein.dev/v1alpha1", "kind": "AgentDeployment", "metadata": {"name": "cartpole"}}
    return lambda s: s.send("PATCH", f"{PATH}/cartpole", body | {"spec": spec}, content_type=APPLY, dry_run=True)


@pytest.fixture(scope="module", autouse=True)
def people(installed: ControlPlane, admin: Server) -> None:
    """An editor; a promoter and two reviewers, who have their role only; each once the API server knows of it."""
    roles = [
        ("editor", "checkrein-edit"),
        ("editor", "checkrein-view"),
        ("promoter", "checkrein-promote"),
        ("reviewer", "checkrein-review"),
        ("another", "checkrein-review"),
    ]
    bind(installed, NAMESPACE, roles)
    until_allowed(lambda: admin.as_user("editor").create(deployment(), dry_run=True))
    refusal(lambda: admin.as_user("editor").create(deployment(approve=approve("editor")), dry_run=True))
    refusal(lambda: admin.as_user("editor").create(deployment(reviews=[review("editor")]), dry_run=True))
    made = admin.create(deployment())
    until_allowed(lambda: say(approve=approve("promoter"))(admin.as_user("promoter")))
    for user in ("reviewer", "another"):
        until_allowed(lambda user=user: say(reviews=[review(user)])(admin.as_user(user)))  # type: ignore[misc]
    admin.delete(made)


@pytest.fixture
def plain(admin: Server) -> Iterator[Raw]:
    """A deployment of which nobody has said anything yet."""
    yield admin.create(deployment())
    admin.delete(deployment())


@pytest.fixture
def approved(admin: Server, plain: Raw) -> Raw:
    """Its first step's pause was ended by the promoter."""
    return admin.as_user("promoter").patch(plain, {"spec": {"rollout": {"approve": approve("promoter", step=1)}}})


@pytest.fixture
def reviewed(admin: Server, plain: Raw) -> Raw:
    """Two reviewers have answered one pair each, of which the second is counted."""
    for by, answers in (("reviewer", [review("reviewer")]), ("another", [review("reviewer"), review("another", "2")])):
        admin.as_user(by).patch(plain, {"spec": {"rollout": {"reviews": answers}}})
    pairs = [{"sample": "1", "left": "a", "right": "b"}, {"sample": "2", "left": "c", "right": "d", "answered": True}]
    return admin.patch(plain, {"status": {"review": pairs}}, "status")


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(say(approve=approve("editor")), id="all of it"),
        pytest.param(say(approve=approve("editor", step=1)), id="one step"),
        pytest.param(apply(deployment(approve=approve("editor"))["spec"]), id="by a forced apply"),
        pytest.param(
            lambda s: s.create(changed(deployment(approve=approve("editor")), "metadata.name", "new"), dry_run=True),
            id="at creation",
        ),
    ],
)
def test_an_editor_approves_nothing(admin: Server, plain: Raw, way: Callable[[Server], object]) -> None:
    with pytest.raises(Refused) as refused:
        way(admin.as_user("editor"))
    assert refused.value.status == 403
    assert f"spec.rollout.approve: editor may set or change it {PROMOTES}promote)" in refused.value.message


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"step": 2}, id="another step"),
        pytest.param({"policyVersion": "cartpole-3"}, id="another candidate"),
        pytest.param({"step": None, "full": True}, id="all of it"),
        pytest.param({"by": "editor"}, id="another name"),
    ],
)
def test_an_editor_stretches_no_approval(admin: Server, approved: Raw, change: Raw) -> None:
    with pytest.raises(Refused, match=r"spec\.rollout\.approve: editor may set or change it only"):
        say(approve=change)(admin.as_user("editor"))


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"approval": "None"}, id="to None"),
        pytest.param({"approval": None}, id="to nothing"),
    ],
)
def test_an_editor_does_not_take_the_need_for_approval_away(admin: Server, plain: Raw, spec: Raw) -> None:
    with pytest.raises(Refused) as refused:
        merge(spec)(admin.as_user("editor"))
    assert f"spec.approval: editor may take Required away {PROMOTES}promote)" in refused.value.message
    assert merge(spec)(admin.as_user("promoter"))


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(merge({"policyVersion": "cartpole-2"}), id="another version, or a rollback"),
        pytest.param(say(abort={"policyVersion": "cartpole-2"}), id="abort in a hurry"),
        pytest.param(say(abort={"policyVersion": "cartpole-2", "by": "editor", "reason": "no"}), id="abort by name"),
        pytest.param(say(paused=True), id="pause"),
        pytest.param(say(retry={"policyVersion": "cartpole-2", "nonce": "2"}), id="retry, with stricter gates"),
        pytest.param(say(approve=None), id="take an approval back"),
        pytest.param(merge({"strategy": {"canary": {"minUnits": 30}}}), id="edit the gates"),
    ],
)
def test_an_editor_does_all_else(admin: Server, approved: Raw, way: Callable[[Server], object]) -> None:
    assert way(admin.as_user("editor"))


def test_whoever_may_edit_may_ask_for_approval(admin: Server, plain: Raw) -> None:
    admin.as_user("promoter").patch(plain, {"spec": {"approval": "None"}})
    assert merge({"approval": "Required"})(admin.as_user("editor"))


@pytest.mark.parametrize("fields", [{"full": True}, {"step": 0}])
def test_a_promoter_approves(admin: Server, plain: Raw, fields: Raw) -> None:
    assert say(approve=approve("promoter", **fields))(admin.as_user("promoter"))


def test_nobody_approves_in_anothers_name(admin: Server, plain: Raw) -> None:
    with pytest.raises(Refused) as refused:
        say(approve=approve("boss"))(admin.as_user("promoter"))
    assert "spec.rollout.approve.by must be promoter, who asks for it" in refused.value.message
    assert "override.gitopsAccounts" in refused.value.message


def test_nobody_aborts_in_anothers_name(admin: Server, plain: Raw) -> None:
    with pytest.raises(Refused, match=r"spec\.rollout\.abort\.by must be editor, who asks for it, or empty"):
        say(abort={"policyVersion": "cartpole-2", "by": "boss"})(admin.as_user("editor"))


def test_an_approval_that_stands_hinders_nobody(admin: Server, approved: Raw) -> None:
    assert merge({"replicas": 3})(admin.as_user("editor"))


def test_an_editor_reviews_nothing(admin: Server, plain: Raw) -> None:
    with pytest.raises(Refused) as refused:
        say(reviews=[review("editor")])(admin.as_user("editor"))
    assert refused.value.status == 403
    assert f"spec.rollout.reviews: editor may answer {REVIEWS}review)" in refused.value.message


def test_the_rights_are_apart(admin: Server, plain: Raw) -> None:
    with pytest.raises(Refused, match="agentdeployments/promote"):
        say(approve=approve("reviewer"))(admin.as_user("reviewer"))
    with pytest.raises(Refused, match="agentdeployments/review"):
        say(reviews=[review("promoter")])(admin.as_user("promoter"))


ANSWERED = [review("reviewer"), review("another", "2")]


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([*ANSWERED, review("reviewer", "3")], id="one more"),
        pytest.param([review("reviewer", answer="Right"), ANSWERED[1]], id="a second thought"),
        pytest.param([ANSWERED[1]], id="one's own taken back"),
        pytest.param([ANSWERED[0]], id="another's cleared away, once it is counted"),
    ],
)
def test_a_reviewer_answers(admin: Server, reviewed: Raw, answers: list[Raw]) -> None:
    assert say(reviews=answers)(admin.as_user("reviewer"))


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        pytest.param([*ANSWERED, review("boss", "3")], "by must be another, who answers", id="in another's name"),
        pytest.param(
            [review("reviewer", answer="Right"), ANSWERED[1]], "by must be another", id="another's, changed in its name"
        ),
        pytest.param(
            [review("another", answer="Right"), ANSWERED[1]],
            "another may not change what somebody else has answered",
            id="another's, changed in one's own",
        ),
        pytest.param([ANSWERED[1]], "another may not change", id="another's taken away before it is counted"),
    ],
)
def test_a_reviewer_speaks_for_nobody_else(admin: Server, reviewed: Raw, answers: list[Raw], says: str) -> None:
    with pytest.raises(Refused, match=says):
        say(reviews=answers)(admin.as_user("another"))


def test_as_many_reviews_as_there_may_be_are_not_too_many_to_look_at(admin: Server, reviewed: Raw) -> None:
    many = [review("reviewer", str(i)) for i in range(3, 258)]
    admin.as_user("reviewer").patch(reviewed, {"spec": {"rollout": {"reviews": [*many, ANSWERED[1]]}}})
    pairs = [{"sample": str(i), "left": "a", "right": "b"} for i in range(300, 364)]
    admin.patch(reviewed, {"status": {"review": pairs}}, "status")
    assert say(reviews=[review("another", str(i)) for i in range(1, 257)])(admin.as_user("another"))


def test_a_gitops_account_may_name_others_but_needs_the_right(
    installed: ControlPlane, admin: Server, plain: Raw
) -> None:
    argo = admin.as_user(ARGO)
    files = [f"templates/admission/agentdeployment-{name}.yaml" for name in ("promote", "review")]
    shown = [argument for file in files for argument in ("--show-only", file)]
    account = ("--set-json", f'override.gitopsAccounts=["{ARGO}"]')
    installed.kubectl("apply", "--server-side", "-f", "-", stdin=template(*shown, *account))
    said = say(approve=approve("boss"), reviews=[review("boss")])
    try:
        for role in ("edit", "promote", "review"):
            with pytest.raises(Refused):
                said(argo)
            names = ("rolebinding", f"argo-{role}", f"--clusterrole=checkrein-{role}", f"--user={ARGO}")
            installed.kubectl("-n", NAMESPACE, "create", *names)
        until_allowed(lambda: said(argo))
        with pytest.raises(Refused, match=r"approve\.by must be promoter"):
            say(approve=approve("boss"))(admin.as_user("promoter"))
    finally:
        installed.kubectl("apply", "--server-side", "-f", "-", stdin=template(*shown))
