"""What metrics show of the resources: as the cache has them, nothing of what is gone, and of very many the count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.control import builders as b

from checkrein.api.meta import Model
from checkrein.control import resource_metrics
from checkrein.control.cache import Cache, Key
from checkrein.control.resource_metrics import Resources

WHOSE = 'name="cartpole",namespace="games"'


def cached(*objects: Model) -> Cache:
    cache = Cache()
    for obj in objects:
        cache.put({"kind": type(obj).__name__, **obj.model_dump(mode="json", by_alias=True, exclude_none=True)})
    return cache


def shown(resources: Resources, *prefixes: str) -> set[str]:
    """Lines of the exposition with labels in alphabetic order; of the metrics with these prefixes only."""
    families = text_string_to_metric_families(resources.exposition().decode())
    samples = (sample for family in families for sample in family.samples)
    lines = {
        f"{s.name.removeprefix('checkrein_')}"
        f"{{{','.join(f'{k}={json.dumps(v)}' for k, v in sorted(s.labels.items()))}}} {s.value}"
        for s in samples
    }
    return {line for line in lines if line.startswith(prefixes or ("",))}


TRYING = b.agent(
    "cartpole-2",
    stable=b.pointer("cartpole-1"),
    candidate=b.pointer("cartpole-2").dump(),
    step={"kind": "Canary", "index": 2, "weight": 25, "units": 7},
    gates=[
        {
            "name": "return",
            "metric": "return",
            "role": "Prove",
            "verdict": "Continue",
            "units": 7,
            "stable": "490",
            "candidate": "495.5",
            "interval": ["-20", "30"],
        }
    ],
    rollout={
        "id": "cartpole-2.1",
        "seed": "s",
        "began": "2026-01-01T00:00:00Z",
        "shadowed": 5,
        "scored": 7,
        "shadow": {"compared": 50, "agreed": 40, "distance": 0.2},
    },
    history=[
        {
            "seq": 1,
            "event": "Promoted",
            "policy": "cartpole-1",
            "digest": b.digest(),
            "time": "2026-01-01T00:00:00Z",
            "reason": "Checked",
        }
    ],
)


def test_a_rollout_is_shown_until_its_deployment_goes() -> None:
    cache = cached(TRYING)
    resources = Resources(cache)
    gate = f'gate="return",{WHOSE}'
    assert shown(resources, "rollout_") >= {
        f'rollout_candidate{{{WHOSE},policy="cartpole-2"}} 1.0',
        f'rollout_step{{kind="Canary",{WHOSE}}} 2.0',
        f"rollout_step_units{{{WHOSE}}} 7.0",
        f"rollout_weight_ratio{{{WHOSE}}} 0.25",
        f'rollout_gate{{{gate},role="Prove",verdict="Continue"}} 1.0',
        f"rollout_gate_stable{{{gate}}} 490.0",
        f"rollout_gate_candidate{{{gate}}} 495.5",
        f'rollout_gate_difference_bound{{bound="lower",gate="return",metric="return",{WHOSE}}} -20.0',
        f'rollout_gate_difference_bound{{bound="upper",gate="return",metric="return",{WHOSE}}} 30.0',
        f'rollout_shadow_decisions{{{WHOSE},outcome="agreed"}} 40.0',
        f"rollout_shadow_distance_ratio{{{WHOSE}}} 0.2",
        f'rollout_event_timestamp_seconds{{event="Promoted",{WHOSE},policy="cartpole-1",reason="Checked"}} '
        "1767225600.0",
    }
    cache.remove(Key("AgentDeployment", "games", "cartpole"), 99)
    assert [line for line in shown(resources) if "cartpole" in line] == []


@pytest.mark.parametrize(
    ("obj", "wanted"),
    [
        pytest.param(
            b.ready_environment(),
            {
                f'resource_condition{{kind="RLEnvironment",{WHOSE},reason="Probed",status="True",type="Ready"}} 1.0',
                f'resource_phase{{kind="RLEnvironment",{WHOSE},phase="Ready"}} 1.0',
                f'environment_info{{{WHOSE},source="CartPole-v1",version="1"}} 1.0',
                'resources{kind="RLEnvironment",phase="Ready"} 1.0',
            },
            id="an environment",
        ),
        pytest.param(
            b.job(b.evaluated(policyVersion="cartpole-1"), gates=[{"atLeast": "475"}, {"atLeast": "480"}]),
            {
                'trainingjob_info{algorithm="PPO",environment="cartpole",name="a",namespace="games",policy="cartpole",'
                'policyversion="cartpole-1"} 1.0',
                'trainingjob_evaluation_return_lower_bound{name="a",namespace="games"} 489.0',
                'trainingjob_gate_return{name="a",namespace="games"} 480.0',
            },
            id="a job leads to the version that came of it, and shows its strictest gate",
        ),
        pytest.param(
            b.version("cartpole-1"),
            {
                'policyversion_info{algorithm="",environment="cartpole",name="cartpole-1",namespace="games",'
                'policy="cartpole",trainingjob="a",version="1"} 1.0',
            },
            id="a version leads to its job",
        ),
        pytest.param(
            TRYING,
            {f'agentdeployment_info{{candidate="cartpole-2",{WHOSE},stable="cartpole-1",wanted="cartpole-2"}} 1.0'},
            id="an agent leads to its versions",
        ),
    ],
)
def test_a_resource_is_shown(obj: Model, wanted: set[str]) -> None:
    assert shown(Resources(cached(obj))) >= wanted


def test_what_is_unknown_has_no_series_rather_than_a_zero() -> None:
    assert shown(Resources(cached(b.job())), "trainingjob_") == {
        'trainingjob_info{algorithm="PPO",environment="cartpole",name="a",namespace="games",policy="cartpole",'
        'policyversion=""} 1.0',
        'trainingjob_steps_wanted{name="a",namespace="games"} 5000.0',
        'trainingjob_attempt{name="a",namespace="games"} 0.0',
    }


def test_only_who_leads_tells() -> None:
    assert shown(Resources(cached(TRYING), lambda: False)) == set()


def test_of_very_many_objects_the_rest_is_counted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_metrics, "MOST_OBJECTS", 3)
    cache = Cache()
    for number in range(5):
        metadata: dict[str, Any] = b.meta(f"a{number}")
        cache.put({"kind": "TrainingJob", **b.job().model_dump(mode="json", by_alias=True), "metadata": metadata})
    told = shown(Resources(cache))
    assert 'resources{kind="TrainingJob",phase="Pending"} 5.0' in told
    assert 'resources_untold{kind="TrainingJob"} 2.0' in told
    assert len([line for line in told if line.startswith("trainingjob_info")]) == 3


def test_an_object_that_is_not_understood_hides_no_other() -> None:
    cache = cached(b.job())
    cache.put({"kind": "TrainingJob", "metadata": b.meta("odd"), "spec": {"algorithm": None}})
    told = shown(Resources(cache))
    assert 'resource_unreadable{kind="TrainingJob",name="odd",namespace="games"} 1.0' in told
    assert [line for line in told if line.startswith("trainingjob_info") and 'name="a"' in line]


def test_lines_are_those_of_the_newest_version_and_escaped() -> None:
    cache, job = cached(b.job()), b.job().model_dump(mode="json", by_alias=True, exclude_none=True)
    resources = Resources(cache)
    assert 'phase="Pending"' in str(shown(resources, "resource_phase"))
    job["metadata"] |= {"resourceVersion": "8"}
    condition = {"type": "Complete", "status": "False", "reason": 'a "quoted"\nreason \\'}
    cache.put({"kind": "TrainingJob", **job, "status": {"phase": "Running", "conditions": [condition]}})
    assert 'phase="Running"' in str(shown(resources, "resource_phase"))
    families = text_string_to_metric_families(resources.exposition().decode())
    reasons = [s.labels["reason"] for f in families for s in f.samples if f.name == "checkrein_resource_condition"]
    assert reasons == ['a "quoted"\nreason \\']
