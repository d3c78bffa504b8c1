"""What the API server makes of a good object: defaults, status, scale, columns, explanations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.objects import DIGEST, agent, environment, pointer, policy_version, training
from tests.api.server import Refused, Server
from tests.cluster.cache import REPOSITORY
from tests.cluster.controlplane import ControlPlane

from checkrein.api.deployment import AgentDeployment, AgentDeploymentStatus
from checkrein.api.environment import RLEnvironment
from checkrein.api.evidence import Example, FeatureDifference, ShadowReport
from checkrein.api.policy import PolicyVersion
from checkrein.api.rollout import RolloutStatus
from checkrein.api.training import TrainingJob

pytestmark = pytest.mark.controlplane
Raw = dict[str, Any]
BUILDERS = [environment, training, policy_version, agent]
SAMPLES = sorted((REPOSITORY / "manifests" / "samples").rglob("*.yaml"))


@pytest.fixture
def all_four(server: Server) -> Iterator[dict[str, Raw]]:
    """One object of each kind, as the server keeps it."""
    created = {obj["kind"]: server.create(obj) for obj in (build() for build in BUILDERS)}
    yield created
    for obj in created.values():
        server.delete(obj)


def test_defaults_show_what_will_be_done(server: Server) -> None:
    spec = {"environmentRef": {"name": "e"}, "algorithm": {"name": "PPO", "network": {"activation": "relu"}}}
    spec |= {"budget": {"steps": 10}, "publish": {"policy": "p"}, "gates": [{"atLeast": "1"}]}
    kept = server.create({**training(), "spec": spec}, dry_run=True)["spec"]
    assert kept == spec | {
        "algorithm": {
            "name": "PPO",
            "network": {"activation": "relu", "hidden": [64, 64]},
            "normalize": {"observation": False, "reward": False},
            "acting": "Deterministic",
        },
        "environments": 1,
        "seed": 0,
        "checkpoint": {"everySteps": 20_000, "keep": 2},
        "evaluation": {"episodes": 100},
        "gates": [{"metric": "return", "statistic": "mean", "atLeast": "1", "confidence": "0.95"}],
        "suspend": False,
        "backoffLimit": 3,
    }


def test_defaults_of_a_deployment_show_what_will_be_done(server: Server) -> None:
    spec: Raw = {"policyVersion": "cartpole-1", "shield": [{"name": "stay", "forbid": [1]}]}
    kept = server.create({**agent(), "spec": spec}, dry_run=True)["spec"]
    assert kept == {
        "policyVersion": "cartpole-1",
        "replicas": 1,
        "approval": "None",
        "rollout": {"paused": False},
        "limits": {"exceeded": "Reject"},
        "shield": [{"name": "stay", "forbid": [1], "otherwise": "Replace"}],
        "episodeDeadline": "1h",
        "decisionLog": {"observations": "Digest"},
        "auth": {"mode": "ServiceAccount"},
    }


@pytest.mark.parametrize(
    ("build", "model"),
    [(environment, RLEnvironment), (training, TrainingJob), (policy_version, PolicyVersion), (agent, AgentDeployment)],
)
def test_our_models_and_the_api_server_agree_on_defaults(server: Server, build: Callable[[], Raw], model: Any) -> None:
    sent = build()
    assert model.model_validate(server.create(sent, dry_run=True)).spec == model.model_validate(sent).spec


@pytest.mark.parametrize("build", BUILDERS)
def test_nobody_takes_a_new_object_for_a_finished_one(server: Server, build: Callable[[], Raw]) -> None:
    sent = {**build(), "status": {"phase": "Ready", "observedGeneration": 1}}
    kept = server.create(sent, dry_run=True)
    assert kept["status"] == {"phase": "Pending", "observedGeneration": 0}
    assert kept["metadata"]["generation"] == 1


def test_status_is_written_apart_from_spec(server: Server, all_four: dict[str, Raw]) -> None:
    change = {"status": {"digest": DIGEST, "phase": "Ready"}, "spec": {"version": "9"}}
    assert server.patch(all_four["RLEnvironment"], change, "status")["spec"]["version"] == "1"
    status = {"status": {"digest": "sha256:" + "1" * 64}}
    assert server.patch(all_four["RLEnvironment"], status)["status"]["digest"] == DIGEST


def test_a_condition_of_each_type_is_there_once(server: Server, all_four: dict[str, Raw]) -> None:
    one = {
        "type": "Ready",
        "status": "True",
        "reason": "R",
        "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    with pytest.raises(Refused, match=r"status\.conditions\[1\]: Duplicate value"):
        server.patch(all_four["RLEnvironment"], {"status": {"conditions": [one, one]}}, "status")


def test_an_agent_deployment_scales(server: Server, controlplane: ControlPlane, all_four: dict[str, Raw]) -> None:
    deployment = all_four["AgentDeployment"]
    server.patch(deployment, {"status": {"replicas": 2, "selector": "a=b"}}, "status")
    controlplane.kubectl("scale", "agents/cartpole", "--replicas=5")
    scale = server.get(deployment, "scale")
    assert scale["spec"] == {"replicas": 5}
    assert scale["status"] == {"replicas": 2, "selector": "a=b"}


def test_get_rl_tells_the_whole_state(
    server: Server, controlplane: ControlPlane, all_four: dict[str, Raw], tmp_path: Path
) -> None:
    def condition(type_: str, reason: str) -> list[Raw]:
        return [{"type": type_, "status": "True", "reason": reason, "lastTransitionTime": "2026-01-01T00:00:00Z"}]

    statuses: dict[str, Raw] = {
        "RLEnvironment": {
            "phase": "Ready",
            "findings": {"stepsPerSecond": 64_000},
            "conditions": condition("Ready", "Probed"),
        },
        "TrainingJob": {
            "phase": "Succeeded",
            "progress": {"percent": 41, "eta": "12s", "episodeReturn": "187.2"},
            "evaluation": {"episodes": 300, "mean": "498.1", "lowerBound": "490.2"},
            "policyVersion": "cartpole-1",
            "conditions": condition("Complete", "Published"),
        },
        "PolicyVersion": {"phase": "Verified", "conditions": condition("Verified", "BytesMatch")},
        "AgentDeployment": {
            "phase": "Progressing",
            "stable": pointer("cartpole-1"),
            "candidate": pointer("cartpole-2"),
            "step": {"kind": "Canary", "index": 2, "weight": 25},
            "readyReplicas": 2,
            "conditions": condition("Progressing", "Loading") + condition("Overridden", "Pin"),
        },
    }
    for kind, status in statuses.items():
        server.patch(all_four[kind], {"status": status}, "status")
    # What kubectl remembers of a category is ten minutes old: other tests began with fewer kinds.
    told = controlplane.kubectl("get", "rl", "--cache-dir", str(tmp_path))
    lines = [" ".join(line.split()) for line in told.splitlines() if line]
    assert [line.rsplit(" ", 1)[0] for line in lines] == [
        "NAME POLICY CANDIDATE PHASE STEP WEIGHT OVERRIDE READY",
        "agentdeployment.checkrein.dev/cartpole cartpole-1 cartpole-2 Progressing Canary 25 Pin 2",
        "NAME POLICY VERSION RETURN LOWER BOUND PHASE REASON",
        "policyversion.checkrein.dev/cartpole-1 cartpole 1 498.1 490.1 Verified BytesMatch",
        "NAME VERSION SOURCE PHASE REASON STEPS/S",
        "rlenvironment.checkrein.dev/cartpole 1 CartPole-v1 Ready Probed 64000",
        "NAME ALGORITHM ENVIRONMENT PHASE REASON PROGRESS% ETA TRAINING RETURN LOWER BOUND POLICY",
        "trainingjob.checkrein.dev/cartpole PPO cartpole Succeeded Published 41 12s 187.2 490.2 cartpole-1",
    ]


def test_the_wide_table_says_why(server: Server, controlplane: ControlPlane, all_four: dict[str, Raw]) -> None:
    said = {"type": "Progressing", "status": "True", "reason": "Scoring", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    server.patch(all_four["AgentDeployment"], {"status": {"conditions": [said]}}, "status")
    head, line = controlplane.kubectl("get", "agents", "-o", "wide").splitlines()
    assert "REASON" in head
    assert "Scoring" in line


@pytest.mark.parametrize("short", ["rlenv", "tj", "polv", "agents"])
def test_short_names(controlplane: ControlPlane, all_four: dict[str, Raw], short: str) -> None:
    assert "cartpole" in controlplane.kubectl("get", short, "-o", "name")


def test_defaults_of_a_strategy_show_what_will_be_done(server: Server) -> None:
    gates = [{"name": "errors", "metric": "errors", "test": "NotAbove", "limit": "0.01"}]
    canary = {"steps": [{"weight": 5, "units": 20}], "gates": gates}
    spec = {"policyVersion": "cartpole-1", "strategy": {"shadow": {"units": 5}, "canary": canary, "watch": {}}}
    kept = server.create({**agent(), "spec": spec}, dry_run=True)["spec"]
    assert kept["strategy"] == {
        "unit": "Episode",
        "outcomeDeadline": "0s",
        "shadow": {"units": 5, "share": "1"},
        "canary": canary
        | {
            "gates": [gates[0] | {"role": "Guard", "guarantee": "NonAsymptotic", "alpha": "0.05"}],
            "minUnits": 10,
            "maxDuration": "24h",
        },
        "watch": {"drop": "0.1", "alpha": "0.001", "onBreach": "Report"},
    }


def test_a_status_of_a_rollout_comes_back_as_it_was_written(server: Server, all_four: dict[str, Raw]) -> None:
    """What is measured is spelt so that no digit is lost: else the operator would write it anew in every pass."""
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    shadow = ShadowReport(
        compared=3,
        agreed=2,
        distance=1 / 3,
        value=-1e-9,
        actions={"0>1": 1},
        features=[FeatureDifference(name="angle", agreed=0.1, differed=1e300, effect=float("inf"))],
        examples=[Example(decision="d", observation=[0.1, float("-inf")], stable=[0.0], candidate=[1.0], distance=1.0)],
        latency_p50_us=12.5,
    )
    rollout = RolloutStatus(
        id="cartpole-2.1", seed="5e", began=begun, shadow=shadow, counted_since=1_767_225_600.123456
    )
    status = AgentDeploymentStatus(observed_generation=1, rollout=rollout, words_heeded=["retry/2"])
    kept = server.patch(all_four["AgentDeployment"], {"status": status.dump()}, "status")["status"]
    assert AgentDeploymentStatus.model_validate(kept) == status


def test_explain_says_what_a_field_is_for(server: Server, controlplane: ControlPlane) -> None:
    said = controlplane.kubectl("explain", "trainingjob.spec.gates.atLeast")
    assert "The lower confidence bound of the statistic must reach this, for example 475." in " ".join(said.split())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_samples_are_accepted(server: Server, path: Any) -> None:
    for obj in yaml.safe_load_all(path.read_text()):
        if obj["apiVersion"].startswith("checkrein.dev/"):
            server.create(obj, dry_run=True)
