"""Who may say what: the command beside the admission policies of an installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.api.objects import pointer
from tests.api.server import APPLY, Refused, Server
from tests.charts.conftest import admin, installed
from tests.charts.people import SECONDS
from tests.cli.conftest import step
from tests.cluster.controlplane import ControlPlane
from tests.cluster.steps import ClusterError, wait_until

from checkrein.api.meta import API_VERSION
from checkrein.cli.main import main

__all__ = ["admin", "installed"]
pytestmark = pytest.mark.controlplane
OPERATOR = "system:serviceaccount:checkrein-system:checkrein-operator"
PATH = f"/apis/{API_VERSION}/namespaces/default/agentdeployments"
HEAD = {"apiVersion": API_VERSION, "kind": "AgentDeployment", "metadata": {"name": "said"}}
PAIRS = [{"sample": "0001", "left": "a", "right": "b"}, {"sample": "0002", "left": "c", "right": "d"}]
Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(installed: ControlPlane, admin: Server, capsys: pytest.CaptureFixture[str]) -> Iterator[Say]:
    """A rollout is under way; editor, promoter and two reviewers speak. Exit status, and what was complained about."""
    roles = {"editor": ["edit"], "promoter": ["edit", "promote"], "ann": ["edit", "review"], "bob": ["edit", "review"]}
    for user, held in roles.items():
        for role in ("view", *held):
            binding = ("clusterrolebinding", f"{user}-{role}", f"--clusterrole=checkrein-{role}", f"--user={user}")
            installed.kubectl("create", *binding)
    admin.create(HEAD | {"spec": {"policyVersion": "cartpole-2"}})
    status = {"observedGeneration": 1, "stable": pointer("cartpole-1"), "candidate": pointer("cartpole-2")}
    told = HEAD | {"status": status | {"step": step(), "review": PAIRS}}
    admin.as_user(OPERATOR, "system:serviceaccounts").send("PATCH", f"{PATH}/said/status", told, content_type=APPLY)
    for user, (_, *more) in roles.items():
        _until_known(admin.as_user(user), more)

    def call(user: str, verb: str, *options: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["rollout", verb, "said", *options, "--as", user, "--kubeconfig", str(installed.kubeconfig)])
        return int(ended.value.code or 0), capsys.readouterr().err

    yield call
    admin.delete(HEAD)


def _until_known(server: Server, words: list[str]) -> None:
    """The API server knows that this person may read, write, and say these words."""

    def known() -> bool:
        try:
            server.send("PATCH", f"{PATH}/said", HEAD | {"spec": {}}, content_type=APPLY, dry_run=True)
            server.send("GET", f"{PATH}/said")
        except Refused:
            return False
        return all(_may(server, word) for word in words)

    wait_until(known, SECONDS, otherwise=lambda: ClusterError("the request stays refused"))


def _may(server: Server, word: str) -> bool:
    about = {"group": "checkrein.dev", "resource": "agentdeployments", "subresource": word, "verb": "update"}
    body = {"spec": {"resourceAttributes": {**about, "namespace": "default"}}}
    reviewed = server.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    return bool(reviewed["status"]["allowed"])


def test_each_word_takes_its_right_and_others_words_stay(say: Say, admin: Server) -> None:
    status, err = say("editor", "promote")
    assert status == 1
    assert "only with the right to update agentdeployments/promote" in err
    assert say("promoter", "promote") == (0, "")
    assert say("editor", "pause") == (0, "")
    assert say("ann", "review", "--answer", "0001=Left") == (0, "")
    status, err = say("bob", "review", "--answer", "0001=Right")
    assert status == 1
    assert "may not change what somebody else has answered" in err
    assert say("bob", "review", "--answer", "0002=Right") == (0, "")
    assert say("editor", "abort", "--reason", "it wobbles") == (0, "")
    assert admin.get(HEAD)["spec"]["rollout"] == {
        "paused": True,
        "approve": {"policyVersion": "cartpole-2", "step": 2, "by": "promoter"},
        "abort": {"policyVersion": "cartpole-2", "by": "editor", "reason": "it wobbles"},
        "reviews": [
            {"sample": "0001", "answer": "Left", "by": "ann"},
            {"sample": "0002", "answer": "Right", "by": "bob"},
        ],
    }
