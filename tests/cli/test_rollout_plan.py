"""`checkrein rollout plan`: what the gates of a new version will take, and what cannot be shown."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.api.objects import pointer
from tests.cli.conftest import STRATEGY, Deployment, Said

from checkrein.api.strategy import CanaryStep
from checkrein.cli.rollout.planning import exposure

Run = Callable[..., Said]
Deploy = Callable[..., Deployment]
Raw = dict[str, Any]
EQUAL = {"name": "return", "metric": "return", "role": "Prove", "test": "NonInferior"}


def strategy(*gates: Raw, **more: Any) -> Raw:
    changed = copy.deepcopy(STRATEGY) | more
    changed["canary"]["gates"] = list(gates) or changed["canary"]["gates"]
    return changed


def margin(value: str, of: str = "Range") -> Raw:
    return EQUAL | {"margin": {"of": of, "value": value}}


@pytest.mark.controlplane
def test_a_plan_counts_units_by_stables_record(run: Run, deploy: Deploy) -> None:
    agent = deploy("cartpole-1")
    agent.status(stable=pointer("cartpole-1"))
    status, out, err = run("plan", agent.name)
    assert (status, err) == (0, "")
    assert "cartpole-1 has a mean return of 498.1 over 300 episodes, standard deviation at most 30.76" in out
    assert "guards: stops on evidence, is not waited for" in out
    told = json.loads(run("plan", agent.name, "-o", "json")[1])
    assert told["possible"] is True
    assert told["shadowed"] == 100  # 50 at a share of one half
    needed = told["gates"][0]["candidateUnits"]
    steps = [CanaryStep.model_validate(s) for s in STRATEGY["canary"]["steps"]]
    assert (told["candidateUnits"], told["units"]) == exposure(steps, needed)
    assert f"about {told['units']} episodes in all" in out


@pytest.mark.controlplane
def test_another_try_takes_more(run: Run, deploy: Deploy) -> None:
    agent = deploy("cartpole-1")
    rejected = {"name": "cartpole-2", "reason": "Inconclusive", "attempt": 2}
    agent.status(stable=pointer("cartpole-1"), rejected=[rejected])
    first, third = (json.loads(run("plan", agent.name, v, "-o", "json")[1]) for v in ("cartpole-3", "cartpole-2"))
    assert (first["attempt"], third["attempt"]) == (1, 3)
    assert third["gates"][0]["candidateUnits"] > first["gates"][0]["candidateUnits"]


@pytest.mark.controlplane
@pytest.mark.parametrize(
    ("spec", "options", "says"),
    [
        pytest.param(
            strategy(unit="Client", window="10m"), ["--units", "5"], "5 clients cannot prove this", id="too few"
        ),
        pytest.param(strategy(margin("0.000001")), [], "gate return cannot be shown", id="a margin of nothing"),
        pytest.param(
            strategy(EQUAL | {"test": "Superior", "margin": {"of": "Absolute", "value": "5"}}),
            [],
            "a candidate as good as stable would not pass (Superior with a margin of 5 (Absolute)",
            id="better than the best",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(run: Run, deploy: Deploy, spec: Raw, options: list[str], says: str) -> None:
    agent = deploy("cartpole-1", strategy=spec)
    agent.status(stable=pointer("cartpole-1"))
    status, out, _ = run("plan", agent.name, *options)
    assert status == 1
    assert says in out


@pytest.mark.controlplane
def test_better_than_stable_goes_by_the_new_versions_own_evaluation(run: Run, deploy: Deploy, server: Any) -> None:
    better = EQUAL | {"test": "Superior", "margin": {"of": "Range", "value": "0.05"}}
    agent = deploy("cartpole-1", strategy=strategy(better))
    other = server.get({"kind": "PolicyVersion", "metadata": {"name": "cartpole-1"}})["spec"]
    weak = {"policy": "weak", "version": 1, "evaluation": other["evaluation"] | {"mean": "300", "lowerBound": "290"}}
    body = {"apiVersion": "checkrein.dev/v1alpha1", "kind": "PolicyVersion", "metadata": {"name": "weak-1"}}
    server.create(body | {"spec": other | weak})
    agent.status(stable=pointer("weak-1"))
    status, out, _ = run("plan", agent.name, "cartpole-2")
    assert status == 0
    assert "if it keeps its evaluated mean 498.1" in out
    assert run("plan", agent.name)[0] == 1


@pytest.mark.controlplane
def test_without_bounds_it_says_why(run: Run, deploy: Deploy, server: Any) -> None:
    agent = deploy("cartpole-1")
    agent.status(stable=pointer("cartpole-9"))
    assert "there is no PolicyVersion cartpole-9" in run("plan", agent.name)[2]
    other = server.get({"kind": "PolicyVersion", "metadata": {"name": "cartpole-1"}})["spec"]
    lost = {"policy": "lost", "version": 1, "environment": other["environment"] | {"name": "gone"}}
    body = {"apiVersion": "checkrein.dev/v1alpha1", "kind": "PolicyVersion", "metadata": {"name": "lost-1"}}
    server.create(body | {"spec": other | lost})
    agent.status(stable=pointer("lost-1"))
    status, out, _ = run("plan", agent.name)
    assert status == 1
    assert "there is no RLEnvironment gone" in out


@pytest.mark.controlplane
def test_there_is_nothing_to_plan(run: Run, deploy: Deploy) -> None:
    agent = deploy("cartpole-1", strategy={"shadow": {"units": 5}})
    assert "spec.strategy.canary" in run("plan", agent.name)[2]
    agent = deploy("cartpole-1")
    status, _, err = run("plan", agent.name)
    assert status == 1
    assert "no version is stable" in err


@pytest.mark.parametrize(
    ("steps", "candidate", "expected"),
    [
        pytest.param([(50, 20)], 10, (20, 40), id="a step lasts as long as it says"),
        pytest.param([(50, 20)], 30, (30, 60), id="the last one lasts until the gates pass"),
        pytest.param([(5, 20), (25, 50), (50, None)], 100, (100, 400 + 200 + 60), id="each at its weight"),
        pytest.param([(5, 20), (25, 50), (50, None)], 10, (70, 600), id="all steps, though the gates passed before"),
    ],
)
def test_exposure(steps: list[tuple[int, int | None]], candidate: int, expected: tuple[int, int]) -> None:
    known = [CanaryStep.model_validate({"weight": w, **({"units": u} if u else {"pause": {}})}) for w, u in steps]
    assert exposure(known, candidate) == expected
