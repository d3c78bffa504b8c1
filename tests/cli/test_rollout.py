"""`checkrein rollout` as a person runs it, against a real API server; the test is the operator."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from tests.api.objects import DIGEST, pointer
from tests.charts.people import until_allowed
from tests.cli.conftest import NOW, STRATEGY, Deployment, Said, promoted, rollout, step
from tests.cluster.steps import ClusterError, wait_until

pytestmark = pytest.mark.controlplane
Run = Callable[..., Said]
Deploy = Callable[..., Deployment]
REJECTED = {"name": "cartpole-2", "reason": "GateFailed", "message": "the return is lower", "attempt": 1}


def test_promote_names_candidate_step_and_person(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    status, out, _ = run("promote", agent.name, "--as", "ops@example.com")
    assert (status, out) == (1, "")  # impersonated without rights: refused by the API server
    status, out, err = run("promote", agent.name)
    assert (status, err) == (0, "")
    assert out == "cartpole-2 goes on from canary step 2, without the rest of its units\n"
    assert agent.words == {"approve": {"policyVersion": "cartpole-2", "step": 2, "by": "admin"}}


def test_by_is_the_impersonated_person(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    agent.kubectl("create", "clusterrolebinding", agent.name, "--clusterrole=cluster-admin", "--user=ops@example.com")
    try:  # the API server's authorizer learns of the binding a moment later
        until_allowed(lambda: agent.server.as_user("ops@example.com").send("GET", agent.path))
        run("abort", agent.name, "--reason", "it wobbles", "--as", "ops@example.com")
        assert agent.words["abort"] == {"policyVersion": "cartpole-2", "by": "ops@example.com", "reason": "it wobbles"}
    finally:
        agent.kubectl("delete", "clusterrolebinding", agent.name)


@pytest.mark.parametrize(
    ("at", "options", "approve"),
    [
        pytest.param(step("Shadow", 0), [], {"step": 0}, id="shadow -> step 0"),
        pytest.param(step("Canary", 1), ["--step"], {"step": 1}, id="--step -> this step"),
        pytest.param(step("Approval", 0), [], {"full": True}, id="approval is awaited -> full"),
        pytest.param(step("Loading", 0), ["--full"], {"full": True}, id="--full, whatever the step"),
    ],
)
def test_what_promote_means(run: Run, deploy: Deploy, at: dict, options: list[str], approve: dict) -> None:
    agent = deploy()
    agent.canary(step=at)
    assert run("promote", agent.name, *options)[0] == 0
    assert agent.words["approve"] == {"policyVersion": "cartpole-2", "by": "admin"} | approve


def test_full_after_step_leaves_no_step_whoever_said_it(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    agent.patch({"rollout": {"approve": {"policyVersion": "cartpole-2", "step": 1, "by": "someone"}}})
    assert run("promote", agent.name, "--full")[0] == 0
    assert agent.words["approve"] == {"policyVersion": "cartpole-2", "full": True, "by": "admin"}


def test_full_says_what_it_does_not_wait_for(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary(gates=[{"name": "return", "metric": "return", "role": "Prove", "verdict": "Continue"}])
    assert "not waited for: return (Continue)" in run("promote", agent.name, "--full")[2]


@pytest.mark.parametrize("verb", ["promote", "abort"])
def test_without_a_candidate_nothing_is_said(run: Run, deploy: Deploy, verb: str) -> None:
    agent = deploy("cartpole-1")
    agent.status(stable=pointer("cartpole-1"))
    status, out, err = run(verb, agent.name)
    assert (status, out) == (1, "")
    assert err == f"checkrein: no rollout of {agent.name} is under way; cartpole-1 decides\n"
    assert agent.words == {}


def test_a_stale_candidate_is_not_spoken_of(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    agent.patch({"policyVersion": "cartpole-3"})
    status, _, err = run("promote", agent.name, "--full")
    assert status == 1
    assert "changing from cartpole-2 to cartpole-3" in err
    status, _, err = run("abort", agent.name, "--candidate", "cartpole-3")
    assert (status, agent.words) == (1, {})
    assert "is cartpole-2, not cartpole-3" in err


def test_one_word_does_not_take_another_back(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary(review=[{"sample": "0001", "left": "a", "right": "b"}, {"sample": "0002", "left": "c", "right": "d"}])
    for arguments in (
        ("promote", agent.name),
        ("review", agent.name, "--answer", "0001=Left"),
        ("pause", agent.name),
        ("review", agent.name, "--answer", "0002=equal"),
        ("set", agent.name, "cartpole-3"),
    ):
        assert run(*arguments)[0] == 0
    agent.patch({"policyVersion": "cartpole-2"})  # somebody else takes that one over
    run("resume", agent.name)
    assert agent.get()["spec"]["policyVersion"] == "cartpole-2"
    assert agent.words["reviews"] == [
        {"sample": "0001", "answer": "Left", "by": "admin"},
        {"sample": "0002", "answer": "Equal", "by": "admin"},
    ]
    assert agent.get()["spec"]["rollout"]["paused"] is False
    assert agent.get()["spec"]["strategy"]["canary"]["steps"] == STRATEGY["canary"]["steps"]


def test_pause_and_resume(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    run("promote", agent.name)
    assert run("pause", agent.name)[:2] == (0, f"the rollout of {agent.name} is paused\n")
    assert run("pause", agent.name)[:2] == (0, f"the rollout of {agent.name} is paused already\n")
    assert agent.words["paused"] is True
    assert agent.words["approve"]["step"] == 2
    assert "paused" in run("promote", agent.name)[2]
    assert run("resume", agent.name)[0] == 0
    assert "paused" not in agent.words


def test_resume_undoes_another_persons_pause(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.patch({"rollout": {"paused": True}})
    assert run("resume", agent.name)[0] == 0
    assert agent.words == {}


def test_dry_run_shows_and_changes_nothing(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    before = agent.get()
    status, out, _ = run("promote", agent.name, "--full", "--dry-run=server")
    assert status == 0
    assert "(server dry run: nothing was changed)" in out
    assert "full: true" in out
    assert agent.get() == before
    status, out, _ = run("set", agent.name, "cartpole-3", "--dry-run=server")
    assert "policyVersion: cartpole-3" in out
    assert agent.get() == before


@pytest.mark.parametrize("manager", ["argocd-controller", "flux-client-side-apply", "kustomize-controller"])
def test_a_repositorys_fields_are_left_to_it(run: Run, deploy: Deploy, manager: str) -> None:
    agent = deploy("cartpole-2", manager=manager, rollout={"paused": True})
    agent.canary()
    for arguments in (("set", "cartpole-3"), ("undo",)):
        status, _, err = run(arguments[0], agent.name, *arguments[1:])
        assert status == 1
        assert f"spec.policyVersion of AgentDeployment default/{agent.name} belongs to {manager}" in err
        assert "change it in the repository" in err
    assert "spec.rollout.paused" in run("resume", agent.name)[2]
    assert run("promote", agent.name)[0] == 0  # which the repository does not speak of
    assert agent.words["approve"]["policyVersion"] == "cartpole-2"


def test_a_sync_leaves_what_a_person_said(run: Run, deploy: Deploy) -> None:
    agent = deploy("cartpole-2", manager="argocd-controller")
    agent.canary()
    run("pause", agent.name)
    agent.apply({"policyVersion": "cartpole-3", "strategy": STRATEGY}, "argocd-controller")
    assert agent.words == {"paused": True}
    assert agent.get()["spec"]["policyVersion"] == "cartpole-3"


def test_a_client_side_sync_owns_what_it_declares_and_not_what_is_default(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.kubectl("delete", "agents", agent.name)
    agent.apply({"policyVersion": "cartpole-2", "strategy": STRATEGY}, "argocd-controller", server_side=False)
    assert run("pause", agent.name)[0] == 0
    assert run("set", agent.name, "cartpole-3")[0] == 1


def test_more_managers_may_be_named(run: Run, deploy: Deploy) -> None:
    agent = deploy("cartpole-2", manager="rancher-sync")
    agent.canary()
    assert run("set", agent.name, "cartpole-3", "--gitops-managers", "rancher-*,spinnaker")[0] == 1
    status, _, err = run("set", agent.name, "cartpole-3")
    assert status == 0
    assert "note: spec.policyVersion was set by rancher-sync" in err
    assert agent.get()["spec"]["policyVersion"] == "cartpole-3"


def test_set_asks_for_a_version_that_exists(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    status, _, err = run("set", agent.name, "cartpole-9")
    assert (status, err) == (1, "checkrein: there is no PolicyVersion cartpole-9 in namespace default\n")
    assert run("set", agent.name, "cartpole-2")[1] == f"spec.policyVersion of {agent.name} is cartpole-2 already\n"


def test_undo_goes_back_step_by_step(run: Run, deploy: Deploy) -> None:
    agent = deploy("cartpole-3")
    history = [promoted(1, "cartpole-1", None), promoted(2, "cartpole-2", "cartpole-1")]
    agent.canary(stable=pointer("cartpole-2"), candidate=pointer("cartpole-3"), history=history)
    status, out, _ = run("undo", agent.name)
    assert (status, out) == (0, f"{agent.name}: cartpole-3 is withdrawn; cartpole-2 goes on\n")
    agent.status(stable=pointer("cartpole-2"), history=history)
    assert run("undo", agent.name)[1] == f"{agent.name}: back to cartpole-1\n"
    assert agent.get()["spec"]["policyVersion"] == "cartpole-1"
    back = promoted(3, "cartpole-1", "cartpole-2", "RolledBack")
    agent.status(stable=pointer("cartpole-1"), history=[*history, back])
    status, _, err = run("undo", agent.name)
    assert status == 1  # and not forward again
    assert "name one with --to (cartpole-2)" in err


def test_undo_to_a_version_that_was_stable(run: Run, deploy: Deploy) -> None:
    agent = deploy("cartpole-1")
    history = [promoted(1, "cartpole-1", None), promoted(2, "cartpole-2", "cartpole-1")]
    agent.status(stable=pointer("cartpole-1"), history=history)
    status, _, err = run("undo", agent.name, "--to", "cartpole-3")
    assert status == 1
    assert "cartpole-3 was never stable here" in err
    agent.status(stable=pointer("cartpole-1"), history=history, rejected=[REJECTED])
    assert "cartpole-2 was rejected since (GateFailed" in run("undo", agent.name, "--to", "cartpole-2")[2]
    agent.status(stable=pointer("cartpole-1"), history=history)
    assert run("undo", agent.name, "--to", "cartpole-2")[0] == 0
    assert agent.get()["spec"]["policyVersion"] == "cartpole-2"


def test_retry_has_a_new_nonce_each_time(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    run("abort", agent.name, "--reason", "it wobbles")
    aborted = {"stable": pointer("cartpole-1"), "rejected": [REJECTED]}
    agent.status(**aborted)
    assert run("retry", agent.name, "cartpole-3")[0] == 1
    assert run("retry", agent.name, "cartpole-2")[0] == 0
    assert agent.words == {"retry": {"policyVersion": "cartpole-2", "nonce": "1"}}  # the abort is over
    assert "asked for already" in run("retry", agent.name, "cartpole-2")[1]
    agent.status(**aborted, wordsHeeded=["retry/cartpole-2/1"])
    assert run("retry", agent.name, "cartpole-2")[0] == 0
    assert agent.words["retry"]["nonce"] == "2"


def test_a_word_that_was_done_is_said_anew(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    run("promote", agent.name)
    agent.canary(wordsHeeded=["approve/cartpole-2/0123"])  # another rollout of the same candidate, the same step
    operator = threading.Thread(target=_forget, args=(agent,))
    operator.start()
    assert run("promote", agent.name)[0] == 0
    operator.join()
    assert agent.words["approve"]["step"] == 2
    assert agent.get()["metadata"]["generation"] == 4  # taken back, and said anew


def _forget(agent: Deployment) -> None:
    """The operator notices that a word is gone."""
    wait_until(lambda: "approve" not in agent.words, 60, otherwise=lambda: ClusterError("it is not taken back"))
    agent.canary()


def test_status_says_it_all(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    gate = {
        "name": "return",
        "metric": "return",
        "role": "Prove",
        "verdict": "Continue",
        "message": "candidate 448 against stable 447: not enough is known yet",
        "stable": "447.25",
        "candidate": "448",
        "interval": ["-21.5", "23.25"],
        "units": 120,
        "expected": 240,
    }
    watch = {"baseline": "498.1", "recent": "430", "units": 12, "evidence": "3.5"}
    agent.canary(
        gates=[gate],
        step=step(pausingSince=NOW),
        rejected=[REJECTED | {"name": "cartpole-0"}],
        history=[promoted(1, "cartpole-1", None, by="ops@example.com")],
        watch=watch,
        review=[{"sample": "0001", "left": "a", "right": "b"}],
    )
    status, out, _ = run("status", agent.name)
    assert status == 0
    for said in (
        f"AgentDeployment default/{agent.name}: Progressing, epoch 3",
        "candidate  cartpole-2 (try 1, for ",
        "load > shadow > canary 5 % > [canary 25 %] > canary 50 % > stable",
        "weight 25 %, 12 of 50 candidate episodes scored (32 in all)",
        f"waits      for a person: checkrein rollout promote {agent.name} --step",
        "447.2   448        [-21.5, 23.25]  120    ~240",
        "return: candidate 448 against stable 447",
        "mean return lately 430, on its record 498.1; 12 episodes watched, evidence of a drop 3.5",
        "rejected   cartpole-0 after 1 rollout, GateFailed: the return is lower",
        "1 pair to compare",
        "ops@example.com",
    ):
        assert said in out
    as_json = json.loads(run("status", agent.name, "-o", "json")[1])
    assert as_json["gates"] == [gate | {"state": ""}] or as_json["gates"] == [gate]
    assert "verdict: Continue" in run("status", agent.name, "-o", "yaml")[1]
    assert run("status", agent.name, "-w", "--timeout", "0s")[0] == 0


def test_history_tells_who_and_why(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    assert "no change yet" in run("history", agent.name)[1]
    entries = [promoted(1, "cartpole-1", None), promoted(2, "cartpole-2", "cartpole-1", by="ops", reason="Approved")]
    agent.status(history=entries)
    _, out, _ = run("history", agent.name)
    assert "2    2026-12-01T12:00:00Z  Promoted  cartpole-2  cartpole-1  ops  Approved  not yet" in out
    assert [e["digest"] for e in json.loads(run("history", agent.name, "-o", "json")[1])] == [DIGEST, DIGEST]


def test_the_report_says_that_divergence_is_not_badness(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    shadow = {
        "compared": 200,
        "agreed": 150,
        "dropped": 3,
        "shielded": 2,
        "distance": "0.25",
        "value": "-1.5",
        "actions": {"0>1": 40, "1>0": 10},
        "features": [{"name": "angle", "agreed": "0.01", "differed": "0.09", "effect": "1.75"}],
        "examples": [
            {"decision": "d-17", "observation": ["0.1"], "stable": ["0"], "candidate": ["1"], "distance": "1"}
        ],
    }
    agent.canary(rollout=rollout(shadow=shadow, findings={"notFinite": 2}))
    status, out, _ = run("report", agent.name)
    assert status == 0
    for said in (
        "Divergence is not badness.",
        "75.0 % took the same action",
        "0.25 of the action space",
        "on average: -1.5",
        "0       1          40     20.0 %",
        "angle",
        "d-17",
        "notFinite: 2",
        "rewards or outcomes that are no finite numbers",
    ):
        assert said in out
    agent.canary()
    assert "nothing has been shadowed yet" in run("report", agent.name)[1]


def test_wait(run: Run, deploy: Deploy) -> None:
    agent = deploy()
    agent.canary()
    status, _, err = run("wait", agent.name, "--timeout", "0s")
    assert status == 1
    assert "cartpole-2 is under way (Canary 2)" in err
    agent.status(stable=pointer("cartpole-1"), rejected=[REJECTED])
    status, _, err = run("wait", agent.name)
    assert status == 1
    assert "cartpole-2 was rejected (GateFailed" in err
    assert run("wait", agent.name, "--for", "settled")[0] == 0
    agent.status(stable=pointer("cartpole-2"))
    assert run("wait", agent.name, "--for", "promoted")[:2] == (0, "cartpole-2 decides\n")


def test_a_stale_status_is_not_what_is_waited_for(run: Run, deploy: Deploy) -> None:
    agent = deploy("cartpole-1")
    agent.status(stable=pointer("cartpole-1"))
    agent.patch({"policyVersion": "cartpole-2"})
    assert run("wait", agent.name, "--for", "settled", "--timeout", "0s")[0] == 1


def test_errors_are_sentences(run: Run, deploy: Deploy) -> None:
    status, _, err = run("status", "nobody")
    assert (status, err) == (1, "checkrein: there is no AgentDeployment nobody in namespace default\n")
    assert run("promote", "nobody", "--step", "--full")[0] == 2
    assert run("review", "nobody", "--answer", "0001=Both")[0] == 2
    status, _, err = run("status", "nobody", "--context", "elsewhere")
    assert (status, "elsewhere" in err) == (2, True)
