"""`checkrein explain`: from an object to the cause."""

from __future__ import annotations

import pytest
from tests.cli import things

from checkrein.api.names import OWNER_UID
from checkrein.cli.look import causes
from checkrein.cli.look.causes import Surroundings
from checkrein.cli.objects import Objects, Resource

OURS = {OWNER_UID: "cartpole-a-uid"}
WAITS = {
    "metadata": {"name": "cartpole-a-train-1-x", "uid": "p", "labels": OURS},
    "status": {
        "phase": "Pending",
        "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}],
    },
}
JOB = {"metadata": {"name": "cartpole-a-train-1", "uid": "j", "labels": OURS}}
REFUSED = {
    "involvedObject": {"kind": "Job", "name": "cartpole-a-train-1", "uid": "j"},
    "reason": "FailedCreate",
    "message": 'violates PodSecurity "restricted"',
    "lastTimestamp": "2026-12-01T12:00:00Z",
}
OTHERS = [
    REFUSED | {"involvedObject": {"kind": "Job", "name": "cartpole-ab-train-1", "uid": "another's"}},
    REFUSED | {"involvedObject": {"kind": "TrainingJob", "name": "cartpole-a", "uid": "cartpole-a-uid"}},
]


def told(obj: Resource, **around: object) -> list[str]:
    cause = causes.explain(obj, Surroundings(**around))  # type: ignore[arg-type]
    return list(causes.lines(cause)) if cause else []


@pytest.mark.parametrize(
    "obj", [things.env(), things.job(), things.version(), things.deployment()], ids=lambda obj: type(obj).__name__
)
def test_of_what_is_well_nothing_is_said(obj: Resource) -> None:
    assert told(obj, objects=Objects([things.env()], [], [things.version()])) == []


def test_an_agent_whose_version_is_still_in_training_in_an_environment_that_fails() -> None:
    missing = things.said("Ready", "False", "NotReady", "no policy yet") + things.said(
        "Progressing", "False", "PolicyNotFound", "there is no PolicyVersion cartpole-2"
    )
    agent = things.deployment(wanted="cartpole-2", stable=None, phase="Pending", conditions=missing)
    waiting = things.said("Complete", "False", "EnvironmentNotReady", "RLEnvironment cartpole is not ready")
    job = things.job("cartpole-a", "Pending", conditions=waiting)
    failed = things.env(phase="Failed", conditions=things.said("Ready", "False", "NotFinite", "reward is nan"))
    assert told(agent, objects=Objects([failed], [job])) == [
        "AgentDeployment cart is Pending",
        "  Ready is False, NotReady: no policy yet",
        "  Progressing is False, PolicyNotFound: there is no PolicyVersion cartpole-2",
        "  PolicyVersion cartpole-2 does not exist",
        "  TrainingJob cartpole-a is Pending",
        "    Complete is False, EnvironmentNotReady: RLEnvironment cartpole is not ready",
        "    RLEnvironment cartpole is Failed",
        "      Ready is False, NotFinite: reward is nan",
    ]


def test_pods_and_events_that_tell_more_than_the_condition() -> None:
    starting = things.said("Complete", "False", "PodNotCreated", "Job cartpole-a-train-1 has no pod yet")
    job = things.job("cartpole-a", "Running", conditions=starting)
    lines = told(job, objects=Objects([things.env()]), pods=[WAITS], workloads=[JOB], events=[REFUSED, *OTHERS])
    assert lines[-2:] == [
        "  pod cartpole-a-train-1-x: waits, ImagePullBackOff: no such image",
        '  event about Job cartpole-a-train-1, FailedCreate: violates PodSecurity "restricted"',
    ]


def test_a_replica_that_is_not_ready() -> None:
    agent = things.deployment(phase="Degraded", readyReplicas=1)
    objects = Objects([things.env()], [], [things.version()])
    assert told(agent, objects=objects) == ["AgentDeployment cart is Degraded", "  1 of 2 replicas are ready"]


def test_a_replica_at_which_the_fallback_decides() -> None:
    message = "cartpole-1 decides on 1 of 2 replicas; spec.fallback decides on cart-agent-0: StoreUnavailable: away"
    ready = things.said("Ready", "True", "Deciding", message) + things.said("Progressing", "False", "Complete")
    agent = things.deployment(phase="Degraded", conditions=ready)
    objects = Objects([things.env()], [], [things.version()])
    assert told(agent, objects=objects) == ["AgentDeployment cart is Degraded", f"  {message}"]


def test_a_spec_that_nobody_has_read() -> None:
    job = things.job(observedGeneration=0)
    assert "the operator has not read the latest spec yet" in told(job, objects=Objects())[1]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no cpu"}
                ]
            },
            "Unschedulable: no cpu",
        ),
        (
            {"containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]},
            "ended, OOMKilled, exit code 137",
        ),
        (
            {
                "containerStatuses": [
                    {"restartCount": 3, "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}, "state": {}}
                ]
            },
            "restarted 3 times; before, Error, exit code 1",
        ),
        ({"reason": "Evicted", "message": "low on disk"}, "Evicted: low on disk"),
    ],
)
def test_what_is_wrong_with_a_pod(status: dict, text: str) -> None:
    assert list(causes.pod_problems({"status": status})) == [text]
